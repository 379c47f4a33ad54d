"""The style of all figures: settings, titles, captions, and the bytes of a picture."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench.errors import InputError
from prunebench.leaderboard.figures.fonts import DEFAULT_FONT, bundled_default_font, fit_fonts
from prunebench.record import AND

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

#: Okabe and Ito's palette without yellow, which vanishes on white, and a wine from Tol's.
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
GREY, PALE, INK = "#767676", "#D9D9D9", "#222222"
WIDTH = 10.0  # inches
DPI = 120  # 1200 pixels
#: Inches of text below the panels that figures leave room for; longer texts make them higher.
_USUAL = 0.6
#: Most signs of a name in that of a file; file systems take 255 bytes in all.
_LONGEST_PART = 80

_RC: Any = {
    "font.family": DEFAULT_FONT, "font.size": 8.5, "axes.titlesize": 9, "axes.labelsize": 8.5,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY,
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": GREY, "ytick.color": GREY,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.linewidth": 0.7, "axes.axisbelow": True,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "xtick.major.size": 3,
    "ytick.major.size": 3, "grid.color": "#E8E8E8", "grid.linewidth": 0.6, "lines.linewidth": 1.4,
    "lines.markersize": 4.5, "svg.fonttype": "path", "svg.hashsalt": "prunebench",
    "figure.dpi": DPI, "savefig.dpi": DPI, "axes.formatter.useoffset": False,
    "text.parse_math": False, "path.simplify": False,
    "figure.facecolor": "white", "savefig.facecolor": "white",
}  # fmt: skip


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


@contextlib.contextmanager
def figure_settings() -> Iterator[None]:
    """The settings, whatever a user's own matplotlibrc sets.

    Raises:
        InputError: matplotlib is not installed.
    """
    if not available():
        raise InputError("matplotlib is not installed", where="figures",
                         accepted="pip install 'prunebench[plots]'")  # fmt: skip
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Gallery.notes says in one line what a font lacks; the library would name places in
        # this code, once per sign and file.
        for words in ("Glyph .* missing from font", "Matplotlib currently does not support"):
            warnings.filterwarnings("ignore", words, UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        with bundled_default_font():
            yield


@dataclass(frozen=True)
class Drawn:
    """A figure that could be made.

    Attributes:
        stem: File name without ending.
        title: The question, above.
        caption: How the picture is read: what bars and n are.
        figure: The picture.
        data: What it draws as CSV, for a file beside it; empty for none.
        answer: What the board's tests say to the question, below the picture.
    """

    stem: str
    title: str
    caption: str
    figure: Figure
    data: str = ""
    answer: str = ""

    @property
    def words(self) -> str:
        """Everything below the picture."""
        return f"{self.answer} {self.caption}".strip()


@dataclass(frozen=True)
class Omitted:
    """A figure that the data cannot give, and why."""

    stem: str
    reason: str


def width_for(columns: int) -> float:
    """Inches of a figure with up to three panels side by side, so that few fill it."""
    return {1: 5.6, 2: 7.8}.get(columns, WIDTH)


def slug(text: str) -> str:
    """Text as part of a file name; a long one ends in a digest of the whole."""
    found = re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-")
    if len(found) <= _LONGEST_PART:
        return found
    return f"{found[:_LONGEST_PART]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def new(height: float, width: float = WIDTH) -> Figure:
    """An empty figure that no backend's state knows of; narrower where few panels fill it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain_numbers(axis: Axis) -> None:
    """Numbers without powers on an axis, none at minor ticks (names are never read as maths)."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def column_titles(grid: Sequence[Axes], names: Sequence[str]) -> None:
    """Names of settings above columns, which may be narrow: a line for each part of a name."""
    lines = max(name.count(AND) for name in names)
    size: dict[str, Any] = {"fontsize": 7.5} if lines else {}
    for axes, name in zip(grid, names, strict=True):
        axes.set_title(name.replace(AND, f"\n{AND.lstrip()}"), **size)
    if lines:
        figure = grid[0].get_figure(root=True)
        assert figure is not None
        figure.set_figheight(figure.get_figheight() + 0.14 * lines)


def finish(
    figure: Figure, stem: str, title: str, caption: str, right: float = 0.0, answer: str = ""
) -> Drawn:
    """Title above, answer and caption below, panels laid out between them.

    Args:
        figure: With all its panels.
        stem: File name without ending.
        title, caption: One line, and as many as it takes.
        right: Inches kept free at the right for the names of lines.
        answer: What the tests say, in darker letters before the caption.
    """
    width, height = figure.get_size_inches()
    head = textwrap.wrap(title, int(10.5 * width))
    said = textwrap.wrap(answer, int(16.4 * width))
    lines = textwrap.wrap(caption, int(17.4 * width))
    above, below = 0.18 * (len(head) - 1), 0.145 * len(lines) + 0.155 * len(said) + 0.14
    more = above + max(0.0, below - _USUAL)
    if more > 0:  # the panels keep the room that they were given
        height += more
        figure.set_figheight(height)
    top, bottom = (0.36 + above) / height, below / height
    left = 0.08 / width
    figure.text(left, 1 - 0.08 / height, "\n".join(head), va="top", fontsize=10.5,
                fontweight="bold", linespacing=1.2)  # fmt: skip
    figure.text(left, 0.05 / height, "\n".join(lines), va="bottom", fontsize=7.5,
                color="#505050", linespacing=1.25)  # fmt: skip
    if said:
        figure.text(left, (0.075 + 0.145 * len(lines)) / height, "\n".join(said), va="bottom",
                    fontsize=8, color=INK, linespacing=1.25)  # fmt: skip
    fit_fonts(figure)
    engine = figure.get_layout_engine()
    assert engine is not None
    hanging = 0.0
    for _ in range(2):  # once more where an outlined name leaves the figure
        rect = (0.006 + hanging, bottom, 0.988 - hanging - right / width, 1 - top - bottom)
        engine.set(rect=rect, w_pad=0.04, h_pad=0.04)  # type: ignore[call-arg]
        figure.draw_without_rendering()
        hanging = round(_outside(figure) / width, 3)
        if not hanging:
            break
    figure.set_layout_engine("none")  # positions are final: saving does not lay out again
    for axes in figure.axes:  # the solver's last digits depend on addresses in memory
        place = axes.get_position(original=True).bounds
        axes.set_position((round(place[0], 5), round(place[1], 5),
                           round(place[2], 5), round(place[3], 5)))  # fmt: skip
    return Drawn(stem, title, caption, figure, answer=answer)


def _outside(figure: Figure) -> float:
    """Inches that names at the left of panels lack where one leaves the figure in an SVG file:
    letters are outlines there, wider than the pixels that the layout measures."""
    from matplotlib.textpath import TextToPath

    width_of, found = TextToPath().get_text_width_height_descent, 0.0
    for axes in figure.axes:
        for name in axes.get_yticklabels():
            if name.get_text() and name.get_visible():
                right = name.get_window_extent().x1 / figure.dpi
                size = width_of(name.get_text(), name.get_fontproperties(), ismath=False)[0] / 72
                found = max(found, size - right)
    return found + 0.05 if found else 0.0


def picture(drawn: Drawn, form: str) -> bytes:
    """SVG or PNG without dates or program names; to be called inside :func:`figure_settings`."""
    metadata: dict[str, Any] = {"Software": None}
    if form == "svg":
        metadata = {"Date": None, "Creator": None, "Title": drawn.title,
                    "Description": drawn.words}  # fmt: skip
    buffer = io.BytesIO()
    drawn.figure.savefig(buffer, format=form, metadata=metadata)
    return buffer.getvalue()
