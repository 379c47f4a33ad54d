"""The rows of boards as entries of a site: what a table says of a method, as text with links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.labels import decimals
from prunebench.leaderboard.board.model import Row, Table, TableCell
from prunebench.leaderboard.findings.blocks import KINDS
from prunebench.leaderboard.number_text import interval, number, span
from prunebench.leaderboard.render import row_text
from prunebench.leaderboard.site.addresses import row_anchor
from prunebench.leaderboard.site.model import PublishedBoard
from prunebench.leaderboard.stats import mean_interval


@dataclass(frozen=True)
class CellEntry:
    """One noise setting of a row.

    Attributes:
        noise: Its name.
        accuracy: With the half-width of its interval.
        difference: To the reference row, with the sign of its test; empty for that row.
        given: Share of wrong labels in the data, 0 to 1; None where no record says it.
        kept: The same of the samples that were trained; None where it is not known.
        kept_text, auroc: As text.
    """

    noise: str
    accuracy: str
    difference: str
    given: float | None
    kept: float | None
    kept_text: str
    auroc: str


@dataclass(frozen=True)
class RowEntry:
    """One row of one table of one board.

    Attributes:
        board, design, dataset, criterion, ratio, label: Where it stands; ``dataset`` and
            ``criterion`` as records name them.
        method, versions, kind: As records name them; ``kind`` empty where none does.
        role: ``full``, ``control``, ``method`` or ``oracle``.
        complete: Whether it is ranked with the others.
        rank, mean, difference, group, cells: As the board shows them.
        realised, compute, time, choice, seeds, missing: Likewise.
        clean_labels: What clean labels it used; empty for none.
        ran_by: Who handed it in, and when it was run; empty for runs that were no submission.
        hardware: Device classes of its runs.
        first, last: Dates on which the first and the last of its runs ended; empty where no
            record says it.
        anchor: Of its runs on the page of the board's records.
    """

    board: str
    design: str
    dataset: str
    criterion: str
    ratio: float
    label: str
    method: str
    versions: tuple[str, ...]
    kind: str
    role: str
    complete: bool
    rank: str
    mean: str
    difference: str
    group: str
    cells: tuple[CellEntry, ...]
    realised: str
    compute: str
    time: str
    choice: str
    seeds: str
    missing: str
    clean_labels: str
    ran_by: str
    hardware: tuple[str, ...]
    first: str
    last: str
    anchor: str


def board_rows(published: PublishedBoard) -> list[RowEntry]:
    """Every row of every table, in the order of the board."""
    return [
        _entry(published.name, table, row)
        for table in published.board.tables
        for row in (*table.rows, *table.incomplete)
    ]


def day(run: Run) -> str:
    """The date on which a run ended (UTC, ISO); empty where its record does not say it."""
    seconds = run.record.timing.get("finished")
    if not seconds:
        return ""
    try:
        return datetime.fromtimestamp(float(seconds), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):  # a record may hold any number
        return ""


def machine(run: Run) -> str:
    """The device class that a run's record names."""
    return str(run.record.environment.get("device_class") or "unknown")


def versions_of(runs: Iterable[Run]) -> tuple[str, ...]:
    """Versions of the method that some runs have."""
    return tuple(sorted({str(r.record.spec["method"].get("version") or "?") for r in runs}))


def _entry(board: str, table: Table, row: Row) -> RowEntry:
    runs = table.runs[row.label]
    some = next(iter(runs.values()))
    days = sorted(filter(None, map(day, runs.values())))
    digits = decimals(table.shared.test_size)
    return RowEntry(
        board=board,
        design=table.dataset,
        dataset=some.dataset,
        criterion=some.criterion,
        ratio=table.ratio,
        label=row.label,
        method=some.method,
        versions=versions_of(runs.values()),
        kind=_kind(some),
        role=row.kind,
        complete=row.complete,
        rank=row_text.rank(row),
        mean=number(row.mean, digits),
        difference=_difference(table, row, digits),
        group=row_text.letters(table, row) if row_text.lettered(table) else "",
        cells=tuple(
            _cell(table, row, place, cell, runs, digits)
            for place, cell in enumerate(row.cells)
            if cell is not None
        ),
        realised=row_text.realised(row),
        compute=number(row.compute, 2),
        time=row_text.time(row),
        choice=row_text.choice(row),
        seeds=span(*row.seeds),
        missing=row_text.missing(row),
        clean_labels=row.clean_labels,
        ran_by=row_text.ran_by(row),
        hardware=tuple(sorted({machine(run) for run in runs.values()})),
        first=days[0] if days else "",
        last=days[-1] if days else "",
        anchor=row_anchor(table.dataset, table.ratio, row.label),
    )


def _kind(run: Run) -> str:
    said = str(run.record.info.get("kind") or "")
    return said if said in (*KINDS, "baseline", "oracle") else ""


def _difference(table: Table, row: Row, digits: int) -> str:
    """Over all cells with its interval, as the board's table has it."""
    ranking = table.tests.ranking
    found = ranking.reference.get(row.label) if ranking else None
    if found is None:
        return "" if row.difference is None else number(row.difference, digits, signed=True)
    text = interval(found.pooled.mean, found.pooled.low, found.pooled.high, digits)
    return " ".join(filter(None, (row_text.lossless(table, row), text)))


def _cell(
    table: Table,
    row: Row,
    place: int,
    cell: TableCell,
    runs: Mapping[tuple[str, int], Run],
    digits: int,
) -> CellEntry:
    noise, half = table.noises[place], cell.accuracy.half_width
    text = number(cell.accuracy.mean, digits)
    shares = [run.record.info.get("noise_rate") for (own, _), run in sorted(runs.items())
              if own == noise]  # fmt: skip
    known = [float(share) for share in shares if share is not None]
    return CellEntry(
        noise=noise,
        accuracy=text if half is None else f"{text} ±{number(half, digits)}",
        difference=""
        if cell.difference is None
        else number(cell.difference.mean, digits, signed=True) + row_text.signs(table, row, place),
        given=mean_interval(known).mean if known else None,
        kept=None if cell.kept_noise is None else cell.kept_noise.mean,
        kept_text=row_text.share(cell.kept_noise),
        auroc=number(cell.auroc, 3),
    )
