"""What the size, the purity and the likeness of the reference set do to the methods that use it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Board, Summary, Table
from prunebench.leaderboard.findings.phrases import averaged
from prunebench.leaderboard.inference.series import Cell, Series, differences, draws_of
from prunebench.leaderboard.report.model import (
    Column,
    Estimate,
    Lacking,
    ReportSection,
    ReportTable,
    Value,
)
from prunebench.leaderboard.report.reference_use import (
    CLEAN,
    ReferenceUse,
    reference_use,
    without_reference,
)
from prunebench.leaderboard.report.tested import Tested, tested, verdicts
from prunebench.leaderboard.stats import pooled_cells
from prunebench.leaderboard.stats.exact import Number, exact
from prunebench.leaderboard.stats.pooled import MIN_SEEDS
from prunebench.record import AND, canonical
from prunebench.registry import own_scored

COMMAND = "prunebench grid report-digits"


@dataclass(frozen=True)
class Variant:
    """A row whose reference differs from that of another row of the same method.

    Attributes:
        dataset: Label of the design.
        label, use: The row and its reference.
        usual, usual_use: The row that it is compared with: the largest clean reference.
        factors: What differs: size, purity, origin.
        d: Row minus the usual one, in points.
    """

    dataset: str
    label: str
    use: ReferenceUse
    usual: str
    usual_use: ReferenceUse
    factors: tuple[str, ...]
    d: Mapping[Cell, Mapping[int, Number]]


@dataclass(frozen=True)
class Shift:
    """What a row adds to its base where the training split is unlike the reference.

    Attributes:
        dataset: Label of the design.
        label, base: The rows.
        plain, shifted: Settings of one label noise, without and with imbalance or corruption.
        gains: Series minus base in each of the two, (cell, seed).
        d: Change of the gain, shifted minus plain, in points.
    """

    dataset: str
    label: str
    base: str
    plain: str
    shifted: str
    gains: tuple[Mapping[Cell, Mapping[int, Number]], Mapping[Cell, Mapping[int, Number]]]
    d: Mapping[Cell, Mapping[int, Number]]


def variants(board: Board) -> tuple[Variant, ...]:
    """Rows of one method that differ in their reference alone, beside the usual one of them."""
    found = []
    for summary in board.summaries:
        groups: dict[str, dict[str, ReferenceUse]] = defaultdict(dict)
        for label, run in _runs(board, summary).items():
            use = reference_use(run)
            if use is not None:
                groups[canonical([run.method, without_reference(run.params)])][label] = use
        for rows in groups.values():
            if len(rows) > 1:
                found += _beside_usual(summary, rows)
    return tuple(found)


def _runs(board: Board, summary: Summary) -> dict[str, Run]:
    """A run of each row of a design."""
    own: list[Table] = [table for table in board.tables if table.dataset == summary.dataset]
    return {label: next(iter(runs.values())) for t in own for label, runs in t.runs.items() if runs}


def _beside_usual(summary: Summary, rows: Mapping[str, ReferenceUse]) -> list[Variant]:
    """Every row with another reference beside the row with the best one with which it shares most
    cells: tables of several ratios may call one method by several labels."""
    best = min(rows.values(), key=lambda use: (use.kind != CLEAN, use.impurity, -(use.size or 0)))
    usual = [label for label in sorted(rows) if rows[label] == best]
    found = []
    for label in sorted(rows, key=lambda name: (rows[name], name)):
        use = rows[label]
        shared = {name: differences(summary.series[label], summary.series[name]) for name in usual}
        chosen = max(usual, key=lambda name: len(shared[name]))
        if use == best or not shared[chosen]:
            continue
        pairs = (("size", use.size, best.size), ("purity", use.impurity, best.impurity),
                 ("origin", use.kind, best.kind))  # fmt: skip
        factors = tuple(name for name, mine, other in pairs if mine != other)
        d: dict[Cell, Mapping[int, Number]] = dict(shared[chosen])
        found.append(Variant(summary.dataset, label, use, chosen, best, factors, d))
    return found


def shifts(board: Board) -> tuple[Shift, ...]:
    """Rows with another score than their own beside their base, in settings of one label noise."""
    found = []
    for summary in board.summaries:
        runs = _runs(board, summary)
        for label in sorted(summary.series):
            base = own_scored(label)
            uses = label in runs and reference_use(runs[label]) is not None
            if base == label or base not in summary.series or not uses:
                continue
            for shifted in summary.noises:
                plain = draws_of(shifted)
                if shifted != plain and AND in shifted and plain in summary.noises:
                    one = _shift(summary, label, base, plain, shifted)
                    found += [one] if one.d else []
    return tuple(found)


def _shift(summary: Summary, label: str, base: str, plain: str, shifted: str) -> Shift:
    gains: dict[Cell, Mapping[int, Number]] = dict(
        differences(summary.series[label], summary.series[base])
    )
    d: dict[Cell, Mapping[int, Number]] = {}
    kept: tuple[dict[Cell, Mapping[int, Number]], dict[Cell, Mapping[int, Number]]] = ({}, {})
    for ratio in summary.ratios:
        before, after = gains.get((plain, ratio), {}), gains.get((shifted, ratio), {})
        common = sorted(before.keys() & after.keys())
        if common:
            d[shifted, ratio] = {s: exact(after[s]) - exact(before[s]) for s in common}
            kept[0][plain, ratio] = {s: before[s] for s in common}
            kept[1][shifted, ratio] = {s: after[s] for s in common}
    return Shift(summary.dataset, label, base, plain, shifted, kept, d)


def families(
    found: tuple[Variant, ...], shifted: tuple[Shift, ...], alpha: float
) -> tuple[Tested, ...]:
    """Per design, one for both: accuracy with another reference, and the gain under a shift."""
    by_design: dict[str, dict[str, Mapping[Cell, Mapping[int, Number]]]] = defaultdict(dict)
    for one in found:
        by_design[one.dataset][_variant_name(one)] = one.d
    for other in shifted:
        by_design[other.dataset][_shift_name(other)] = other.d
    made = (tested("reference set", name, own, alpha) for name, own in by_design.items())
    return tuple(one for one in made if one is not None)


def _variant_name(one: Variant) -> str:
    return f"{one.label} ({one.use.words}) against {one.usual} ({one.usual_use.words})"


def _shift_name(one: Shift) -> str:
    return f"gain of {one.label} over {one.base} under {one.shifted} against {one.plain}"


def section(
    board: Board,
    found: tuple[Variant, ...],
    shifted: tuple[Shift, ...],
    own: tuple[Tested, ...],
    count: int,
) -> ReportSection:
    """Sentences and both tables.

    Args:
        board: The board.
        found, shifted: As measured.
        own: Their families.
        count: Families of the report.
    """
    about = (
        "Rows of one method that differ in the reference set alone, against the one with the "
        "largest clean set; and whether the gain over the base method changes where the training "
        "split is imbalanced or corrupted while the reference is not. Tested: these differences "
        "by seed, over all cells that both have."
    )
    said = verdicts(own, count, "Higher accuracy, or a larger gain",
                    "Lower accuracy, or a smaller gain", "points", 2)  # fmt: skip
    lacking = []
    wanted = {
        "size": ("a smaller reference", '`"align.reference_size" = [10, 100]`'),
        "purity": ("a reference with wrong labels", '`"align.impurity" = [0.2, 0.4]`'),
    }
    for factor, (what, option) in wanted.items():
        if not any(factor in one.factors for one in found):
            lacking.append(Lacking(f"no rows differ in the {factor} of the reference ({what})",
                                   f"{option} under `params` of a method with `+align`",
                                   COMMAND))  # fmt: skip
    if not shifted:
        lacking.append(Lacking(
            "no row with `+align` and its base were run where training data are unlike the "
            "reference", '`imbalance = ["none", "exp:10"]` or `corrupt` in the grid', COMMAND,
        ))  # fmt: skip
    tables = (_variant_table(board, found), _shift_table(shifted))
    return ReportSection(
        "reference", "How much hangs on the reference set?", about, tuple(said),
        tuple(table for table in tables if table.rows), lacking=tuple(lacking),
    )  # fmt: skip


def _variant_table(board: Board, found: tuple[Variant, ...]) -> ReportTable:
    columns = (
        Column("method", "method"), Column("dataset", "data"), Column("reference", "reference set"),
        Column("factors", "differs in"), Column("accuracy", "accuracy, %"),
        Column("usual", "against"), Column("usual_reference", "its reference set"),
        Column("difference", "difference, points", 2, signed=True),
        Column("gain", "gain over the base, points", 2, signed=True),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = []
    series = {summary.dataset: summary.series for summary in board.summaries}
    usual = dict.fromkeys((one.dataset, one.usual, one.usual_use) for one in found)
    for dataset, label, use in usual:
        others = [one for one in found if (one.dataset, one.usual) == (dataset, label)]
        cells = {cell for one in others for cell in one.d}
        rows.append((label, dataset, use.words, None, _accuracy(series[dataset][label], cells),
                     None, None, None, _gain(series[dataset], label, label, cells)))  # fmt: skip
        rows += [
            (one.label, dataset, one.use.words, ", ".join(one.factors),
             _accuracy(series[dataset][one.label], set(one.d)), label, use.words, pooled(one.d),
             _gain(series[dataset], one.label, label, set(one.d)))
            for one in others
        ]  # fmt: skip
    return ReportTable(
        "reference-set", "Accuracy with different reference sets over the cells (setting, ratio) "
        "that the rows share, with 95 % t intervals for new seeds; the gain is over the row of the "
        "base method with its own score.", columns, tuple(rows),
    )  # fmt: skip


def _accuracy(row: Series, cells: set[Cell]) -> Estimate | None:
    return pooled({cell: row.values[cell] for cell in sorted(cells) if cell in row.values})


def _gain(
    series: Mapping[str, Series], label: str, usual: str, cells: set[Cell]
) -> Estimate | None:
    """Of a row over the base method of the usual row."""
    base = own_scored(usual)
    if base == usual or base not in series:
        return None
    found = averaged([(series[label], series[base])], "", lambda cell: cell in cells)
    if found is None or found.mean is None:
        return None
    n = sum(len(v) for c, v in differences(series[label], series[base]).items() if c in cells)
    return Estimate(found.mean, found.low, found.high, n)


def pooled(d: Mapping[Cell, Mapping[int, Number]]) -> Estimate | None:
    """Mean over cells with its interval; None without a cell of two seeds."""
    if not any(len(by_seed) >= MIN_SEEDS for by_seed in d.values()):
        return None
    return Estimate.pooled(pooled_cells(d, {cell: draws_of(cell[0]) for cell in d}))


def _shift_table(shifted: tuple[Shift, ...]) -> ReportTable:
    columns = (
        Column("method", "method"), Column("dataset", "data"), Column("base", "base"),
        Column("plain", "like the reference"), Column("gain", "gain there, points", 2, signed=True),
        Column("shifted", "unlike it"),
        Column("gain_shifted", "gain there, points", 2, signed=True),
        Column("change", "change, points", 2, signed=True),
    )  # fmt: skip
    rows = tuple(
        (one.label, one.dataset, one.base, one.plain, pooled(one.gains[0]), one.shifted,
         pooled(one.gains[1]), pooled(one.d))
        for one in shifted
    )  # fmt: skip
    return ReportTable(
        "reference-shift", "Gain over the base method where the training split is like the "
        "reference set and where it is not, over the ratios and seeds of both, with 95 % t "
        "intervals.", columns, rows,
    )  # fmt: skip
