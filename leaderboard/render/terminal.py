"""A board for a terminal: its findings, then tables that fit the width."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from prunebench.errors import spelled
from prunebench.leaderboard.board.labels import decimals
from prunebench.leaderboard.board.model import Board, Row, Table
from prunebench.leaderboard.findings import findings
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.number_text import interval, number
from prunebench.leaderboard.render.row_text import (
    bold,
    difference_head,
    flags,
    lettered,
    letters,
    lossless,
    rank,
    signs,
    span,
)

#: Names are broken where they take more than this share of the width.
_NAMES = 3
#: Stands for a blank at which no line is broken; in Unicode's private area.
_KEPT = "\ue000"
#: Signs that a table may hold, with what they say.
_SIGNS = {
    "‹": "best of its column, or not separated from it",
    "*": "better than the reference row in that cell, exploratory",
    "†": "worse, likewise",
    "?": "behind the best by the same amount in every seed, with too few seeds to test it",
    "‡": "with diverged runs",
    "≥": "shown to lose less than the margin against full training",
    "§": "has seen the labels of the test split",
}
#: A column: its head, its cells, and whether they are text.
Column = tuple[str, list[str], bool]


#: Columns below which lines run over the end of a terminal.
_NARROWEST = 20


def render_terminal(board: Board, width: int) -> str:
    """Findings and tables as plain text; names from records are spelled out.

    Args:
        board: The board.
        width: Columns of the terminal, taken for 20 where it is less; lines are longer only where
            a number is.
    """
    width = max(width, _NARROWEST)
    lines = ["Findings"]
    said = findings(board)
    several = len({finding.scope for finding in said}) > 1
    for scope, own in groupby(said, key=lambda finding: finding.scope):
        lines += ["", *_wrapped(f"{scope}:", width)] if several else []
        for finding in own:
            lines += _wrapped(f"- {finding.text}", width)
    body: list[str] = []
    for table in board.tables:
        body += ["", *_wrapped(_title(table), width), *_table(table, width)]
    return "\n".join([*lines, *body, "", *_wrapped(_legend(board, body), width)])


def _legend(board: Board, body: Sequence[str]) -> str:
    """What cells hold, and the signs that this board uses."""
    used = set().union(*(_signs(table, row) for table in board.tables
                         for row in (*table.rows, *table.incomplete)))  # fmt: skip
    words = words_of(board.protocol.metric)
    parts = [f"Cells: {words} in percent at the last epoch, mean over seeds",
             "rank: of the rows that prune, by that mean over the noise settings"]  # fmt: skip
    parts += ["±: half of the 95 % interval"] * any("±" in line for line in body)
    parts += [f"{sign} {said}" for sign, said in _SIGNS.items() if sign in used]
    return "; ".join(parts) + "."


def _signs(table: Table, row: Row) -> set[str]:
    places = range(len(table.noises))
    marked = "".join(signs(table, row, place) for place in places) + lossless(table, row)
    best = any(bold(table, row, place) for place in places)
    return {*marked, *["‹"] * best, *["§"] * row.leaks}


def _wrapped(line: str, width: int) -> list[str]:
    """A line broken between words, but not before a percent sign."""
    first = "- " if line.startswith("- ") else ""
    text = Text(_name(line.removeprefix(first)).replace(" %", f"{_KEPT}%"))
    broken = text.wrap(Console(file=io.StringIO()), width - len(first), tab_size=1)
    return [(" " * len(first) if place else first) + part.plain.replace(_KEPT, " ").rstrip()
            for place, part in enumerate(broken)]  # fmt: skip


def _name(text: str) -> str:
    """What a record or file says, on one line, without signs that steer a terminal."""
    return spelled(" ".join(text.split()))


def _title(table: Table) -> str:
    sizes = [size for row in (*table.rows, *table.incomplete) for size in row.seeds]
    return (f"{table.dataset}, ratio {table.ratio:g} (budget {table.shared.budget}, "
            f"n = {span(min(sizes), max(sizes))} seeds)")  # fmt: skip


def _table(table: Table, width: int) -> list[str]:
    rows = (*table.rows, *table.incomplete)
    digits = decimals(table.shared.test_size)
    names = [_name(" ".join([row.label, *(f"({flag})" if flag != "§" else flag
                                           for flag in flags(row))])) for row in rows]  # fmt: skip
    name: Column = ("method", names, True)
    more: list[Column] = [
        ("mean", [number(row.mean, digits) for row in rows], False),
        (difference_head(table), [_difference(table, row, digits) for row in rows], False),
    ]
    if lettered(table):
        more.append(("group", [letters(table, row) or "-" for row in rows], True))
    wide, narrow = (
        [(noise, [_cell(table, row, place, digits, half) for row in rows], False)
         for place, noise in enumerate(table.noises)]
        for half in (True, False)
    )  # fmt: skip
    shown: list[Column] = [("rank", [rank(row) for row in rows], False), name]
    more += wide if _fits([*shown, *more, *wide], width) else narrow
    found: list[str] = []
    while more:  # columns that do not fit follow below, with the names before them again
        taken = 1
        while taken < len(more) and _fits([*shown, *more[: taken + 1]], width):
            taken += 1
        found += [*[""] * bool(found), *_grid([*shown, *more[:taken]], width)]
        more, shown = more[taken:], [name]
    return found


def _difference(table: Table, row: Row, digits: int) -> str:
    ranking = table.tests.ranking
    found = ranking.reference.get(row.label) if ranking else None
    if found is None:
        return "-"
    text = interval(found.pooled.mean, found.pooled.low, found.pooled.high, digits)
    return " ".join([mark for mark in [lossless(table, row)] if mark] + [text])


def _cell(table: Table, row: Row, place: int, digits: int, half: bool) -> str:
    cell = row.cells[place]
    if cell is None:
        return "-"
    text = number(cell.accuracy.mean, digits)
    if half and cell.accuracy.half_width is not None:
        text += f" ±{number(cell.accuracy.half_width, digits)}"
    return text + signs(table, row, place) + "‹" * bold(table, row, place)


def _widths(columns: Iterable[Column], width: int) -> list[int]:
    found = []
    for head, cells, text in columns:
        size = max(map(cell_len, (_name(head), *cells)))
        found.append(min(size, max(12, width // _NAMES)) if text else size)
    return found


def _fits(columns: Sequence[Column], width: int) -> bool:
    return sum(_widths(columns, width)) + 2 * (len(columns) - 1) <= width


def _grid(columns: Sequence[Column], width: int) -> list[str]:
    """Columns as lines; names that are too long go on in the next line."""
    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for (head, _, text), size in zip(columns, _widths(columns, width), strict=True):
        grid.add_column(Text(_name(head)), justify="left" if text else "right", width=size,
                        overflow="fold")  # fmt: skip
    for cells in zip(*(cells for _, cells, _ in columns), strict=True):
        grid.add_row(*map(Text, cells))
    out = io.StringIO()
    needed = sum(_widths(columns, width)) + 2 * len(columns)
    Console(file=out, width=max(width, needed), color_system=None).print(grid)
    return [line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")]
