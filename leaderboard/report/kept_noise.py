"""What each row keeps of the wrong labels, by setting, ratio and reference set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.board.model import Board, Row, Table, TableCell
from prunebench.leaderboard.inference.series import Cell
from prunebench.leaderboard.report.model import (
    Column,
    Estimate,
    Lacking,
    ReportSection,
    ReportTable,
)
from prunebench.leaderboard.report.reference_use import reference_use
from prunebench.leaderboard.report.tested import Tested, tested, verdicts
from prunebench.leaderboard.stats import mean_interval
from prunebench.leaderboard.stats.exact import Number, exact

COMMAND = "prunebench grid report-digits"


@dataclass(frozen=True)
class Kept:
    """One row under one setting; shares in percent.

    Attributes:
        table, row, cell: Where.
        noise: Name of the setting.
        base: Wrong labels in the training split, mean over the runs.
        rate: Wrong labels among the trained samples.
        lead: ``rate`` minus ``base``, by run.
        reference: Words for the reference set; empty where the method uses none.
    """

    table: Table
    row: Row
    cell: TableCell
    noise: str
    base: float
    rate: Estimate
    lead: Mapping[int, Number]
    reference: str


def measured(board: Board) -> tuple[Kept, ...]:
    """Every row but full training whose records hold what it kept under a noisy setting."""
    found = []
    for table in board.tables:
        for row in (*table.rows, *table.incomplete):
            for noise, cell in zip(table.noises, row.cells, strict=True):
                runs = dict(_noisy(table.runs[row.label], noise))
                if row.kind == "full" or cell is None or not runs:
                    continue
                rates = {seed: 100 * exact(r.metric("kept_noise_rate") or 0.0)
                         for seed, r in runs.items()}  # fmt: skip
                bases = {seed: 100 * _base(r) for seed, r in runs.items()}
                uses = {u.words for r in runs.values() if (u := reference_use(r))}
                found.append(Kept(
                    table, row, cell, noise, float(sum(bases.values())) / len(bases),
                    Estimate.of(mean_interval(list(rates.values()))),
                    {seed: rates[seed] - bases[seed] for seed in rates}, " / ".join(sorted(uses)),
                ))  # fmt: skip
    return tuple(sorted(found, key=lambda one: (
        one.table.dataset, noise_order(one.noise), one.table.ratio, one.rate.mean, one.row.label,
    )))  # fmt: skip


def _noisy(runs: Mapping[tuple[str, int], Run], noise: str) -> Iterator[tuple[int, Run]]:
    for (name, seed), run in sorted(runs.items()):
        known = run.accuracy is not None and run.metric("kept_noise_rate") is not None
        if name == noise and known and _base(run) > 0:
            yield seed, run


def _base(run: Run) -> Fraction:
    return exact(run.record.info.get("noise_rate") or 0.0)


def families(found: tuple[Kept, ...], alpha: float) -> tuple[Tested, ...]:
    """Per design: does a row train another share of wrong labels than there is? Oracles are not
    asked."""
    by_design: dict[str, dict[str, dict[Cell, Mapping[int, Number]]]] = defaultdict(dict)
    for one in found:
        if one.row.kind != "oracle":
            cells = by_design[one.table.dataset].setdefault(one.row.label, {})
            cells[one.noise, one.table.ratio] = one.lead
    made = (tested("noise kept", name, own, alpha) for name, own in by_design.items())
    return tuple(one for one in made if one is not None)


def section(found: tuple[Kept, ...], own: tuple[Tested, ...], count: int) -> ReportSection:
    """Sentences and the table.

    Args:
        found: As measured.
        own: Their families.
        count: Families of the report.
    """
    about = (
        "Share of wrong labels among the samples that were trained, beside their share in the "
        "training split. Dynamic methods are counted over all samples of the run. Tested: the "
        "difference of the two, by seed, over all noisy settings and ratios of a row."
    )
    if not found:
        why = "no run that prunes has wrong labels that are known"
        option = "a noise such as `symmetric:0.4` in `noise` of the grid"
        return ReportSection("noise-kept", "How much noise does each method keep?", about,
                             lacking=(Lacking(why, option, COMMAND),))  # fmt: skip
    share = "share of wrong labels among the trained than in the data"
    said = verdicts(own, count, f"Larger {share}", f"Smaller {share}", "points")
    uses = any(one.reference for one in found)
    lacking = () if uses else (
        Lacking("no row uses a reference set",
                'a method with `+align`, and `"align.reference_size"` under its `params`', COMMAND),
    )  # fmt: skip
    return ReportSection("noise-kept", "How much noise does each method keep?", about,
                         tuple(said), (_table(found),), lacking=lacking)  # fmt: skip


def _table(found: tuple[Kept, ...]) -> ReportTable:
    columns = (
        Column("method", "method"), Column("dataset", "data"), Column("setting", "setting"),
        Column("ratio", "ratio", 2), Column("reference", "reference set"),
        Column("seeds", "n", 0), Column("noise_in_data", "wrong in the data, %"),
        Column("noise_kept", "wrong among the trained, %"),
        Column("difference", "difference, points", signed=True),
        Column("weight_kept", "loss weight on wrong, %"), Column("auroc", "AUROC of the score", 3),
    )  # fmt: skip
    rows = tuple(
        (
            one.row.label, one.table.dataset, one.noise, one.table.ratio, one.reference or None,
            one.rate.n, one.base, one.rate, Estimate.of(mean_interval(list(one.lead.values()))),
            Estimate.of(one.cell.kept_weight).scaled(100) if one.cell.kept_weight else None,
            one.cell.auroc,
        )
        for one in found
    )  # fmt: skip
    return ReportTable(
        "noise-kept", "Wrong labels among the trained samples, mean over n seeds with 95 % t "
        "intervals; AUROC: probability that a wrong label scores above a right one.", columns, rows,
    )  # fmt: skip
