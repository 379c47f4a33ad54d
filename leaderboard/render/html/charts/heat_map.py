"""Paired differences of every row to the reference row as a table of coloured cells."""

from __future__ import annotations

import math

from prunebench.leaderboard.board.model import Row, Table
from prunebench.leaderboard.number_text import number
from prunebench.leaderboard.render.html.charts.answers import answer
from prunebench.leaderboard.render.html.charts.design import Design, HeatMap, Picture, Shade
from prunebench.leaderboard.render.row_text import reference_words

#: Shades of each sign.
LEVELS = 6
#: Points at which the colours may end.
_ENDS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_KINDS = ("full", "control", "method", "oracle")


def heat_map(design: Design) -> Picture | None:
    """None where no row has a difference to the reference row."""
    heads = [(noise, table, table.noises.index(noise) if noise in table.noises else -1)
             for noise in design.summary.noises for table in design.tables]  # fmt: skip
    found: dict[str, list[tuple[float | None, str, int | None]]] = {}
    for label, places in design.rows.items():
        by_table = {id(table): row for table, row in places}
        cells = [_cell(design, table, by_table.get(id(table)), place) for _, table, place in heads]
        if any(value is not None for value, _, _ in cells):
            found[label] = cells
    sizes = sorted(abs(v) for cells in found.values() for v, _, _ in cells if v is not None)
    if not sizes:
        return None
    wanted = sizes[math.ceil(0.75 * len(sizes)) - 1]
    end = next((end for end in _ENDS if end >= wanted), _ENDS[-1])
    several = len(design.tables) > 1
    rows = tuple(
        (label, tuple(_shade(value, text, tip, end) for value, text, tip in found[label]))
        for label in sorted(found, key=lambda label: _place(design, label, found[label]))
    )
    reference = reference_words(design.tables[0].reference)
    return Picture(
        "differences", "Differences", f"Where do rows gain or lose against {reference}?",
        answer(design, "noise", "lead"),
        f"Mean paired difference of {design.words} to {reference} in points: blue above, orange "
        f"below, the strongest colours from {end:g} points. * better, † worse than "
        f"{design.protocol.reference} in this cell (Benjamini-Hochberg over the table, "
        "exploratory). Press a heading to sort" + "; r is the ratio" * several + ".",
        heat=HeatMap(tuple(_head(noise, table, several) for noise, table, _ in heads), rows),
        zoom=False,
    )  # fmt: skip


def _head(noise: str, table: Table, several: bool) -> tuple[str, str]:
    """Kind of the setting, and below it what else names the column."""
    kind, _, rest = noise.partition(":")
    return kind, " · ".join([*[rest] * bool(rest), *[f"r {table.ratio:g}"] * several])


def _cell(
    design: Design, table: Table, row: Row | None, place: int
) -> tuple[float | None, str, int | None]:
    cell = None if row is None or place < 0 else row.cells[place]
    if row is None or cell is None or cell.difference is None or row.label == table.reference:
        return None, "", None
    marks = table.tests.marks
    noise = table.noises[place]
    sign = marks.mark(row.label, noise) if marks and (row.label, noise) in marks.cells else ""
    return cell.difference.mean, sign, design.cell_tip(table, row, place)


def _shade(value: float | None, sign: str, tip: int | None, end: float) -> Shade:
    if value is None:
        return Shade("-", None, "none", tip)
    level = min(LEVELS, round(abs(value) / end * LEVELS))
    tone = f"{'up' if value > 0 else 'down'}{level}" if level else "level"
    return Shade(number(value, 1, signed=True) + sign, value, tone, tip)


def _place(
    design: Design, label: str, cells: list[tuple[float | None, str, int | None]]
) -> tuple[int, float, str]:
    known = [value for value, _, _ in cells if value is not None]
    kind = design.summary.series[label].kind if label in design.summary.series else "method"
    order = _KINDS.index(kind) if kind in _KINDS else 2
    return order, -math.fsum(known) / len(known), label
