"""Printed numbers of papers beside the rows that measured the same cell here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from prunebench.leaderboard.number_text import number
from prunebench.leaderboard.published.papers import Paper
from prunebench.leaderboard.reproduce import setup_differences
from prunebench.leaderboard.site.model import PublishedBoard
from prunebench.leaderboard.site.rows import RowEntry


@dataclass(frozen=True)
class PrintedLine:
    """One printed number.

    Attributes:
        tables, dataset, model, noise, ratio: As the paper has them; ``ratio`` as text. A number
            that several tables print is one line.
        printed: The number, with its standard deviation where one is printed.
        ours: Rows of ours with the accuracy of that cell.
    """

    tables: str
    dataset: str
    model: str
    noise: str
    ratio: str
    printed: str
    ours: tuple[tuple[RowEntry, str], ...]


@dataclass(frozen=True)
class PrintedPaper:
    """What one source printed of one method.

    Attributes:
        source: Who printed it.
        lines: Those with rows of ours first.
        differences: Of set-up, by board and data set of these rows.
    """

    source: str
    lines: tuple[PrintedLine, ...]
    differences: tuple[tuple[str, str, tuple[str, ...]], ...]


def printed_by_method(
    papers: Sequence[Paper], boards: Sequence[PublishedBoard], rows: Iterable[RowEntry]
) -> dict[str, list[PrintedPaper]]:
    """What papers printed of each method: accuracies alone, ablations left out.

    A cell of ours is the same where data set, criterion, method, noise and ratio are; network,
    recipe and seeds may differ, and the differences say so.
    """
    cells: dict[tuple[str, ...], list[tuple[RowEntry, str]]] = defaultdict(list)
    for row in rows:
        for cell in row.cells:
            ratio = 0.0 if row.role == "full" else row.ratio
            slot = _slot(row.dataset, row.criterion, row.method, cell.noise, ratio)
            if all(not _same(row, other) for other, _ in cells[slot]):
                cells[slot].append((row, cell.accuracy))
    found: dict[str, list[PrintedPaper]] = defaultdict(list)
    for paper in papers:
        stated = _differences(paper, boards)
        for method, lines in _lines(paper, cells).items():
            places = {(row.board, row.dataset) for line in lines for row, _ in line.ours}
            found[method].append(PrintedPaper(
                paper.source, tuple(sorted(lines, key=lambda line: not line.ours)),
                tuple((*place, stated[place]) for place in sorted(places) if stated.get(place)),
            ))  # fmt: skip
    return found


def _same(row: RowEntry, other: RowEntry) -> bool:
    """Whether two rows are one: full training is a row of the tables of all ratios."""
    return (row.board, row.design, row.label) == (other.board, other.design, other.label)


def _slot(dataset: str, criterion: str, method: str, noise: str, ratio: float) -> tuple[str, ...]:
    return dataset, criterion, method, noise, f"{ratio:g}"


def _lines(
    paper: Paper, cells: Mapping[tuple[str, ...], list[tuple[RowEntry, str]]]
) -> dict[str, list[PrintedLine]]:
    found: dict[str, dict[PrintedLine, list[str]]] = defaultdict(dict)
    for row in paper.rows:
        if row.metric != "accuracy" or row.options or row.method.startswith("+"):
            continue
        text = number(row.value, row.decimals)
        if row.std is not None:
            text += f" (sd {number(row.std, row.decimals)})"
        ours: list[tuple[RowEntry, str]] = []
        if row.ratio is not None:
            slot = _slot(row.dataset, row.relabel or "ce", row.method, row.noise, row.ratio)
            ours = cells.get(slot, [])
        line = PrintedLine(
            tables="",
            dataset=row.dataset or "not stated",
            model=" ".join(filter(None, (row.model, row.relabel))),
            noise=row.noise or "not stated",
            ratio="not stated" if row.ratio is None else f"{row.ratio:g}",
            printed=text,
            ours=tuple(ours),
        )
        found[row.method].setdefault(line, []).append(row.table)
    return {method: [replace(line, tables=", ".join(tables)) for line, tables in lines.items()]
            for method, lines in found.items()}  # fmt: skip


def _differences(
    paper: Paper, boards: Sequence[PublishedBoard]
) -> dict[tuple[str, str], tuple[str, ...]]:
    found = {}
    for published in boards:
        runs = [run for table in published.board.tables
                for slots in table.runs.values() for run in slots.values()]  # fmt: skip
        for dataset, lines in setup_differences(runs, paper).items():
            found[published.name, dataset] = tuple(lines)
    return found
