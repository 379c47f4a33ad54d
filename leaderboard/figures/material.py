"""What figures are drawn from: a board, and the artifacts of its runs where they are available."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from prunebench.leaderboard.artifacts import artifact_reader as artifact_reader
from prunebench.leaderboard.artifacts import nothing
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Board, Row, Summary, Table
from prunebench.leaderboard.findings.blocks import Block, blocks_of
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.series import Cell, Series
from prunebench.untrusted import unpack_npz

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Material:
    """Input of every figure.

    Attributes:
        board: The board.
        read: Bytes of an artifact by run and file name; None where it is not available.
        nemenyi: Whether critical-difference diagrams show Nemenyi's distance too.
    """

    board: Board
    read: Callable[[Run, str], bytes | None] = nothing
    nemenyi: bool = False

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """What findings speak of."""
        return blocks_of(self.board)

    @property
    def words(self) -> str:
        """The headline metric in running text."""
        return words_of(self.board.protocol.metric)

    @property
    def about(self) -> str:
        """What titles say of the headline metric; nothing of plain accuracy."""
        return "" if self.board.protocol.metric == "accuracy" else f", {self.words}"

    def summary(self, table: Table) -> Summary:
        """The design of a table."""
        return next(s for s in self.board.summaries if s.dataset == table.dataset)

    def groups(self) -> Iterator[tuple[Summary, tuple[Table, ...]]]:
        """Each summary with its tables, by ratio."""
        for summary in self.board.summaries:
            yield summary, tuple(t for t in self.board.tables if t.dataset == summary.dataset)

    def table(self, run: Run, name: str) -> pd.DataFrame | None:
        """A CSV artifact, or None where it is not available."""
        data = self.read(run, name)
        return None if data is None else pd.read_csv(io.BytesIO(data))

    def arrays(self, run: Run, name: str) -> Arrays | None:
        """An npz artifact, never unpickled; None where it is not available.

        Raises:
            InputError: Not an npz of plain arrays.
        """
        data = self.read(run, name)
        if data is None:
            return None
        where = f"artifact {name} of {run.record.key}"
        return unpack_npz(data, where)


def rows_of(tables: Sequence[Table]) -> dict[str, Row]:
    """Rows by label in the order of the tables, complete ones first."""
    found: dict[str, Row] = {}
    for table in tables:
        for row in (*table.rows, *table.incomplete):
            found.setdefault(row.label, row)
    return found


def method_kind(table: Table, label: str) -> str:
    """``static``, ``dynamic`` (batch-level selection with it), ``full``, ``control``,
    ``oracle`` or, where the records do not say, ``method``."""
    row = next(r for r in (*table.rows, *table.incomplete) if r.label == label)
    if row.kind != "method":
        return row.kind
    run = next(iter(table.runs.get(label, {}).values()), None)
    kind = "" if run is None else str(run.record.info.get("kind", ""))
    return {"static": "static", "dynamic": "dynamic", "batch": "dynamic"}.get(kind, "method")


def kinds_of(tables: Sequence[Table]) -> dict[str, str]:
    """Kind of every row of several tables."""
    found: dict[str, str] = {}
    for table in tables:
        for row in (*table.rows, *table.incomplete):
            found.setdefault(row.label, method_kind(table, row.label))
    return found


def filled(series: Mapping[str, Series], label: str, cell: Cell) -> list[float] | None:
    """Accuracies of a row in a cell by seed; None where another row has more seeds there."""
    mine = series[label].values.get(cell, {})
    most = max(len(other.values.get(cell, {})) for other in series.values())
    return [mine[seed] for seed in sorted(mine)] if mine and len(mine) == most else None


def lacking(series: Mapping[str, Series], cells: Sequence[Cell]) -> int:
    """(row, cell) pairs with fewer seeds than another row has in that cell."""
    return sum(
        filled(series, label, cell) is None
        for label in series
        for cell in cells
        if any(cell in other.values for other in series.values())
    )
