"""One colour, marker and line per highlighted row, the same in every figure of a design."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prunebench.leaderboard.figures.style import GREY, HUES, INK, PALE
from prunebench.leaderboard.highlight import Highlight, base_of, is_variant

MARKERS = ("o", "s", "^", "D", "v", "<", "p")
CONTROLS = ("#6F6F6F", "#8A6642", "#4E6A85")
VARIANTS: tuple[Any, ...] = ("-", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
DASHED: Any = (0, (4, 1.5))


@dataclass(frozen=True)
class RowStyle:
    """How one row is drawn.

    Attributes:
        colour: Of lines and markers; shared by a base method and its variants.
        text: The same, dark enough for letters on white.
        marker: Shape.
        filled: Whether the marker is solid; a base beside its variant is hollow.
        line: Line style.
        shown: Whether the row is highlighted; the others are pale.
    """

    colour: str
    text: str
    marker: str
    filled: bool
    line: Any
    shown: bool = True

    @property
    def points(self) -> dict[str, Any]:
        """Arguments of a marker."""
        face = self.colour if self.filled else "white"
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour,
                "markeredgewidth": 1.1}  # fmt: skip

    @property
    def name(self) -> dict[str, Any]:
        """Arguments of the row's name."""
        return {"color": self.text, "fontweight": "bold" if self.shown else "normal"}


#: Every row that is not highlighted.
OTHER = RowStyle(PALE, GREY, "o", True, "-", shown=False)


def row_styles(found: Highlight, labels: Iterable[str]) -> dict[str, RowStyle]:
    """The look of every row of a figure; hue and marker together name a highlighted one.

    Args:
        found: What is highlighted.
        labels: All rows of the figure.
    """
    styles = dict.fromkeys(labels, OTHER)
    controls = [label for label, role in found.roles.items() if role == "control"]
    for place, label in enumerate(controls):
        styles[label] = _style(CONTROLS[place % 3], MARKERS[(3 + place) % len(MARKERS)], True, "-")
    for label, role in found.roles.items():
        if role == "full":
            styles[label] = _style(INK, "o", True, DASHED)
    variants = {label for label in found.hues if is_variant(label)}
    paired = {base_of(label) for label in variants}
    seen: dict[tuple[str, bool], int] = {}
    for label, hue in sorted(found.hues.items()):
        base, variant = base_of(label), label in variants
        number = seen[base, variant] = seen.get((base, variant), -1) + 1
        line = DASHED if base in paired and not variant and number == 0 else VARIANTS[number % 4]
        marker = MARKERS[(hue + hue // len(HUES) + 2 * number) % len(MARKERS)]
        filled = variant or base not in paired
        styles[label] = _style(HUES[hue % len(HUES)], marker, filled, line)
    return styles


def _style(colour: str, marker: str, filled: bool, line: Any) -> RowStyle:
    return RowStyle(colour, darker(colour), marker, filled, line)


def darker(colour: str, share: float = 0.3) -> str:
    """A hue mixed with black."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part * (1 - share)):02X}" for part in parts)
