"""One difference over many cells: fixed cells, pooled over seeds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from prunebench.leaderboard.stats.intervals import as_vector, t_quantile, unframed
from prunebench.leaderboard.stats.signflip import SignFlip, codes, sign_flip

MIN_SEEDS = 2
_NO_SPREAD = 1e-12

ByCell: TypeAlias = (
    "Mapping[Any, Mapping[int, float] | ArrayLike] | Sequence[ArrayLike] | ArrayLike"
)


@dataclass(frozen=True)
class PooledCells:
    """Mean difference "on these cells, with new seeds".

    Attributes:
        cells: Number of cells used.
        n: Number of differences used.
        dropped: Cells left out for having fewer than two differences.
        mean: Mean of the cell means.
        se: Its standard error over seeds.
        df: Satterthwaite's degrees of freedom; None without spread.
        low, high: t interval; None without spread.
        t, p: t test against zero, two-sided; None without spread.
        sign_flip: The same mean tested by flipping (cluster, seed) units.
    """

    cells: int
    n: int
    dropped: int
    mean: float
    se: float
    df: float | None
    low: float | None
    high: float | None
    t: float | None
    p: float | None
    sign_flip: SignFlip


@dataclass(frozen=True)
class Moments:
    """Mean, standard error and degrees of freedom; ``df`` is None without spread."""

    mean: float
    se: float
    df: float | None


@dataclass(frozen=True)
class Flat:
    """Differences of all cells in one line, with the integer codes of cell, cluster and seed."""

    d: tuple[float, ...]
    cell: tuple[int, ...]
    cluster: tuple[int, ...]
    seed: tuple[int, ...]
    dropped: int

    @property
    def units(self) -> list[tuple[int, int]]:
        """(cluster, seed) of each difference."""
        return list(zip(self.cluster, self.seed, strict=True))


def flatten(d_by_cell: ByCell, clusters: Mapping[Any, Hashable] | None = None) -> Flat:
    """Cells of differences in one line; cells with fewer than two are counted, not used.

    Raises:
        ValueError: No usable cell, a value that is not finite, or a cell without a cluster.
    """
    given = unframed(d_by_cell)
    items = list(given.items()) if isinstance(given, Mapping) else list(enumerate(given))
    values: list[float] = []
    cells: list[int] = []
    groups: list[int] = []
    seeds: list[int] = []
    known: dict[Hashable, int] = {}
    used = 0
    for name, cell in items:
        by_seed = cell if isinstance(cell, Mapping) else dict(enumerate(as_vector(cell)))
        if clusters is not None and name not in clusters:
            raise ValueError(f"cell {name!r} has no cluster")
        if len(by_seed) < MIN_SEEDS:
            continue
        group = known.setdefault(name if clusters is None else clusters[name], len(known))
        for seed, value in sorted(by_seed.items()):
            values.append(float(value))
            cells.append(used)
            groups.append(group)
            seeds.append(int(seed))
        used += 1
    if not used:
        raise ValueError(f"no cell with {MIN_SEEDS} common seeds among {len(items)}")
    as_vector(values)
    return Flat(tuple(values), tuple(cells), tuple(groups), tuple(seeds), len(items) - used)


def pooled_cells(
    d_by_cell: ByCell,
    clusters: Mapping[Any, Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    flips: SignFlip | None = None,
) -> PooledCells:
    """Tests one paired difference over fixed cells.

    With one cell per cluster the standard error is sqrt(sum of s2 / S) / C. Cells of one
    cluster share their seeds' noise and baseline: their variances are added seed by seed, so
    that what they share is not counted as independent.

    Args:
        d_by_cell: Differences of each cell by seed: a mapping from cell to {seed: difference}
            or to a vector, or vectors in order (a table [cells, seeds], say).
        clusters: Cluster of each cell; each cell its own if None.
        confidence: Level of the interval.
        seed: Seed of the sign-flip draws.
        flips: The sign-flip test, where it was made together with others.

    Raises:
        ValueError: As :func:`flatten`.
    """
    flat = flatten(d_by_cell, clusters)
    found = moments(flat)
    flips = flips or sign_flip(flat.d, flat.units, flat.cell, seed)
    head = (max(flat.cell) + 1, len(flat.d), flat.dropped, found.mean, found.se)
    if found.df is None:
        return PooledCells(*head, None, None, None, None, None, flips)
    t = found.mean / found.se
    half = t_quantile((1 + confidence) / 2, found.df) * found.se
    p = 2 * float(special.stdtr(found.df, -abs(t)))
    return PooledCells(*head, found.df, found.mean - half, found.mean + half, t, p, flips)


def moments(flat: Flat) -> Moments:
    """Mean of the cell means, its standard error over seeds and Satterthwaite's df."""
    d, cell = np.array(flat.d), np.array(flat.cell)
    sizes = np.bincount(cell)
    means = np.bincount(cell, d) / sizes
    variances, freedoms = _variances(flat, d, cell, sizes, means)
    variance = float(variances.sum())
    se = math.sqrt(variance)
    if se <= _NO_SPREAD * max(1.0, float(np.abs(d).max())):
        return Moments(float(means.mean()), se, None)
    return Moments(float(means.mean()), se, variance**2 / float((variances**2 / freedoms).sum()))


def _variances(
    flat: Flat,
    d: NDArray[np.float64],
    cell: NDArray[np.int64],
    sizes: NDArray[np.int64],
    means: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each cluster's part of the variance of the mean, and its degrees of freedom."""
    cluster = np.array(flat.cluster)
    own = sizes[cell]
    share = (d - means[cell]) * np.sqrt(own / (own - 1)) / (own * sizes.size)
    unit = codes(flat.units, d.size)
    owner = np.zeros(int(unit.max()) + 1, np.int64)
    owner[unit] = cluster
    variances = np.asarray(np.bincount(owner, np.bincount(unit, share) ** 2), dtype=np.float64)
    freedoms = np.full(variances.size, np.inf)
    np.minimum.at(freedoms, cluster, own - 1.0)
    return variances, freedoms
