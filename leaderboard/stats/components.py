"""Variance of a paired difference from seeds and from test items together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prunebench.leaderboard.stats.special import t_quantile


@dataclass(frozen=True)
class SeedItemComponents:
    """Mean difference generalised over seeds and over test images.

    Attributes:
        mean: Mean difference.
        var_seed, var_item, var_residual: Components of one entry, at least 0.
        se: sqrt(var_seed / S + var_item / n + var_residual / (S n)).
        se_seed: Standard error over seeds alone, which holds no test-set noise.
        df: Satterthwaite's degrees of freedom of ``se``; None without spread.
        low, high: t interval; None without spread.
    """

    mean: float
    var_seed: float
    var_item: float
    var_residual: float
    se: float
    se_seed: float
    df: float | None
    low: float | None
    high: float | None


def seed_item_components(differences: ArrayLike, confidence: float = 0.95) -> SeedItemComponents:
    """Two-way analysis of variance without replication, both factors random.

    Args:
        differences: Correctness of A minus correctness of B [seeds, items], in -1, 0, 1.
        confidence: Level of the interval.

    Raises:
        ValueError: Fewer than two seeds or items, or values that are not finite.
    """
    x = np.asarray(differences, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2 or not np.isfinite(x).all():
        raise ValueError(f"expected finite [seeds, items], at least 2 x 2, got shape {x.shape}")
    s, n = x.shape
    mean = math.fsum(x.flat) / (s * n)
    by_seed = np.array([math.fsum(row) / n for row in x])
    by_item = np.array([math.fsum(column) / s for column in x.T])
    ms_seed = n * math.fsum((by_seed - mean) ** 2) / (s - 1)
    ms_item = s * math.fsum((by_item - mean) ** 2) / (n - 1)
    rest = x - by_seed[:, None] - by_item + mean
    ms_rest = math.fsum((rest**2).flat) / ((s - 1) * (n - 1))
    var_seed = max(0.0, (ms_seed - ms_rest) / n)
    var_item = max(0.0, (ms_item - ms_rest) / s)
    variance = var_seed / s + var_item / n + ms_rest / (s * n)
    se, se_seed = math.sqrt(variance), math.sqrt(ms_seed / (s * n))
    head = (mean, var_seed, var_item, ms_rest, se, se_seed)
    if variance <= 1e-24:
        return SeedItemComponents(*head, None, None, None)
    seeds, items = float(var_seed > 0), float(var_item > 0)
    parts = (  # coefficient of each mean square in s n variance, and its degrees of freedom
        (seeds * ms_seed, s - 1),
        (items * ms_item, n - 1),
        ((1 - seeds - items) * ms_rest, (s - 1) * (n - 1)),
    )
    df = (s * n * variance) ** 2 / math.fsum(value**2 / freedom for value, freedom in parts)
    half = t_quantile((1 + confidence) / 2, df) * se
    return SeedItemComponents(*head, df, mean - half, mean + half)
