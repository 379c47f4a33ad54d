"""The level at which the sentences of a board claim a difference."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench.leaderboard.stats import Family, Member
from prunebench.leaderboard.stats.exact import exact


@dataclass(frozen=True)
class Level:
    """Alpha over the number of families, so that all sentences of a board together claim a false
    difference in at most alpha of boards.

    Attributes:
        alpha: Of the protocol.
        families: Families of tests for a difference that the sentences of the board rest on.
    """

    alpha: float
    families: int

    @property
    def p(self) -> float:
        """Corrected p up to which a difference is claimed."""
        return self.alpha / max(1, self.families)

    def claims(self, member: Member) -> bool:
        """Whether a sentence may claim the difference that a member of a family is about."""
        if member.adjusted is None:
            return False
        return exact(member.adjusted) * max(1, self.families) <= exact(self.alpha)


def tested(family: Family | None) -> bool:
    """Whether a family has a test that can be significant; others claim nothing in any case."""
    return family is not None and any(member.p is not None for member in family.members)
