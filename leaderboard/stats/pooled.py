"""One difference over many cells: fixed cells, pooled over seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from numpy.typing import ArrayLike

from prunebench.leaderboard.stats.exact import Number, exact, mean, numbers, whole
from prunebench.leaderboard.stats.intervals import MIN_FOR_INTERVAL, unframed
from prunebench.leaderboard.stats.signflip import SignFlip, sign_flip
from prunebench.leaderboard.stats.special import t_quantile, t_two_sided

MIN_SEEDS = 2

ByCell: TypeAlias = (
    "Mapping[Any, Mapping[int, Number] | ArrayLike] | Sequence[ArrayLike] | ArrayLike"
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
        low, high: t interval, the mean alone without spread; None without three seeds in some
            cell and two degrees of freedom, which is what three seeds of one cell give.
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
    """Mean, standard error and degrees of freedom; ``df`` is None without spread.

    ``interval`` says whether there are seeds enough for one.
    """

    mean: float
    se: float
    df: float | None
    interval: bool


@dataclass(frozen=True)
class Flat:
    """Differences of all cells in one line, with the integer codes of cell, cluster and seed."""

    d: tuple[Fraction, ...]
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
    values: list[Fraction] = []
    cells: list[int] = []
    groups: list[int] = []
    seeds: list[int] = []
    known: dict[Hashable, int] = {}
    used = 0
    for name, cell in items:
        by_seed = cell if isinstance(cell, Mapping) else dict(enumerate(numbers(cell)))
        if clusters is not None and name not in clusters:
            raise ValueError(f"cell {name!r} has no cluster")
        if len(by_seed) < MIN_SEEDS:
            continue
        group = known.setdefault(name if clusters is None else clusters[name], len(known))
        for seed, value in sorted(by_seed.items()):
            values.append(exact(value))
            cells.append(used)
            groups.append(group)
            seeds.append(int(seed))
        used += 1
    if not used:
        raise ValueError(f"no cell with {MIN_SEEDS} common seeds among {len(items)}")
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
        point = found.mean if found.interval else None
        return PooledCells(*head, None, point, point, None, None, flips)
    t = found.mean / found.se
    p = t_two_sided(t, found.df)
    if not found.interval:
        return PooledCells(*head, found.df, None, None, t, p, flips)
    half = t_quantile((1 + confidence) / 2, found.df) * found.se
    return PooledCells(*head, found.df, found.mean - half, found.mean + half, t, p, flips)


def moments(flat: Flat) -> Moments:
    """Mean of the cell means, its standard error over seeds and Satterthwaite's df."""
    counts, scale = whole(flat.d)
    sizes: dict[int, int] = defaultdict(int)
    totals: dict[int, int] = defaultdict(int)
    for count, cell in zip(counts, flat.cell, strict=True):
        sizes[cell] += 1
        totals[cell] += count
    centre = float(mean([Fraction(totals[c], sizes[c] * scale) for c in sizes]))
    enough = max(sizes.values()) >= MIN_FOR_INTERVAL
    # Deviations from the cell's mean, added up unit by unit: whole numbers within one cell size.
    parts: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    freedoms: dict[int, int] = {}
    for count, cell, (cluster, seed) in zip(counts, flat.cell, flat.units, strict=True):
        n = sizes[cell]
        parts[cluster, seed][n] += n * count - totals[cell]
        freedoms[cluster] = min(n - 1, freedoms.get(cluster, n - 1))
    if not any(part for by_size in parts.values() for part in by_size.values()):
        return Moments(centre, 0.0, None, enough)
    squares: dict[int, list[float]] = defaultdict(list)
    for (cluster, _), by_size in parts.items():
        share = math.fsum(
            part / (n * n * scale * len(sizes)) * math.sqrt(n / (n - 1))
            for n, part in by_size.items()
        )
        squares[cluster].append(share * share)
    variances = {cluster: math.fsum(values) for cluster, values in squares.items()}
    variance = math.fsum(variances.values())
    df = variance**2 / math.fsum(v**2 / freedoms[cluster] for cluster, v in variances.items())
    enough = enough and round(df, 9) >= MIN_FOR_INTERVAL - 1
    return Moments(centre, math.sqrt(variance), df, enough)
