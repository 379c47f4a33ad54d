"""How each row is drawn in all pictures of a design, and which rows are in colour at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.highlight import base_of, highlight, is_variant

#: Colours by number in ``charts.css``; as many as rows can be in colour.
COLOURS = 8
#: Markers by number in ``charts.html``.
CONTROL_MARKERS = (8, 9)


@dataclass(frozen=True)
class Look:
    """One row.

    Attributes:
        place: Its number in the pictures of the design.
        colour: Class of its colour; empty for a pale row.
        marker: Number of its marker.
        plain: Whether its line is dashed and its marker hollow: full training and controls, and
            methods beside the same method with another score.
    """

    place: int
    colour: str = ""
    marker: int = 0
    plain: bool = False

    @property
    def classes(self) -> str:
        """Of the group that holds what is drawn of the row."""
        return " ".join(filter(None, ("on" if self.colour else "", self.colour,
                                      "plain" if self.colour and self.plain else "")))  # fmt: skip

    @property
    def sign(self) -> str:
        """Id of the marker."""
        return f"m{self.marker}" if self.colour else "mp"


def looks(summary: Summary) -> dict[str, Look]:
    """The look of every row, rows in colour first, the others by name."""
    chosen = highlight(summary)
    labels = [*chosen.rows, *sorted(label for label in summary.series if label not in chosen)]
    paired = {base_of(label) for label in chosen.rows if is_variant(label)}
    found: dict[str, Look] = {}
    controls = 0
    spare = [m for m in range(COLOURS) if m not in chosen.hues.values()]
    for place, label in enumerate(labels):
        role = chosen.roles.get(label)
        if role is None:
            found[label] = Look(place)
        elif role == "full":
            found[label] = Look(place, "full", 0, plain=True)
        elif role == "control":
            number = controls % len(CONTROL_MARKERS)
            found[label] = Look(place, f"k{number}", CONTROL_MARKERS[number], plain=True)
            controls += 1
        else:
            hue = chosen.hues[label] % COLOURS
            base = base_of(label) in paired and not is_variant(label)
            look = Look(place, f"h{hue}", hue, plain=base)
            known = {(other.colour, other.marker, other.plain) for other in found.values()}
            if (look.colour, look.marker, look.plain) in known and spare:
                look = replace(look, marker=spare.pop(0))  # options of one method: one hue
            found[label] = look
    return found


def drawn_order(found: Mapping[str, Look]) -> list[str]:
    """Labels from back to front: pale rows first, the first in colour last."""
    return sorted(found, key=lambda label: (bool(found[label].colour), -found[label].place))
