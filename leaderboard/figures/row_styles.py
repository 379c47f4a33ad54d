"""One colour, marker and line per method, the same in every figure of a board."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunebench.leaderboard.figures.style import GREY, HUES, INK
from prunebench.registry import own_scored

MARKERS = ("o", "s", "^", "D", "v", "<", "p")
CONTROLS = (GREY, "#A08060", "#5B7083")
VARIANTS: tuple[Any, ...] = ("-", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
DASHED: Any = (0, (4, 1.5))


@dataclass(frozen=True)
class RowStyle:
    """How one row is drawn everywhere on a board.

    Attributes:
        colour: Of lines and markers; shared by a base method and its variants.
        text: The same, dark enough for letters on white.
        marker: Shape.
        filled: Whether the marker is solid; a base that has a variant is hollow.
        line: Line style.
    """

    colour: str
    text: str
    marker: str
    filled: bool
    line: Any

    @property
    def points(self) -> dict[str, Any]:
        """Arguments of a marker."""
        face = self.colour if self.filled else "white"
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour,
                "markeredgewidth": 1.1}  # fmt: skip


@dataclass(frozen=True)
class Chunk:
    """A chunk of rows that share one panel's legend, and its title."""

    title: str
    labels: tuple[str, ...]


def base_of(label: str) -> str:
    """The method under options and another score: ``seta`` of ``seta+align (r=0.5)``."""
    return own_scored(label.split(" (", 1)[0])


def is_variant(label: str) -> bool:
    """Whether a row's method has another score than its own: ``seta+align``, ``seta+bls``."""
    return own_scored(label) != label


def chunks(kinds: Mapping[str, str]) -> list[Chunk]:
    """Rows in chunks of at most seven base methods, so that no two share a hue in a chunk.

    Args:
        kinds: Kind of each row; full training belongs to no chunk.
    """
    titles = {"method": "methods", "static": "static", "dynamic": "dynamic",
              "control": "controls", "oracle": "controls"}  # fmt: skip
    by_title: dict[str, list[str]] = {}
    for label in sorted(kinds):
        if kinds[label] != "full":
            by_title.setdefault(titles[kinds[label]], []).append(label)
    real = [label for name, labels in by_title.items() if name != "controls" for label in labels]
    if len({base_of(label) for label in real}) <= len(HUES) and real:
        by_title = {"methods": sorted(real)} | {
            name: labels for name, labels in by_title.items() if name == "controls"
        }
    found = []
    for title in ("methods", "static", "dynamic", "controls"):
        labels = by_title.get(title, [])
        bases = sorted({base_of(label) for label in labels})
        parts = math.ceil(len(bases) / len(HUES))
        for part in range(parts):
            size = math.ceil(len(bases) / parts)
            mine = bases[part * size : (part + 1) * size]
            name = f"{title}, {mine[0]} to {mine[-1]}" if parts > 1 else title
            found.append(Chunk(name, tuple(x for x in labels if base_of(x) in mine)))
    return found


def row_styles(kinds: Mapping[str, str]) -> dict[str, RowStyle]:
    """The look of every row; depends on the names alone, never on results.

    Chunks repeat hues with other markers, so that hue and marker together name a base method.
    """
    found = {label: RowStyle(INK, INK, "o", True, DASHED)
             for label, kind in kinds.items() if kind == "full"}  # fmt: skip
    for turn, chunk in enumerate(chunks(kinds)):
        bases = sorted({base_of(label) for label in chunk.labels})
        seen: dict[tuple[str, bool], int] = {}
        paired = {base_of(label) for label in chunk.labels if is_variant(label)}
        for label in chunk.labels:
            base, variant = base_of(label), is_variant(label)
            number = seen[base, variant] = seen.get((base, variant), -1) + 1
            place = bases.index(base) % len(HUES)
            plain = chunk.title == "controls"
            colour = CONTROLS[place % 3] if plain else HUES[place]
            line = VARIANTS[number % len(VARIANTS)]
            if base in paired and not variant and number == 0:
                line = DASHED
            found[label] = RowStyle(
                colour, darker(colour), MARKERS[(place + 2 * turn + number) % len(MARKERS)],
                variant or base not in paired, line,
            )  # fmt: skip
    return found


def darker(colour: str, share: float = 0.3) -> str:
    """A hue mixed with black."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part * (1 - share)):02X}" for part in parts)
