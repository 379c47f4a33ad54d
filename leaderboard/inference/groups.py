"""Rank groups of one table: all pairs tested, Holm over them, letters, bold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunebench.leaderboard.inference.series import Series, matrix
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import Pairwise, pairwise
from prunebench.leaderboard.stats.exact import at_most


@dataclass(frozen=True)
class Groups:
    """Rank groups.

    Attributes:
        pairwise: Order, means, every pair's test, the family and the letters.
        best: The best row and every row not separated from it; empty where the design cannot
            separate any pair.
        units: Independently flipped (noise, seed) units.
        smallest_p, needed_p: What one test could have reached at best, and what the smallest
            p of the family has to reach: alpha over its size.
    """

    pairwise: Pairwise
    best: tuple[str, ...]
    units: int
    smallest_p: float
    needed_p: float

    @property
    def underpowered(self) -> bool:
        """Whether no pair could have been separated whatever the accuracies."""
        return not at_most(self.smallest_p, self.needed_p)

    def letters_of(self, label: str) -> str:
        """A row's letters; empty where nothing can be separated."""
        return "" if self.underpowered else self.pairwise.letters.letters.get(label, "")


def rank_groups(rows: Sequence[Series], protocol: ProtocolFile, name: str) -> Groups | None:
    """Tests all pairs of rows that are complete on the same runs; None for fewer than two.

    The test is the paired sign-flip with unit (noise, seed), so that the verdict on a pair
    depends on the other rows through Holm's correction alone.

    Args:
        rows: Complete rows.
        protocol: For the level.
        name: Of the family, as printed.
    """
    if len(rows) < 2:
        return None
    table = matrix(rows)
    found = pairwise(
        dict(zip(table.labels, table.y, strict=True)), table.unit, table.cell,
        protocol.alpha, name=name,
    )  # fmt: skip
    test = next(iter(found.tests.values()))
    first = found.order[0]
    needed = protocol.alpha / found.family.size
    separated = {f"{first} - {other}" for other in found.order[1:]} & found.family.rejected
    best = tuple(r for r in found.order if f"{first} - {r}" not in separated)
    if not at_most(test.smallest_p, needed):
        best = ()
    return Groups(found, best, test.units, test.smallest_p, needed)
