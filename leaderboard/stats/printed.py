"""Numbers copied from papers, and two checkpoints on one test set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from prunebench.leaderboard.stats.intervals import MIN_FOR_INTERVAL
from prunebench.leaderboard.stats.special import (
    binomial_below,
    chi_squared_above,
    t_quantile,
    t_two_sided,
)


@dataclass(frozen=True)
class Welch:
    """Unpaired t test with unequal variances, from printed mean and standard deviation."""

    difference: float
    t: float | None
    df: float | None
    p: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class McNemar:
    """Two checkpoints on the same examples; says nothing about the methods behind them.

    Attributes:
        discordant: Examples only one of the two has right.
        p: Exact binomial, two-sided.
        p_mid: Mid-p, less conservative.
        statistic: Chi-squared with continuity correction, 1 degree of freedom.
        p_corrected: Its p-value.
    """

    discordant: int
    p: float
    p_mid: float
    statistic: float
    p_corrected: float


def welch_from_summary(
    m1: float, s1: float, n1: int, m2: float, s2: float, n2: int, confidence: float = 0.95
) -> Welch:
    """Welch's t test of m1 - m2; t and p are None where both standard deviations are 0.

    Args:
        m1, s1, n1: Mean, standard deviation (n - 1) and number of runs of the first.
        m2, s2, n2: Likewise of the second.
        confidence: Level of the interval, which is given from three runs a side on.

    Raises:
        ValueError: Fewer than two runs a side, a negative or a non-finite number.
    """
    if min(n1, n2) < 2 or min(s1, s2) < 0 or not all(map(math.isfinite, (m1, s1, m2, s2))):
        raise ValueError(
            f"need two runs a side and finite sd >= 0, got {(m1, s1, n1)}, {(m2, s2, n2)}"
        )
    v1, v2 = s1 * s1 / n1, s2 * s2 / n2
    difference = m1 - m2
    if v1 + v2 == 0:
        return Welch(difference, None, None, None, None, None)
    se = math.sqrt(v1 + v2)
    df = (v1 + v2) ** 2 / (v1 * v1 / (n1 - 1) + v2 * v2 / (n2 - 1))
    t = difference / se
    p = t_two_sided(t, df)
    if min(n1, n2) < MIN_FOR_INTERVAL:
        return Welch(difference, t, df, p, None, None)
    half = t_quantile((1 + confidence) / 2, df) * se
    return Welch(difference, t, df, p, difference - half, difference + half)


def mcnemar(only_a: int, only_b: int) -> McNemar:
    """Exact test that the discordant examples fall either way alike (McNemar 1947).

    Args:
        only_a: Examples that only the first checkpoint has right.
        only_b: Examples that only the second has right.

    Raises:
        ValueError: A negative or fractional count.
    """
    if min(only_a, only_b) < 0 or only_a != int(only_a) or only_b != int(only_b):
        raise ValueError(f"need counts, got {only_a} and {only_b}")
    n, least = int(only_a + only_b), int(min(only_a, only_b))
    if n == 0:
        return McNemar(0, 1.0, 1.0, 0.0, 1.0)
    tail = binomial_below(least, n)
    mid = min(1.0, 2 * tail - math.comb(n, least) / 2**n)
    statistic = max(0, abs(only_a - only_b) - 1) ** 2 / n
    p_corrected = chi_squared_above(statistic, 1)
    return McNemar(n, min(1.0, 2 * tail), mid, statistic, p_corrected)
