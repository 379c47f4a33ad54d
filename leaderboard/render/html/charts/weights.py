"""Numbers behind the order by a reader's own weights, which the page makes in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prunebench.leaderboard.board.cost_share import cost_of
from prunebench.leaderboard.board.model import Board, Table

#: Decimals: more than any table shows.
_DIGITS = 4


@dataclass(frozen=True)
class Choice:
    """What can be ordered: one table, or all tables of a design together.

    Attributes:
        name: As the reader picks it.
        noises: Settings that have a weight.
        rows: Name, kind, mean accuracies by setting in percent, and cost in percent of full
            training with its choice of samples, None where it is not known.
    """

    name: str
    noises: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[float, ...], float | None], ...]

    @property
    def content(self) -> dict[str, Any]:
        """JSON values."""
        return {"name": self.name, "noises": self.noises, "rows": self.rows}


def choices(board: Board) -> list[Choice]:
    """Every table with two rows that have all runs, and the tables of a design with several."""
    found = []
    for summary in board.summaries:
        tables = [table for table in board.tables if table.dataset == summary.dataset]
        own = [Choice(f"{table.dataset}, ratio {table.ratio:g}", table.noises, tuple(_rows(table)))
               for table in tables]  # fmt: skip
        if len(own) > 1 and len({choice.noises for choice in own}) == 1:
            own.append(_together(summary.dataset, tables, own))
        found += [choice for choice in own if len(choice.rows) > 1]
    return found


def _together(name: str, tables: Sequence[Table], own: Sequence[Choice]) -> Choice:
    """A line for each row and ratio; full training, the same at every ratio, has one."""
    rows = []
    for table, choice in zip(tables, own, strict=True):
        for label, kind, values, cost in choice.rows:
            if kind != "full":
                rows.append((f"{label} · ratio {table.ratio:g}", kind, values, cost))
            elif table is tables[0]:
                rows.append((label, kind, values, cost))
    return Choice(f"{name}, every ratio", own[0].noises, tuple(rows))


def _rows(table: Table) -> list[tuple[str, str, tuple[float, ...], float | None]]:
    found = []
    for row in table.rows:
        values = [cell.accuracy.mean for cell in row.cells if cell is not None]
        if row.kind == "oracle" or len(values) < len(table.noises):
            continue
        cost = cost_of(table.runs.get(row.label, {}))
        share = None if cost is None or cost.other_network else round(100 * cost.total, _DIGITS)
        found.append((row.label, row.kind, tuple(round(v, _DIGITS) for v in values), share))
    return found
