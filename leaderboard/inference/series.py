"""One row's accuracies by cell and seed, and paired differences of two rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: (noise setting, ratio); the noise setting is the cluster.
Cell = tuple[str, float]
Values = Mapping[Cell, Mapping[int, float]]


@dataclass(frozen=True)
class Series:
    """A row of a board.

    Attributes:
        label: Its name.
        kind: ``full``, ``control``, ``method`` or ``oracle``.
        values: Accuracy in percent by cell and seed.
    """

    label: str
    kind: str
    values: Values


def differences(a: Series, b: Series) -> dict[Cell, dict[int, float]]:
    """a - b by cell over the seeds both have; cells without common seeds are left out."""
    found: dict[Cell, dict[int, float]] = {}
    for cell in sorted(a.values.keys() & b.values.keys()):
        mine, theirs = a.values[cell], b.values[cell]
        common = {s: mine[s] - theirs[s] for s in sorted(mine.keys() & theirs.keys())}
        if common:
            found[cell] = common
    return found


def clusters(cells: Mapping[Cell, object]) -> dict[Cell, str]:
    """The noise setting of each cell: ratios of one noise share labels, splits and baseline."""
    return {cell: cell[0] for cell in cells}


@dataclass(frozen=True)
class Matrix:
    """Rows that have exactly the same (cell, seed) runs, as one array.

    Attributes:
        labels: R names.
        y: float64 [R, n], accuracies.
        cell: int64 [n], code of the cell.
        cluster: int64 [n], code of the noise setting.
        unit: int64 [n], code of (noise setting, seed): what flips together.
    """

    labels: tuple[str, ...]
    y: NDArray[np.float64]
    cell: NDArray[np.int64]
    cluster: NDArray[np.int64]
    unit: NDArray[np.int64]

    @property
    def cell_means(self) -> NDArray[np.float64]:
        """float64 [R, cells]."""
        member = np.eye(int(self.cell.max()) + 1)[self.cell]
        means: NDArray[np.float64] = self.y @ (member / member.sum(axis=0))
        return means

    @property
    def cluster_means(self) -> NDArray[np.float64]:
        """float64 [R, clusters]: means of the cell means of each noise setting."""
        cells = int(self.cell.max()) + 1
        owner = np.zeros(cells, np.int64)
        owner[self.cell] = self.cluster
        member = np.eye(int(owner.max()) + 1)[owner]
        means: NDArray[np.float64] = self.cell_means @ (member / member.sum(axis=0))
        return means


def matrix(rows: Sequence[Series]) -> Matrix:
    """Stacks rows that are complete on the same runs.

    Raises:
        ValueError: Rows without runs, or with different ones.
    """
    slots = [
        (cell, seed) for cell in sorted(rows[0].values) for seed in sorted(rows[0].values[cell])
    ]
    wanted = set(slots)
    for row in rows:
        if {(c, s) for c, seeds in row.values.items() for s in seeds} != wanted or not wanted:
            raise ValueError(f"{row.label} has other runs than {rows[0].label}")
    return Matrix(
        labels=tuple(row.label for row in rows),
        y=np.array([[row.values[c][s] for c, s in slots] for row in rows], dtype=np.float64),
        cell=_codes([c for c, _ in slots]),
        cluster=_codes([c[0] for c, _ in slots]),
        unit=_codes([(c[0], s) for c, s in slots]),
    )


def _codes(labels: Sequence[object]) -> NDArray[np.int64]:
    known: dict[object, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.int64)
