"""Families of pooled paired tests, and the sentences that rest on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prunebench.leaderboard.inference.series import Cell, clusters
from prunebench.leaderboard.number_text import interval, p_text
from prunebench.leaderboard.report.model import Estimate, Statement
from prunebench.leaderboard.stats import Family, Member, PooledCells, family, pooled_cells
from prunebench.leaderboard.stats.exact import Number, exact
from prunebench.leaderboard.stats.pooled import MIN_SEEDS

#: Differences by cell, then seed.
Differences = Mapping[Cell, Mapping[int, Number]]
#: Names with their numbers in one sentence; of more it says how many.
MOST = 4


@dataclass(frozen=True)
class Tested:
    """One family.

    Attributes:
        scope: Label of the design that it is about.
        family: Holm over the pooled sign-flip tests of its members.
        pooled: Mean difference of each member.
    """

    scope: str
    family: Family
    pooled: Mapping[str, PooledCells]

    @property
    def open(self) -> bool:
        """Whether a test of it was run, so that it can claim something."""
        return any(member.p is not None for member in self.family.members)

    def estimate(self, name: str) -> Estimate | None:
        """Of a member; None where it was not tested."""
        return Estimate.pooled(self.pooled[name]) if name in self.pooled else None


def tested(
    name: str, scope: str, members: Mapping[str, Differences], alpha: float
) -> Tested | None:
    """Tests mean differences against zero, flipping the signs of (label noise, seed) units.

    Args:
        name: Of the family.
        scope: Label of the design.
        members: Differences by member; one without a cell of two seeds is left out.
        alpha: Level of the family.

    Returns:
        None where no member is left.
    """
    pooled = {
        member: pooled_cells(d, clusters(d))
        for member, d in members.items()
        if any(len(by_seed) >= MIN_SEEDS for by_seed in d.values())
    }
    if not pooled:
        return None
    tests = {member: found.sign_flip for member, found in pooled.items()}
    return Tested(scope, family(f"{name}, {scope}", tests, "holm", alpha), pooled)


def claimed(member: Member, alpha: float, families: int) -> bool:
    """Whether a sentence may claim the difference of a member: by its corrected p at alpha over
    the number of families of the report."""
    if member.adjusted is None:
        return False
    return exact(member.adjusted) * max(1, families) <= exact(alpha)


def out_of_reach(smallest_p: float, own: Family, families: int) -> bool:
    """Whether even the smallest p that its units allow could not be claimed, for a member."""
    return exact(smallest_p) * own.size * max(1, families) > exact(own.alpha)


def reach(units: int, smallest_p: float, own: Family) -> str:
    """What the units of a member can have at best."""
    best = min(1.0, smallest_p * own.size)
    return f"{units} units have a corrected p of {p_text(best)} at best (m = {own.size})"


def verdicts(
    tests: Iterable[Tested], families: int, above: str, below: str, unit: str, digits: int = 1
) -> list[Statement]:
    """Up to four sentences for each family: members above zero, below it, those of which nothing
    is claimed, and those of which nothing could be.

    A claim needs both: the corrected p, and an interval, where there is one, without zero.

    Args:
        tests: The families.
        families: Families of the report that can claim something.
        above, below: What a positive and a negative difference says, before the names of the
            members: ``Larger share of wrong labels``.
        unit: Of the differences.
        digits: Decimals.
    """
    words = {"above": above, "below": below}
    return [one for found in tests for one in _verdicts(found, families, words, unit, digits)]


def _verdicts(
    found: Tested, families: int, words: Mapping[str, str], unit: str, digits: int
) -> list[Statement]:
    groups: dict[str, list[Member]] = defaultdict(list)
    for member in found.family.members:
        one = found.pooled[member.name]
        if member.refused or _out_of_reach(found, member.name, families):
            groups["refused"].append(member)
        elif claimed(member, found.family.alpha, families) and not _holds_zero(one):
            groups["above" if one.mean > 0 else "below"].append(member)
        else:
            groups["open"].append(member)
    said = []
    for side, head in words.items():
        own = _by_size(found, groups[side])
        if own:
            most = max(member.adjusted or 0.0 for member in own)
            text = (f"{found.scope}. {head}: {_listed(found, own, unit, digits)} "
                    f"(paired sign-flip, Holm over m = {found.family.size}, corrected p "
                    f"{'at most ' * (len(own) > 1)}{p_text(most)}).")  # fmt: skip
            said.append(Statement(text, tuple(member.name for member in own), found.family))
    if groups["open"]:
        text = (f"{found.scope}. No difference is claimed for "
                f"{_listed(found, _by_size(found, groups['open']), unit, digits)}; "
                "not shown is not the same as equal.")  # fmt: skip
        said.append(Statement(text, (), found.family))
    if groups["refused"]:
        own = _by_size(found, groups["refused"])
        said.append(Statement(f"{found.scope}. Too few (label noise, seed) units to claim anything "
                              f"of {_listed(found, own, unit, digits)}: {_reach(found, own[0])}.",
                              (), found.family))  # fmt: skip
    return said


def _holds_zero(one: PooledCells) -> bool:
    """Whether the interval beside a test does not say what the test says."""
    return one.low is not None and one.high is not None and one.low <= 0 <= one.high


def _out_of_reach(found: Tested, name: str, families: int) -> bool:
    """Whether even the smallest p of so many units could not be claimed."""
    return out_of_reach(found.pooled[name].sign_flip.smallest_p, found.family, families)


def _reach(found: Tested, member: Member) -> str:
    flips = found.pooled[member.name].sign_flip
    return reach(flips.units, flips.smallest_p, found.family)


def open_families(found: Iterable[Tested | None]) -> int:
    """How many families can claim something."""
    return sum(one is not None and one.open for one in found)


def _by_size(found: Tested, members: Sequence[Member]) -> list[Member]:
    return sorted(members, key=lambda m: (-abs(found.pooled[m.name].mean), m.name))


def _listed(found: Tested, members: Sequence[Member], unit: str, digits: int) -> str:
    parts = []
    for member in members[:MOST]:
        one = found.pooled[member.name]
        size = interval(one.mean, one.low, one.high, digits)
        parts.append(f"{member.name} ({size} {unit}, n = {one.n})")
    rest = len(members) - MOST
    return ", ".join(parts) + (f" and {rest} more (table)" if rest > 0 else "")
