"""Paired comparisons: differences by seed, t and sign-flip tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from prunebench.leaderboard.stats.intervals import (
    MIN_FOR_INTERVAL,
    as_vector,
    mean_interval,
    t_quantile,
)

MAX_EXACT_UNITS = 16
DRAWS = 99_999
_CHUNK = 4096
_TIE = 1e-12


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two methods over the seeds both have.

    Attributes:
        n: Number of common seeds.
        mean: Mean difference; NaN without common seeds.
        half_width: Half of the 95 % t interval; None when n < 3.
    """

    n: int
    mean: float
    half_width: float | None


@dataclass(frozen=True)
class PairedT:
    """Paired t test; ``t`` and ``p`` are None where all differences are equal or n < 2."""

    n: int
    mean: float
    sd: float | None
    t: float | None
    df: int
    p: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SignFlip:
    """Sign-flip test of a zero mean, two-sided.

    Attributes:
        statistic: The observed statistic.
        p: Its p-value.
        units: Number of units whose signs flip independently.
        smallest_p: The p-value this number of units could have reached at best.
        exact: Whether all sign patterns were enumerated.
    """

    statistic: float
    p: float
    units: int
    smallest_p: float
    exact: bool


@dataclass(frozen=True)
class SmallestP:
    """Smallest two-sided p-value of exact tests with n pairs, or n runs a side unpaired."""

    n: int
    sign_flip: float
    unpaired: float


def paired_difference(
    a: Mapping[int, float], b: Mapping[int, float], confidence: float = 0.95
) -> PairedDifference:
    """Mean of a - b over common seeds, with its t interval.

    Args:
        a: Value by seed.
        b: Value by seed.
        confidence: Level of the interval.
    """
    seeds = sorted(a.keys() & b.keys())
    interval = mean_interval([a[s] - b[s] for s in seeds], confidence)
    return PairedDifference(interval.n, interval.mean, interval.half_width)


def paired_t(d: ArrayLike, confidence: float = 0.95) -> PairedT:
    """One-sample t test of the differences against zero, two-sided.

    Args:
        d: Differences [n].
        confidence: Level of the interval; it is given from three values on.

    Raises:
        ValueError: Not a vector of finite values, or empty.
    """
    x = as_vector(d)
    if x.size == 0:
        raise ValueError("no differences")
    interval = mean_interval(x, confidence)
    n, mean, sd = interval.n, interval.mean, interval.sd
    constant = bool(np.ptp(x) <= _TIE * max(1.0, float(np.abs(x).max())))
    if sd is None or constant:
        return PairedT(n, mean, sd, None, n - 1, None, None, None)
    t = mean / (sd / math.sqrt(n))
    p = 2 * float(special.stdtr(n - 1, -abs(t)))
    if n < MIN_FOR_INTERVAL:
        return PairedT(n, mean, sd, t, n - 1, p, None, None)
    half = t_quantile((1 + confidence) / 2, n - 1) * sd / math.sqrt(n)
    return PairedT(n, mean, sd, t, n - 1, p, mean - half, mean + half)


def sign_flip(
    d: ArrayLike, units: ArrayLike | None = None, cells: ArrayLike | None = None, seed: int = 0
) -> SignFlip:
    """Sign-flip permutation test of a zero mean difference, two-sided.

    Exact with up to 16 units, p = count / 2^u; else 99,999 draws, p = (1 + count) / (1 + draws).

    Args:
        d: Differences [n].
        units: Unit of each difference [n]; those of one unit flip together. Each its own if None.
        cells: Cell of each difference [n]; the statistic is then the mean of the cell means.
        seed: Seed of the draws beyond 16 units.

    Raises:
        ValueError: Empty, not finite, or lengths that differ.
    """
    x = as_vector(d)
    if x.size == 0:
        raise ValueError("no differences")
    unit = np.arange(x.size) if units is None else _codes(units, x.size)
    cell = np.zeros(x.size, np.int64) if cells is None else _codes(cells, x.size)
    sizes = np.bincount(cell)
    weighted = x / (sizes[cell] * sizes.size)
    sums = np.bincount(unit, weighted).astype(
        np.float64
    )  # the statistic is the sum of signs times these
    observed = math.fsum(weighted)
    bound = abs(observed) - _TIE * max(1.0, float(np.abs(sums).sum()))
    count = sums.size
    exact = count <= MAX_EXACT_UNITS
    hits = _enumerate(sums, bound) if exact else _draw(sums, bound, np.random.default_rng(seed))
    p = hits / 2**count if exact else (1 + hits) / (1 + DRAWS)
    floor = 2.0 ** (1 - count) if exact else 1 / (1 + DRAWS)
    return SignFlip(observed, p, count, floor, exact)


def smallest_p(n: int) -> SmallestP:
    """What n seeds can reach at best: 2 / 2^n paired, 2 / C(2n, n) unpaired.

    Raises:
        ValueError: n < 1.
    """
    if n < 1:
        raise ValueError(f"need n >= 1, got {n}")
    return SmallestP(n, 2.0 ** (1 - n), 2 / math.comb(2 * n, n))


def _codes(labels: ArrayLike, size: int) -> NDArray[np.int64]:
    values = np.asarray(labels)
    if len(values) != size:
        raise ValueError(f"{len(values)} labels for {size} differences")
    axis = 0 if values.ndim > 1 else None
    return np.unique(values, axis=axis, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _enumerate(sums: NDArray[np.float64], bound: float) -> int:
    totals = np.zeros(1)
    for value in sums:
        totals = np.concatenate([totals + value, totals - value])
    return int((np.abs(totals) >= bound).sum())


def _draw(sums: NDArray[np.float64], bound: float, rng: np.random.Generator) -> int:
    hits = 0
    for start in range(0, DRAWS, _CHUNK):
        shape = (min(_CHUNK, DRAWS - start), sums.size)
        signs = rng.integers(0, 2, shape, dtype=np.int8) * 2.0 - 1.0
        hits += int((np.abs(signs @ sums) >= bound).sum())
    return hits
