"""What figures are drawn from: a board, and the artifacts of its runs where they are available."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Board, Row, Summary, Table
from prunebench.leaderboard.inference.series import Cell, Series
from prunebench.untrusted import unpack_npz

Arrays = Mapping[str, NDArray[Any]]


def nothing(run: Run, name: str) -> bytes | None:
    """The reader of a source without artifacts."""
    return None


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


def artifact_reader(roots: Sequence[Path]) -> Callable[[Run, str], bytes | None]:
    """Reads ``artifacts/<key>/<name>`` below results folders and checks digests.

    Args:
        roots: Results folders; others (bundles) hold no artifacts and are passed over.
    """

    def read(run: Run, name: str) -> bytes | None:
        entry = run.record.artifacts.get(name)
        if entry is None:
            return None
        damaged: Path | None = None
        for root in roots:
            path = root / "artifacts" / run.record.key / name
            try:
                data = read_at_most(path, entry["bytes"])
            except OSError:
                continue
            if hashlib.sha256(data).hexdigest() == entry["sha256"]:
                return data
            damaged = path
        if damaged is not None:
            raise InputError("the file is not the one its record names", where=str(damaged),
                             accepted=f"sha256 {entry['sha256'][:16]}...")  # fmt: skip
        return None

    return read


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
