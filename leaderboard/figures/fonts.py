"""Fonts for scripts that the default font lacks: others of this machine, named by their files.

Text in the default font alone is drawn as before, so that its bytes are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_FONT = "DejaVu Sans"


@contextmanager
def bundled_default_font() -> Iterator[None]:
    """Has matplotlib take its own files of the default font.

    A system may have the font in another version, with other numbers of glyphs; which of the two
    matplotlib finds first depends on the machine, and on the cache that earlier processes left.
    """
    from matplotlib import font_manager, get_data_path

    manager = font_manager.fontManager
    before = list(manager.ttflist)
    folder = Path(get_data_path(), "fonts", "ttf")
    try:
        manager.ttflist[:] = [font for font in before if font.name != DEFAULT_FONT]
        for path in sorted((folder / "DejaVuSans.ttf", *folder.glob("DejaVuSans-*.ttf"))):
            manager.addfont(path)
        yield
    finally:
        manager.ttflist[:] = before


def fit_fonts(figure: Figure) -> frozenset[str]:
    """Gives every text of a figure the fonts that it needs beside the default font.

    Args:
        figure: With its texts; to be called again where more are added.

    Returns:
        Signs that no font of this machine has.
    """
    from matplotlib.text import Text

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_ticklabels()  # brings the texts up to date
    texts: list[Any] = figure.findobj(Text)
    lacking = _lacking(sign for text in texts for sign in text.get_text())
    if not lacking:
        return frozenset()
    families, unseen = _others(lacking)
    for text in texts:
        if _lacking(text.get_text()):
            text.set_fontfamily([DEFAULT_FONT, *families])
    for axes in figure.axes:  # drawing makes new tick labels
        for axis in (axes.xaxis, axes.yaxis):
            if any(_lacking(label.get_text()) for label in axis.get_ticklabels()):
                axis.set_tick_params(labelfontfamily=[DEFAULT_FONT, *families])
    return unseen


def _lacking(signs: Iterable[str]) -> frozenset[str]:
    """Signs that the default font has not; none of them is to be drawn as a box."""
    plain = {sign for sign in signs if sign > "\x7f"}
    return frozenset(sign for sign in plain if ord(sign) not in _default_signs())


@cache
def _default_signs() -> frozenset[int]:
    from matplotlib import font_manager

    return _signs_of(font_manager.findfont(DEFAULT_FONT))


@cache
def _others(lacking: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families that have the signs, as few as can be found one after the other."""
    from matplotlib import font_manager

    families: list[str] = []
    open_signs = set(lacking)
    for path in sorted(font_manager.findSystemFonts(), key=_preference):
        if not open_signs:
            break
        held = {sign for sign in open_signs if ord(sign) in _signs_of(path)}
        if held:
            manager = font_manager.fontManager
            if path not in {entry.fname for entry in manager.ttflist}:
                manager.addfont(path)
            families.append(next(e.name for e in manager.ttflist if e.fname == path))
            open_signs -= held
    return tuple(families), frozenset(open_signs)


def _preference(path: str) -> tuple[bool, bool, str]:
    """Upright sans fonts of ordinary weight first, the same order on every call."""
    name = path.lower()
    odd = any(word in name for word in ("bold", "italic", "oblique", "light", "black", "thin"))
    return odd, "sans" not in name, path


@cache
def _signs_of(path: str) -> frozenset[int]:
    """Code points that a font can draw; none of a damaged one, or one made of pictures."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
