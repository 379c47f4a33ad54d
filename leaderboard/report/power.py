"""Seeds and power: which differences the design could see, and which it could not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prunebench.leaderboard.board.model import Board, Summary
from prunebench.leaderboard.figures.seeds_needed import EFFECT, Need, need
from prunebench.leaderboard.findings.phrases import counted
from prunebench.leaderboard.inference.compare import POWER, Comparison, compare
from prunebench.leaderboard.inference.series import differences, draws_of
from prunebench.leaderboard.number_text import number, span
from prunebench.leaderboard.report.model import (
    Column,
    Estimate,
    Lacking,
    ReportSection,
    ReportTable,
    Statement,
    Value,
)
from prunebench.leaderboard.report.tested import Tested, tested, verdicts
from prunebench.leaderboard.stats import smallest_p
from prunebench.leaderboard.stats.clusters import MIN_CLUSTERS

COMMAND = "prunebench grid report-digits"


@dataclass(frozen=True)
class Seen:
    """What a design could see of each row's difference to the reference row.

    Attributes:
        summary: The design.
        rows: By label: the comparison, and what its spread asks for.
    """

    summary: Summary
    rows: Mapping[str, tuple[Comparison, Need | None]]


def measured(board: Board) -> tuple[Seen, ...]:
    """Every design that has the reference row."""
    found = []
    for summary in board.summaries:
        reference = summary.series.get(board.protocol.reference)
        if reference is None:
            continue
        rows = {}
        for label, own in summary.series.items():
            if own is not reference and own.kind != "oracle":
                comparison = compare(own, reference, board.protocol)
                if comparison is not None:
                    rows[label] = comparison, need(own, reference, board.protocol)
        if rows:
            found.append(Seen(summary, rows))
    return tuple(found)


def families(board: Board, found: tuple[Seen, ...]) -> tuple[Tested, ...]:
    """Per design: differences to the reference row over all cells."""
    made = []
    for one in found:
        series = one.summary.series
        reference = series[board.protocol.reference]
        members = {label: differences(series[label], reference) for label in one.rows}
        made.append(tested(f"against {board.protocol.reference}", one.summary.dataset, members,
                           board.protocol.alpha))  # fmt: skip
    return tuple(one for one in made if one is not None)


def section(
    board: Board, found: tuple[Seen, ...], own: tuple[Tested, ...], count: int
) -> ReportSection:
    """Sentences and the table.

    Args:
        board: The board.
        found: As measured.
        own: Families.
        count: Families of the report.
    """
    reference = board.protocol.reference
    about = (
        f"Differences to {reference} by seed, over all cells of a row. Detectable: the true "
        f"difference that one uncorrected test finds in {100 * POWER:.0f} % of such designs; "
        f"seeds needed: of a paired t test in one cell, for {EFFECT:g} points."
    )
    title = "What could this design see, and what not?"
    if not found:
        why = f"no row has two seeds in common with {reference}"
        return ReportSection("power", title, about, lacking=(
            Lacking(why, f'`seed = "0..4"` in the grid, and `{reference}` among its methods',
                    COMMAND),))  # fmt: skip
    said = [statement for one in found for statement in _limits(one, board)]
    said += verdicts(own, count, f"More accurate than {reference}",
                     f"Less accurate than {reference}", "points", 2)  # fmt: skip
    return ReportSection("power", title, about, tuple(said), (_table(found),))


def _limits(one: Seen, board: Board) -> list[Statement]:
    """Seeds, the smallest p of a cell, what the weakest and the strongest comparison find, and
    whether anything may be said of other noise settings."""
    protocol, name = board.protocol, one.summary.dataset
    seeds = [size for comparison, _ in one.rows.values() for size in comparison.seeds]
    low, high = min(seeds), max(seeds)
    floor = smallest_p(high).sign_flip
    told = "cannot" if floor > protocol.alpha else "can"
    said = [f"{name}: {span(low, high)} seeds a cell; within one cell an exact paired test {told} "
            f"reach {protocol.alpha:g} (smallest p {number(floor, 3)})."]  # fmt: skip
    detectable = {label: comparison.detectable for label, (comparison, _) in one.rows.items()
                  if comparison.detectable is not None}  # fmt: skip
    if detectable:
        best = min(detectable, key=lambda label: (detectable[label], label))
        worst = max(detectable, key=lambda label: (detectable[label], label))
        said.append(
            f"{name}: over all cells, differences to {protocol.reference} are found with "
            f"{100 * POWER:.0f} % power from {number(detectable[best], 2)} points on for {best} "
            f"(n = {one.rows[best][0].pooled.n}), and from {number(detectable[worst], 2)} for "
            f"{worst} (n = {one.rows[worst][0].pooled.n}); smaller ones would be missed more often."
        )
    needs = {label: n.seeds.n for label, (_, n) in one.rows.items() if n and n.seeds.n}
    if needs:
        enough = sum(seeds <= high for seeds in needs.values())
        said.append(
            f"{name}: {EFFECT:g} points in a single cell would take {span(*_ends(needs))} seeds "
            f"by the observed spread; {enough} of {counted(len(needs), 'row')} had as many."
        )
    noises = len({draws_of(noise) for noise in one.summary.noises})
    if noises < MIN_CLUSTERS:
        said.append(f"{name}: {counted(noises, 'label noise')} cannot say anything of another one "
                    f"({MIN_CLUSTERS} are needed for a test).")  # fmt: skip
    return [Statement(text) for text in said]


def _ends(values: Mapping[str, int | None]) -> tuple[int, int]:
    known = [value for value in values.values() if value is not None]
    return min(known), max(known)


def _table(found: tuple[Seen, ...]) -> ReportTable:
    columns = (
        Column("method", "method"), Column("dataset", "data"), Column("cells", "cells", 0),
        Column("seeds", "seeds a cell"),
        Column("difference", "difference, points", 2, signed=True),
        Column("detectable", "detectable, points", 2), Column("sd", "sd of a pair, points", 2),
        Column("seeds_needed", f"seeds for {EFFECT:g} points", 0),
        Column("seeds_needed_high", "at the upper end of the sd", 0),
        Column("correlation", "correlation of pairs", 2),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = []
    for one in found:
        for label, (c, wanted) in one.rows.items():
            rows.append((
                label, one.summary.dataset, c.pooled.cells, span(*c.seeds),
                Estimate.pooled(c.pooled), c.detectable, wanted.sd if wanted else None,
                wanted.seeds.n if wanted else None, wanted.seeds.n_high if wanted else None,
                c.correlation,
            ))  # fmt: skip
    return ReportTable(
        "power", "Difference of each row to the reference row over n runs with a 95 % t interval "
        "for new seeds, the difference that would be found, and what one cell would need.",
        columns, tuple(rows),
    )  # fmt: skip
