"""Tooltips of the page: the figures and tests behind a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

from prunebench.leaderboard.board.model import Row, Table, TableCell
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.bold import BoldColumn
from prunebench.leaderboard.inference.compare import POWER, Comparison
from prunebench.leaderboard.inference.groups import Groups
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.row_text import (
    interval,
    missing,
    number,
    p_text,
    record_of,
    reference_words,
    share,
    span,
)
from prunebench.leaderboard.stats import Family, Member, paired_g
from prunebench.leaderboard.stats.families import METHODS

Fact = tuple[str, str]
TESTS = {"t": "paired t", "sign-flip": "paired sign-flip", "": "none"}
KINDS = {
    "full": "full training",
    "control": "control",
    "method": "method",
    "oracle": "oracle: knows the clean labels, neither ranked nor tested",
}
#: More runs than this are not listed one by one.
_LISTED = 10


class Tips:
    """Tooltips in the order they were added; equal ones are stored once."""

    def __init__(self) -> None:
        """Starts empty."""
        self._places: dict[tuple[str, tuple[Fact, ...]], int] = {}
        self._cells: dict[tuple[str, float, str, int], int | None] = {}

    def add(self, title: str, facts: Iterable[Fact]) -> int | None:
        """Number of a tooltip; None without a fact to show."""
        kept = tuple(fact for fact in facts if fact[1])
        return self._places.setdefault((title, kept), len(self._places)) if kept else None

    def cell(self, facts: TableFacts, row: Row, place: int) -> int | None:
        """Number of the tooltip of one cell, which its table and pictures share."""
        table = facts.table
        key = table.dataset, table.ratio, row.label, place
        if key not in self._cells:
            title = f"{row.label} · {table.noises[place]} · ratio {table.ratio:g}"
            self._cells[key] = self.add(title, facts.cell(row, place))
        return self._cells[key]

    @property
    def content(self) -> list[list[object]]:
        """JSON values: [title, [[term, value], ...]] each."""
        return [[title, [list(fact) for fact in facts]] for title, facts in self._places]


def corrected(member: Member, found: Family) -> list[Fact]:
    """A member's p and its correction, or why there is none."""
    if member.p is None:
        return [("p", f"not tested: {member.refused}")]
    method = METHODS[found.method][1]
    return [("p", p_text(member.p)),
            ("p, adjusted", f"{p_text(member.adjusted)} ({method}, m = {found.size})")]  # fmt: skip


