"""One difference over noise settings taken as a sample: the claim about another such setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prunebench.leaderboard.stats.exact import Vector, exact, mean, numbers
from prunebench.leaderboard.stats.exact import squares as squares_of
from prunebench.leaderboard.stats.intervals import MIN_FOR_INTERVAL, unframed
from prunebench.leaderboard.stats.paired import PairedT, paired_t
from prunebench.leaderboard.stats.signflip import SignFlip, sign_flip

MIN_CLUSTERS = 6


@dataclass(frozen=True)
class ClusterT:
    """Mean difference "on another noise setting of this kind".

    Attributes:
        clusters: Number of clusters.
        mean: Mean of the cluster means.
        sd: Standard deviation of the cluster means; None for one cluster.
        t, df, p: t test of the cluster means, two-sided; None without spread.
        low, high: Its 95 % interval; None below three clusters, and where clusters are given
            by seed and none has three.
        sign_flip: Sign-flip over clusters.
        too_few: Fewer than 6 clusters: no sign-flip p can reach .05, nothing may be claimed.
        var_seed: Variance between seeds of a cluster; None unless some cluster has two values.
        var_cluster: Variance between clusters beyond that of seeds, at least 0; None likewise.
    """

    clusters: int
    mean: float
    sd: float | None
    t: float | None
    df: int
    p: float | None
    low: float | None
    high: float | None
    sign_flip: SignFlip
    too_few: bool
    var_seed: float | None
    var_cluster: float | None


def cluster_t(
    d_by_cluster: Mapping[Any, Vector] | ArrayLike, confidence: float = 0.95, seed: int = 0
) -> ClusterT:
    """Tests one difference with clusters as the sample; equals the mixed model when balanced.

    Args:
        d_by_cluster: Per cluster one mean, a vector of differences by seed, or a table [ratios,
            seeds] whose ratios are averaged seed by seed first. A mapping, or in order.
        confidence: Level of the interval.
        seed: Seed of the sign-flip draws beyond 16 clusters.

    Raises:
        ValueError: No cluster, an empty one, or a value that is not finite.
    """
    given = unframed(d_by_cluster)
    listed = list(given.values()) if isinstance(given, Mapping) else list(given)
    values = [_by_seed(v) for v in listed]
    means = [mean(v) for v in values]
    test: PairedT = paired_t(means, confidence)
    within, between = _components(values, means)
    few = 1 < max(map(len, values)) < MIN_FOR_INTERVAL
    return ClusterT(
        clusters=len(values),
        mean=test.mean,
        sd=test.sd,
        t=test.t,
        df=test.df,
        p=test.p,
        low=None if few else test.low,
        high=None if few else test.high,
        sign_flip=sign_flip(means, seed=seed),
        too_few=len(values) < MIN_CLUSTERS,
        var_seed=within,
        var_cluster=between,
    )


def _by_seed(values: Vector) -> list[Fraction]:
    x = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if x.ndim > 2 or x.size == 0 or not np.isfinite(x).all():
        raise ValueError("a cluster needs finite differences [seeds] or [ratios, seeds]")
    if x.ndim == 2:
        return [mean(numbers(column)) for column in x.T]
    given: Any = values if isinstance(values, Sized) else [values]
    return [exact(value) for value in given]


def _components(
    values: list[list[Fraction]], means: list[Fraction]
) -> tuple[float | None, float | None]:
    """Mean square within, and (between - within) / S with S balanced for unequal counts."""
    sizes = [len(v) for v in values]
    total, groups = sum(sizes), len(values)
    if total <= groups or groups < 2:
        return None, None
    within = math.fsum(map(squares_of, values)) / (total - groups)
    parts = [(n, float(m)) for n, m in zip(sizes, means, strict=True)]
    grand = math.fsum(n * m for n, m in parts) / total
    between = math.fsum(n * (m - grand) ** 2 for n, m in parts) / (groups - 1)
    seeds = (total - sum(n * n for n in sizes) / total) / (groups - 1)
    return within, max(0.0, (between - within) / seeds)
