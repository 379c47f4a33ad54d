"""What a design can see: detectable effects, seeds needed, the spread behind an observed sd."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from prunebench.leaderboard.stats.special import chi_squared_quantile, rounded, t_quantile

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)
#: Significant digits of what rests on the integral below, which adds up in no fixed order.
_DIGITS = 8


@dataclass(frozen=True)
class MinimumDetectableEffect:
    """Smallest true difference that a two-sided test finds with the given power.

    Attributes:
        effect: In standard deviations of the paired difference (unpaired: of one run).
        n: Runs (a side).
        alpha, power: Of the test.
    """

    effect: float
    n: int
    alpha: float
    power: float


@dataclass(frozen=True)
class SeedsNeeded:
    """Seeds per cell that find ``effect`` in one cell.

    Attributes:
        n: With the observed standard deviation taken as true; None beyond 100,000.
        n_high: With the upper end of its 95 % interval; None without ``observed`` or beyond.
        effect, sd: In the units of the metric.
        alpha, power: Of the paired t test.
    """

    n: int | None
    n_high: int | None
    effect: float
    sd: float
    alpha: float
    power: float


@dataclass(frozen=True)
class SdFactors:
    """True over observed standard deviation, 95 % interval at n values."""

    low: float
    high: float
    n: int


def power_of(noncentrality: float, df: float, alpha: float = 0.05) -> float:
    """P(|T| > critical) of a noncentral t, by integration over the distribution of the sd.

    scipy's noncentral t returns NaN for some far tails; this has none.
    """
    return rounded(_power(noncentrality, df, alpha), _DIGITS)


def _power(noncentrality: float, df: float, alpha: float) -> float:
    critical = t_quantile(1 - alpha / 2, df)
    low, high = max(0.0, 1 - 9 / math.sqrt(2 * df)), 1 + 9 / math.sqrt(df)
    s = (low + high) / 2 + (high - low) / 2 * _NODES
    log_density = (
        math.log(2)
        + (df / 2) * math.log(df / 2)
        - math.lgamma(df / 2)
        + (df - 1) * np.log(s)
        - df * s * s / 2
    )
    tails = special.ndtr(noncentrality - critical * s) + special.ndtr(-noncentrality - critical * s)
    return float(((high - low) / 2 * _WEIGHTS * np.exp(log_density) * tails).sum())


def minimum_detectable_effect(
    n: int, alpha: float = 0.05, power: float = 0.8, paired: bool = True
) -> MinimumDetectableEffect:
    """Effect that n runs find: paired t, or two groups of n with ``paired`` False.

    Raises:
        ValueError: n < 2, alpha outside (0, 1), or power not between alpha and 1.
    """
    if n < 2:
        raise ValueError(f"need n >= 2, got {n}")
    df, scale = (n - 1, math.sqrt(n)) if paired else (2 * n - 2, math.sqrt(n / 2))
    effect = rounded(_noncentrality(df, alpha, power) / scale, _DIGITS)
    return MinimumDetectableEffect(effect, n, alpha, power)


def detectable_difference(se: float, df: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The same in the units of the metric, for an estimate with standard error ``se``.

    Raises:
        ValueError: As :func:`minimum_detectable_effect`, se negative or df < 1.
    """
    if not se >= 0 or not df >= 1:
        raise ValueError(f"need se >= 0 and df >= 1, got {se} and {df}")
    return se * rounded(_noncentrality(df, alpha, power), _DIGITS)


def seeds_needed(
    effect: float, sd: float, alpha: float = 0.05, power: float = 0.8, observed: int | None = None
) -> SeedsNeeded:
    """Seeds for a paired t test to find ``effect``.

    Args:
        effect: Difference worth seeing, above 0.
        sd: Observed standard deviation of the paired difference, at least 0.
        alpha, power: Of the test.
        observed: Number of seeds behind ``sd``; adds the pessimistic answer.

    Raises:
        ValueError: A number out of range.
    """
    if not effect > 0 or not sd >= 0:
        raise ValueError(f"need effect > 0 and sd >= 0, got {effect} and {sd}")
    _check(alpha, power)
    high = None
    if observed is not None:
        high = _least(effect, sd * sd_factors(observed).high, alpha, power)
    return SeedsNeeded(_least(effect, sd, alpha, power), high, effect, sd, alpha, power)


def sd_factors(n: int, confidence: float = 0.95) -> SdFactors:
    """How far the true standard deviation may lie from the one of n values (chi-squared).

    Raises:
        ValueError: n < 2.
    """
    if n < 2:
        raise ValueError(f"need n >= 2, got {n}")
    tail = (1 - confidence) / 2
    low, high = (math.sqrt((n - 1) / chi_squared_quantile(p, n - 1)) for p in (tail, 1 - tail))
    return SdFactors(low, high, n)


def _check(alpha: float, power: float) -> None:
    if not 0 < alpha < power < 1:
        raise ValueError(f"need 0 < alpha < power < 1, got {alpha} and {power}")


def _noncentrality(df: float, alpha: float, power: float) -> float:
    _check(alpha, power)
    high = 1.0
    while _power(high, df, alpha) < power:
        high *= 2
    return _bisect(lambda x: _power(x, df, alpha) >= power, 0.0, high)


def _bisect(reached: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _least(effect: float, sd: float, alpha: float, power: float) -> int | None:
    def reached(n: int) -> bool:
        return sd == 0 or power_of(effect / sd * math.sqrt(n), n - 1, alpha) >= power

    low, high = 1, 2
    while not reached(high):
        low, high = high, 2 * high
        if high > 100_000:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
