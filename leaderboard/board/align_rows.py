"""Finds rows with AlignPrune, random choice and other uses of the clean samples in tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prunebench.leaderboard.board.collect import REFERENCE_TRAINED, Run
from prunebench.leaderboard.board.model import Row, Table
from prunebench.leaderboard.inference.align_controls import (
    AlignControls,
    CleanUse,
    Seen,
    against_random,
    clean_use,
)
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.registry import ALIGN

RANDOM = "random-dynamic"
#: What a grid with ``controls = "reference"`` adds: other uses of the clean samples.
REFERENCE_CONTROLS = (*REFERENCE_TRAINED, "glister", "cld", "rho-loss")
#: First set of metrics whose boards show the section without being asked: published boards of
#: earlier records keep their bytes until they are rendered anew.
SHOWN_FROM_SET = 3


def align_controls(
    tables: Sequence[Table], protocol: ProtocolFile, shown: bool | None = None
) -> AlignControls | None:
    """Rows with AlignPrune beside random choice and beside other uses of the clean samples.

    Args:
        tables: Of one design.
        protocol: The protocol.
        shown: Whether it is wanted; None for yes where a run with AlignPrune has a record of set
            ``SHOWN_FROM_SET`` or later.

    Returns:
        None where the design has no such row, or it is not wanted.
    """
    runs = [run for table in tables for run in _runs(table) if aligned(run)]
    if shown is None:
        shown = any(run.record.info.get("metrics", 1) >= SHOWN_FROM_SET for run in runs)
    if not runs or not shown:
        return None
    budget = tables[0].shared.budget
    random = [seen for table in tables for seen in _seen(table, RANDOM)]
    found = [
        against_random(seen, random, budget, protocol)
        for table in tables
        for seen in _aligned_rows(table)
    ]
    uses = {table.ratio: _uses(table, protocol) for table in tables if _aligned_rows(table)}
    others = any(use.label not in {seen.label for seen in found} for own in uses.values()
                 for use in own)  # fmt: skip
    return AlignControls(
        budget=budget,
        against_random=tuple(found),
        clean_uses=tuple(use for own in uses.values() for use in own) if others else (),
        absent={table.ratio: _absent(table) for table in tables if table.ratio in uses},
    )


def aligned(run: Run) -> bool:
    """Whether a run's scores are AlignPrune's, whatever the method is called."""
    return run.method.endswith(ALIGN) or any(name.startswith("align.") for name in run.params)


def _runs(table: Table) -> Iterable[Run]:
    return (run for slots in table.runs.values() for run in slots.values())


def _rows(table: Table) -> list[tuple[Row, list[Run]]]:
    rows = (*table.rows, *table.incomplete)
    return [(row, list(table.runs[row.label].values())) for row in rows]


def _view(table: Table, row: Row, runs: Sequence[Run]) -> Seen:
    return Seen(row.label, table.ratio, row.realised, table.series[row.label], _samples(runs))


def _seen(table: Table, method: str) -> list[Seen]:
    return [_view(table, row, runs) for row, runs in _rows(table) if runs[0].method == method]


def _aligned_rows(table: Table) -> list[Seen]:
    return [_view(table, row, runs) for row, runs in _rows(table) if aligned(runs[0])]


def _samples(runs: Sequence[Run]) -> tuple[int, int] | None:
    """Fewest and most clean samples that runs used; None where one does not say it."""
    sizes = [run.params.get("align.reference_size") or run.record.info.get("reference_size")
             for run in runs]  # fmt: skip
    known = [size for size in sizes if isinstance(size, int)]
    return (min(known), max(known)) if known and len(known) == len(sizes) else None


def _uses(table: Table, protocol: ProtocolFile) -> list[CleanUse]:
    align = _aligned_rows(table)
    own = {seen.label for seen in align}
    using = [(row, runs) for row, runs in _rows(table)
             if "reference" in row.clean_labels and row.kind != "oracle"]  # fmt: skip
    using.sort(key=lambda item: item[0].label not in own)
    return [
        clean_use(_view(table, row, runs), runs[0].method, row.compute, align, protocol)
        for row, runs in using
    ]


def _absent(table: Table) -> tuple[str, ...]:
    there = {run.method for run in _runs(table) if run.accuracy is not None}
    return tuple(name for name in REFERENCE_CONTROLS if name not in there)