class TableFacts:
    """Facts about the cells and rows of one table.

    Args:
        table: The table.
        protocol: Its protocol.
    """

    def __init__(self, table: Table, protocol: ProtocolFile) -> None:
        """Keeps the table; look-ups are built when first asked for."""
        self.table, self.protocol = table, protocol

    @cached_property
    def _marks(self) -> Mapping[str, Member]:
        marks = self.table.tests.marks
        return {} if marks is None else {m.name: m for m in marks.family.members}

    @cached_property
    def _lossless(self) -> Mapping[str, Member]:
        found = self.table.tests.lossless
        return {} if found is None else {m.name: m for m in found.family.members}

    def cell(self, row: Row, place: int) -> list[Fact]:
        """Accuracy, differences, tests and diagnostics of one cell."""
        cell, noise = row.cells[place], self.table.noises[place]
        if cell is None:
            return [("missing", missing(row))]
        found = cell.accuracy
        spread = "" if found.half_width is None else f" ± {number(found.half_width, 2)}"
        sd = "" if found.sd is None else f", sd {number(found.sd, 2)}"
        facts = [
            (words_of(self.protocol.metric), f"{number(found.mean, 2)}{spread} (n = {found.n}{sd})")
        ]
        runs = self.table.series[row.label].values.get((noise, self.table.ratio), {})
        if len(runs) <= _LISTED:
            listed = (f"{seed}:\u00a0{number(v, 1)}" for seed, v in sorted(runs.items()))
            facts.append(("by seed", " · ".join(listed)))
        facts += self._difference(cell)
        facts += self._test(row.label, noise)
        column = self.table.tests.columns[place] if row.complete else None
        if column is not None and row.label in column.best:
            facts.append(("bold", "best of its column, or not separated from the best"))
        if column is not None and row.label in column.underpowered:
            facts.append(("underpowered ?", f"behind the best by the same amount in every seed; "
                          f"{column.seeds} seeds are too few for the exact test over "
                          f"{column.size} pairs"))  # fmt: skip
        if cell.diverged:
            facts.append(("diverged", f"{cell.diverged} of {found.n} runs ‡"))
        return facts + _diagnostics(cell)

    def _difference(self, cell: TableCell) -> list[Fact]:
        d = cell.difference
        if d is None:
            return []
        half = d.half_width
        low, high = (None, None) if half is None else (d.mean - half, d.mean + half)
        name = f"difference to {reference_words(self.table.reference)}"
        return [(name, f"{interval(d.mean, low, high, 2)} (n = {d.n})")]

    def _test(self, label: str, noise: str) -> list[Fact]:
        marks = self.table.tests.marks
        test = marks.cells.get((label, noise)) if marks else None
        if marks is None or test is None:
            return []
        reference, place = self.table.series[marks.reference], (noise, self.table.ratio)
        theirs = reference.values[place]
        mine = self.table.series[label].values[place]
        d = [value - theirs[seed] for seed, value in sorted(mine.items()) if seed in theirs]
        facts: list[Fact] = []
        member = self._marks[f"{label}, {noise}"]
        facts.append((f"test against {marks.reference}", TESTS[test.test if member.p is not None
                                                               else ""]))  # fmt: skip
        facts += corrected(member, marks.family)
        size = paired_g(d) if len(d) >= 2 else None
        if size is not None and size.d is not None:
            facts.append(("effect size", f"dz {number(size.d, 2, signed=True)} "
                          f"(small-sample {number(size.g, 2, signed=True)})"))  # fmt: skip
        verdict = ("better *" if test.mean > 0 else "worse †") if member.rejected else (
            "not separated")  # fmt: skip
        return [*facts, ("verdict", verdict)] if member.p is not None else facts

    def row(self, row: Row) -> list[Fact]:
        """What kind of row it is, its runs and what they took."""
        return [
            ("kind", KINDS[row.kind]),
            ("runs", f"{row.present} of {row.expected}, {span(*row.seeds)} per noise setting"),
            ("missing", missing(row)),
            ("clean labels", row.clean_labels + " (those of the test split) §" * row.leaks),
            ("saved share of training", f"{number(row.realised, 3)} (nominal {row.nominal:g})"),
            ("with forward passes counted", number(row.compute, 3)),
            ("epochs", number(row.whole_epochs, 1) if row.whole_epochs is not None
             else f"{number(row.epochs_begun, 1)} begun"),
            ("steps", number(row.steps, 0)),
            ("balanced accuracy", share_of(row.balanced)),
            ("worst class", share_of(row.worst_class)),
            ("worst group", share_of(row.worst_group)),
        ]  # fmt: skip

    def lossless(self, label: str) -> list[Fact]:
        """Whether a row loses less than the margin."""
        found = self.table.tests.lossless
        test = found.tests.get(label) if found else None
        if found is None or test is None:
            return []
        member = self._lossless[label]
        claim = f"loss below {found.margin:g} points"
        if member.p is None:
            return [(claim, f"not tested: {member.refused}")]
        bound = "" if test.bound is None else (
            f"; 95 % lower bound {number(test.bound, 2, signed=True)}")  # fmt: skip
        shown = "shown ≥" if member.rejected else "not shown"
        return [(claim, f"{shown}: p {p_text(member.p)}, Holm {p_text(member.adjusted)}, "
                 f"m = {found.family.size}{bound}")]  # fmt: skip


