"""The median of a few values of which some may be beyond every number, with its exact interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from prunebench.leaderboard.stats.intervals import MIN_FOR_INTERVAL


@dataclass(frozen=True)
class MedianInterval:
    """Median of n values with an interval between two of them.

    Attributes:
        n: Number of values.
        median: Infinite where half of the values or more are; NaN when n is 0.
        low, high: Two of the values, ``high`` perhaps infinite; None when n < 3.
        coverage: With what probability the interval holds the median of what the values are drawn
            from, whatever its distribution; None when n < 3. Below six values no two of them reach
            95 %: the smallest and the largest are given then.
    """

    n: int
    median: float
    low: float | None
    high: float | None
    coverage: float | None


def median_interval(values: Sequence[float], confidence: float = 0.95) -> MedianInterval:
    """Median with the shortest interval of order statistics that reaches a confidence.

    The interval from the k-th smallest to the k-th largest of n values misses the median with
    probability 2 P(B < k), B binomial with n fair coins. Values that were not reached are infinite
    and enter as such, so that nothing is assumed of them but that they are larger than the others.

    Args:
        values: Finite or infinite, in any order.
        confidence: Wanted coverage.

    Raises:
        ValueError: A value is not a number.
    """
    ordered, n = sorted(values), len(values)
    if any(map(math.isnan, ordered)):
        raise ValueError("values must be numbers")
    if not n:
        return MedianInterval(0, math.nan, None, None, None)
    low_middle, high_middle = ordered[(n - 1) // 2], ordered[n // 2]
    median = low_middle if low_middle == high_middle else (low_middle + high_middle) / 2
    if n < MIN_FOR_INTERVAL:
        return MedianInterval(n, median, None, None, None)
    place, below = 0, Fraction(1, 2**n)  # P(B <= place)
    while place + 1 < n / 2:
        more = below + Fraction(math.comb(n, place + 1), 2**n)
        if 1 - 2 * more < Fraction(confidence):
            break
        place, below = place + 1, more
    coverage = float(1 - 2 * below)
    return MedianInterval(n, median, ordered[place], ordered[n - 1 - place], coverage)
