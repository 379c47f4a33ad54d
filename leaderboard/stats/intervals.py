"""Intervals of one quantity: Student's t for a mean, Wilson's for a share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.leaderboard.stats import exact
from prunebench.leaderboard.stats.exact import Vector
from prunebench.leaderboard.stats.special import normal_quantile, t_quantile

MIN_FOR_INTERVAL = 3


@dataclass(frozen=True)
class MeanInterval:
    """Mean of n values with its t interval.

    Attributes:
        n: Number of values.
        mean: Arithmetic mean; NaN when n is 0.
        sd: Standard deviation with n - 1; None when n < 2.
        half_width: Half the interval's width; None when n < 3.
    """

    n: int
    mean: float
    sd: float | None
    half_width: float | None


@dataclass(frozen=True)
class Proportion:
    """A share with its score interval."""

    share: float
    low: float
    high: float


def as_vector(values: ArrayLike) -> NDArray[np.float64]:
    """A float64 vector.

    Raises:
        ValueError: Not one-dimensional, or holds a value that is not finite.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"expected a vector, got shape {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError("values must be finite")
    return vector


def unframed(values: Any) -> Any:
    """The array of a pandas Series or DataFrame, whose iteration gives labels; else unchanged."""
    return values.to_numpy() if hasattr(values, "to_numpy") else values


def mean_interval(values: Vector, confidence: float = 0.95) -> MeanInterval:
    """Mean over seeds and the half-width of its t interval with n - 1 degrees of freedom.

    Two values give no interval: theirs would be 12.7 standard errors wide. Equal values have one
    of width 0.

    Raises:
        ValueError: ``values`` is no vector of finite numbers.
    """
    return interval_of(*exact.whole(exact.numbers(values)), confidence)


def interval_of(counts: Sequence[int], scale: int, confidence: float = 0.95) -> MeanInterval:
    """``mean_interval`` of whole multiples of 1 / scale."""
    n = len(counts)
    if n == 0:
        return MeanInterval(0, math.nan, None, None)
    mean = sum(counts) / (scale * n)
    if n < 2:
        return MeanInterval(n, mean, None, None)
    sd = math.sqrt(exact.squared(counts) / (n * (n - 1) * scale * scale))
    half = None
    if n >= MIN_FOR_INTERVAL:
        half = t_quantile((1 + confidence) / 2, n - 1) * sd / math.sqrt(n)
    return MeanInterval(n, mean, sd, half)


def wilson(k: int, n: int, confidence: float = 0.95) -> Proportion:
    """Score interval of k successes in n trials (Wilson 1927).

    Raises:
        ValueError: Not 0 <= k <= n, or n = 0.
    """
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"need 0 <= k <= n and n >= 1, got k={k}, n={n}")
    z = normal_quantile((1 + confidence) / 2)
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else centre - half
    return Proportion(share, low, 1.0 if k == n else centre + half)
