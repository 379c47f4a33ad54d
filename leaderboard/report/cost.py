"""What methods train, and how long, until they have a share of full training's accuracy."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from prunebench.errors import InputError
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.inference.series import draws_of
from prunebench.leaderboard.learning_curves.curves import Reader
from prunebench.leaderboard.learning_curves.to_target import (
    Slot,
    TargetTable,
    cells,
    shares_by_run,
)
from prunebench.leaderboard.number_text import number, p_text
from prunebench.leaderboard.report.model import (
    Column,
    Estimate,
    Lacking,
    ReportSection,
    ReportTable,
    Statement,
    Value,
)
from prunebench.leaderboard.report.tested import MOST, claimed, out_of_reach, reach
from prunebench.leaderboard.stats import Family, MedianInterval, family, median_interval

COMMAND = "prunebench grid report-digits"


@dataclass(frozen=True)
class SignTest:
    """Whether more than half of the units save, or cost more; exact and two-sided.

    Attributes:
        p: Its p-value.
        smallest_p: What so many units can reach at best.
        below, above, units: Units whose share is below and above 1, and all that are not equal.
        share: Median share over the units with its interval.
    """

    p: float
    smallest_p: float
    below: int
    above: int
    share: MedianInterval

    @property
    def units(self) -> int:
        """Units that are not equal to full training."""
        return self.below + self.above


@dataclass(frozen=True)
class Reached:
    """Sign tests of the rows of one table and target, in a family of their own."""

    scope: str
    family: Family
    tests: Mapping[str, SignTest]

    @property
    def open(self) -> bool:
        """Whether a test of it was run."""
        return any(member.p is not None for member in self.family.members)


def sign_test(shares: Mapping[Slot, float]) -> SignTest | None:
    """Signs of log shares by (label noise, seed); settings of one label noise share their draws,
    so that a unit has the sign of its median. None without a unit that is not 1.

    Args:
        shares: Cost over that of full training, by (setting, seed); infinite for not reached.
    """
    units: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (noise, seed), share in shares.items():
        units[draws_of(noise), seed].append(share)
    medians = [median_interval(own).median for own in units.values()]
    below, above = sum(value < 1 for value in medians), sum(value > 1 for value in medians)
    n = below + above
    if not n:
        return None
    tail = sum(math.comb(n, k) for k in range(min(below, above) + 1))
    p = min(1.0, float(Fraction(2 * tail, 2**n)))
    return SignTest(p, min(1.0, 2.0 ** (1 - n)), below, above, median_interval(medians))


def reached(
    board: Board, tables: Sequence[TargetTable], read: Reader, faults: list[InputError]
) -> tuple[Reached, ...]:
    """One family for each table and target: does a row need fewer samples than full training?

    Args:
        board: The board.
        tables: Samples to an accuracy of the same board.
        read: Gives the tables of epochs.
        faults: Takes those that cannot be used.
    """
    found = []
    for own in tables:
        for target in own.targets:
            shares = shares_by_run(own.table, read, target, faults)
            kinds = {row.label: row.kind for row in (*own.table.rows, *own.table.incomplete)}
            tests = {label: test for label, values in shares.items()
                     if kinds[label] not in ("full", "oracle")
                     and (test := sign_test(values)) is not None}  # fmt: skip
            if tests:
                scope = f"{own.table.dataset}, ratio {own.table.ratio:g}, {100 * target:g} %"
                name = f"samples to the target, {scope}"
                found.append(Reached(scope, family(name, tests, "holm", board.protocol.alpha),
                                     tests))  # fmt: skip
    return tuple(found)


def section(tables: Sequence[TargetTable], own: tuple[Reached, ...], count: int) -> ReportSection:
    """Sentences and the table.

    Args:
        tables: Samples to an accuracy.
        own: Families.
        count: Families of the report.
    """
    about = (
        "Samples trained (second views with them, a forward-only pass as a third) and seconds "
        "until a run first has a share of the final accuracy of full training with the same "
        "seed. Runs that do not reach it count as beyond every number. Tested: whether most "
        "(noise, seed) units need fewer samples than full training to the same target (exact "
        "sign test)."
    )
    title = "What does it cost to reach full training's accuracy?"
    if not tables:
        return ReportSection("cost", title, about, lacking=(Lacking(
            "no run that is at hand was evaluated while it trained",
            "`recipe_params = { eval_every = 1 }` in the grid; packed records have no tables of "
            "epochs", COMMAND,
        ),))  # fmt: skip
    said = [sentence for one in own for sentence in _verdicts(one, count)]
    notes = (
        "Seconds are given where row and full training ran on one kind of machine. The scoring run "
        "of a static method is not counted but in the column that says so.",
    ) + (() if own else ("Without the tables of epochs of single runs nothing is tested.",))
    return ReportSection("cost", title, about, tuple(said), (_table(tables),), notes=notes)


def _verdicts(found: Reached, count: int) -> list[Statement]:
    groups: dict[str, list[str]] = defaultdict(list)
    for member in found.family.members:
        test = found.tests[member.name]
        if member.refused or out_of_reach(test.smallest_p, found.family, count):
            groups["refused"].append(member.name)
        elif claimed(member, found.family.alpha, count) and not _holds_one(test.share):
            groups["fewer" if test.below > test.above else "more"].append(member.name)
        else:
            groups["open"].append(member.name)
    adjusted = {member.name: member.adjusted for member in found.family.members}
    said = []
    than = "samples than full training to the target"
    for side, words in (("fewer", f"Fewer {than}"), ("more", f"More {than}, or not reached")):
        names = sorted(groups[side], key=lambda name: (found.tests[name].share.median, name))
        if names:
            most = max(adjusted[name] or 0.0 for name in names)
            said.append(Statement(
                f"{found.scope}. {words}: {_listed(found, names)} (sign test, Holm over m = "
                f"{found.family.size}, corrected p {'at most ' * (len(names) > 1)}{p_text(most)}).",
                tuple(names), found.family,
            ))  # fmt: skip
    if groups["open"]:
        listed = _listed(found, groups["open"])
        text = f"{found.scope}. Nothing is claimed of {listed}; not shown is not the same as equal."
        said.append(Statement(text, (), found.family))
    if groups["refused"]:
        first = found.tests[groups["refused"][0]]
        said.append(Statement(
            f"{found.scope}. Too few (label noise, seed) units to claim anything of "
            f"{_listed(found, groups['refused'])}: "
            f"{reach(first.units, first.smallest_p, found.family)}.", (), found.family,
        ))  # fmt: skip
    return said


def _holds_one(share: MedianInterval) -> bool:
    """Whether the interval beside a test does not say what the test says."""
    return share.low is not None and share.high is not None and share.low <= 1 <= share.high


def _listed(found: Reached, names: Sequence[str]) -> str:
    parts = []
    for name in names[:MOST]:
        test = found.tests[name]
        median = test.share.median
        size = f"median {number(100 * median, 0)} % of full training's"
        size = "most do not reach it" if math.isinf(median) else size
        parts.append(f"{name} ({size}, fewer in {test.below} of {test.units} units)")
    rest = len(names) - MOST
    return ", ".join(parts) + (f" and {rest} more (table)" if rest > 0 else "")


def _table(tables: Sequence[TargetTable]) -> ReportTable:
    columns = (
        Column("method", "method"), Column("dataset", "data"), Column("setting", "setting"),
        Column("ratio", "ratio", 2), Column("target", "target, %", 1),
        Column("reached", "reached by"), Column("samples", "samples", 0),
        Column("share", "of full training's, %", 0),
        Column("share_with_scoring", "with the scoring run, %", 0),
        Column("seconds", "seconds", 1), Column("machine", "measured on"),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = []
    for own, one in cells(tables):
        if one.n:
            rows.append((
                one.label, own.table.dataset, one.noise, own.table.ratio, 100 * one.target,
                f"{one.reached} of {one.n}", _median(one.spent or one.trained),
                _median(one.share, 100), _median(one.share_with_scoring, 100),
                _median(one.seconds), one.machine or None,
            ))  # fmt: skip
    return ReportTable(
        "cost-to-target", "Samples and seconds until the target: median over n seeds, with the "
        "interval between two of the values (below six seeds it has less than 95 %).", columns,
        tuple(rows),
    )  # fmt: skip


def _median(found: MedianInterval | None, times: float = 1) -> Estimate | None:
    return None if found is None else Estimate.median(found, times)