def column_facts(column: BoldColumn | None) -> list[Fact]:
    """How one column's bold came about."""
    if column is None:
        return []
    if not column.best:
        return [("bold", f"nobody: {column.seeds} seeds cannot separate rows here")]
    test = f"{TESTS[column.test]}, Holm over {column.size} pairs, {column.seeds} seeds"
    return [("best or not separated from it", ", ".join(sorted(column.best))), ("test", test)]


def comparison_facts(found: Comparison, protocol: ProtocolFile) -> list[Fact]:
    """One difference over cells, both claims."""
    pooled, cluster = found.pooled, found.cluster
    flip = pooled.sign_flip
    df = "" if pooled.df is None else f", df {number(pooled.df, 1)}"
    few = f"; {cluster.clusters} settings are too few to generalise" if cluster.too_few else ""
    dropped = f", {pooled.dropped} dropped" if pooled.dropped else ""
    detectable = "" if found.detectable is None else (
        f"{number(found.detectable, 2)} points with {POWER:.0%} power, uncorrected")  # fmt: skip
    return [
        ("on these cells, new seeds", interval(pooled.mean, pooled.low, pooled.high, 2)),
        ("from", f"{pooled.n} paired runs in {pooled.cells} cells{dropped}{df}"),
        ("sign-flip p, uncorrected",
         f"{p_text(flip.p)} ({flip.units} units, smallest {p_text(flip.smallest_p)})"),
        ("on other such noise settings",
         interval(cluster.mean, cluster.low, cluster.high, 2) + few),
        ("cells won/tied/lost", f"{record_of(found)}, {found.equivalent} within "
         f"±{protocol.rope:g} points"),
        ("P(better) of paired runs", number(found.improvement, 2)),
        ("correlation of the pairs", number(found.correlation, 2)),
        ("detectable difference", detectable),
    ]  # fmt: skip


def group_facts(groups: Groups) -> dict[str, list[Fact]]:
    """By row: from whom it is separated, at which adjusted p."""
    members = {m.name: m for m in groups.pairwise.family.members}
    apart: dict[str, list[str]] = defaultdict(list)
    joined: dict[str, list[str]] = defaultdict(list)
    for a, b in groups.pairwise.tests:
        member = members[f"{a} - {b}"]
        for mine, other in ((a, b), (b, a)):
            (apart if member.rejected else joined)[mine].append(
                f"{other} ({p_text(member.adjusted)})"
            )
    return {
        label: [("separated from (p, Holm)", ", ".join(apart[label]) or "nobody"),
                ("not separable from", ", ".join(joined[label]) or "nobody")]
        for label in groups.pairwise.order
    }  # fmt: skip


def share_of(value: float | None) -> str:
    """A share in percent; empty for None."""
    return "" if value is None else f"{number(100 * value, 1)} %"


def _diagnostics(cell: TableCell) -> list[Fact]:
    kept = f"{share(cell.kept_noise)} %" if cell.kept_noise else ""
    auroc = "" if cell.auroc is None else number(cell.auroc, 3)
    weight = f"{share(cell.kept_weight)} %" if cell.kept_weight else ""
    return [("noise among the kept", kept), ("loss weight of wrong labels", weight),
            ("AUROC of the score", auroc), *_corrupted(cell),
            ("balanced accuracy", share_of(cell.balanced)),
            ("worst class", share_of(cell.worst_class)),
            ("worst group", share_of(cell.worst_group))]  # fmt: skip


def _corrupted(cell: TableCell) -> list[Fact]:
    found = cell.corrupted
    if found is None:
        return []
    weight = f"{share(found.weight)} %" if found.weight else ""
    auroc = "" if found.auroc is None else number(found.auroc, 3)
    return [("corrupted among the kept", f"{share(found.rate)} %"),
            ("loss weight of corrupted images", weight),
            ("AUROC of the score against them", auroc)]  # fmt: skip
