"""One row's accuracies by cell and seed, and paired differences of two rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from prunebench.leaderboard.stats.exact import exact, mean, numbers
from prunebench.record import AND, FROM

#: (setting, ratio); the label noise of the setting is the cluster.
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
    """a - b by cell over the seeds both have; cells without common seeds are left out.

    Exact differences, each rounded once: equal ones are equal floats.
    """
    found: dict[Cell, dict[int, float]] = {}
    for cell in sorted(a.values.keys() & b.values.keys()):
        mine, theirs = a.values[cell], b.values[cell]
        common = {s: _apart(mine[s], theirs[s]) for s in sorted(mine.keys() & theirs.keys())}
        if common:
            found[cell] = common
    return found


@lru_cache(maxsize=2**16)
def _apart(a: float, b: float) -> float:
    return float(exact(a) - exact(b))


def clusters(cells: Mapping[Cell, object]) -> dict[Cell, str]:
    """The label noise of each cell: its ratios share labels, splits and baseline; its settings with
    imbalance or corruption share splits and all draws of training."""
    return {cell: draws_of(cell[0]) for cell in cells}


def draws_of(setting: str) -> str:
    """What salts the random draws of a setting: its label noise, wherever images from outside come
    from (``RunSpec.setting``)."""
    return setting.partition(AND)[0].partition(FROM)[0]


@dataclass(frozen=True)
class Matrix:
    """Rows that have exactly the same (cell, seed) runs, as one table.

    Attributes:
        labels: R names.
        y: Accuracies [R][n] as fractions.
        cell: int64 [n], code of the cell.
        cluster: int64 [n], code of the label noise.
        unit: int64 [n], code of (label noise, seed): what flips together.
    """

    labels: tuple[str, ...]
    y: tuple[tuple[Fraction, ...], ...]
    cell: NDArray[np.int64]
    cluster: NDArray[np.int64]
    unit: NDArray[np.int64]

    @property
    def cell_means(self) -> list[list[Fraction]]:
        """[R][cells]."""
        return [group_means(row, self.cell) for row in self.y]

    @property
    def cluster_means(self) -> list[list[Fraction]]:
        """[R][clusters]: means of the cell means of each label noise."""
        owner = dict(zip(self.cell.tolist(), self.cluster.tolist(), strict=True))
        owners = [owner[cell] for cell in sorted(owner)]
        return [group_means(row, owners) for row in self.cell_means]

    @property
    def unit_means(self) -> list[list[Fraction]]:
        """[R][units]: means over the ratios and settings of each label noise and seed."""
        return [group_means(row, self.unit) for row in self.y]


def group_means(values: Sequence[Fraction], codes: Iterable[int]) -> list[Fraction]:
    """Mean of the values of each code, in the order of the codes."""
    groups: dict[int, list[Fraction]] = defaultdict(list)
    for value, code in zip(values, codes, strict=True):
        groups[int(code)].append(value)
    return [mean(groups[code]) for code in sorted(groups)]


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
        y=tuple(tuple(numbers([row.values[c][s] for c, s in slots])) for row in rows),
        cell=_codes([c for c, _ in slots]),
        cluster=_codes([draws_of(c[0]) for c, _ in slots]),
        unit=_codes([(draws_of(c[0]), s) for c, s in slots]),
    )


def _codes(labels: Sequence[object]) -> NDArray[np.int64]:
    known: dict[object, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.int64)
