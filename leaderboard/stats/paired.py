"""Paired comparisons inside one cell: differences by seed, t test, what n seeds can reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prunebench.leaderboard.stats import exact
from prunebench.leaderboard.stats.exact import Number, Vector
from prunebench.leaderboard.stats.intervals import MeanInterval, interval_of, mean_interval
from prunebench.leaderboard.stats.special import t_two_sided


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
    """Paired t test; ``t`` and ``p`` are None where all differences are equal or n < 2.

    The interval, which is given from three differences on, is then the mean alone.
    """

    n: int
    mean: float
    sd: float | None
    t: float | None
    df: int
    p: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SmallestP:
    """Smallest two-sided p-value of exact tests with n pairs, or n runs a side unpaired."""

    n: int
    sign_flip: float
    unpaired: float


def paired_difference(
    a: Mapping[int, Number], b: Mapping[int, Number], confidence: float = 0.95
) -> PairedDifference:
    """Mean of a - b over common seeds, with its t interval.

    Args:
        a: Value by seed.
        b: Value by seed.
        confidence: Level of the interval.
    """
    seeds = sorted(a.keys() & b.keys())
    counts, scale = exact.whole([exact.exact(values[s]) for values in (a, b) for s in seeds])
    d = [x - y for x, y in zip(counts[: len(seeds)], counts[len(seeds) :], strict=True)]
    interval = interval_of(d, scale, confidence)
    return PairedDifference(interval.n, interval.mean, interval.half_width)


def paired_t(d: Vector, confidence: float = 0.95) -> PairedT:
    """One-sample t test of the differences against zero, two-sided.

    Args:
        d: Differences [n].
        confidence: Level of the interval; it is given from three values on.

    Raises:
        ValueError: Not a vector of finite values, or empty.
    """
    return t_test(mean_interval(d, confidence))


def t_test(interval: MeanInterval) -> PairedT:
    """``paired_t`` of differences whose interval is known."""
    n, mean, sd, half = interval.n, interval.mean, interval.sd, interval.half_width
    if n == 0:
        raise ValueError("no differences")
    ends = (None, None) if half is None else (mean - half, mean + half)
    t, p = t_and_p(interval)
    return PairedT(n, mean, sd, t, n - 1, p, *ends)


def t_and_p(interval: MeanInterval) -> tuple[float, float] | tuple[None, None]:
    """Student's t of a mean against zero and its two-sided p; None without spread."""
    if not interval.sd:
        return None, None
    t = interval.mean / (interval.sd / math.sqrt(interval.n))
    return t, t_two_sided(t, interval.n - 1)


def smallest_p(n: int) -> SmallestP:
    """What n seeds can reach at best: 2 / 2^n paired, 2 / C(2n, n) unpaired.

    Raises:
        ValueError: n < 1.
    """
    if n < 1:
        raise ValueError(f"need n >= 1, got {n}")
    return SmallestP(n, 2.0 ** (1 - n), 2 / math.comb(2 * n, n))
