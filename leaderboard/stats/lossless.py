"""Non-inferiority: "no loss" as a claim that has to be shown."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prunebench.leaderboard.stats.exact import Vector, at_most, exact, numbers
from prunebench.leaderboard.stats.intervals import MIN_FOR_INTERVAL, unframed
from prunebench.leaderboard.stats.paired import paired_t
from prunebench.leaderboard.stats.pooled import ByCell, flatten, moments
from prunebench.leaderboard.stats.signflip import flip_p, floor_of, shares
from prunebench.leaderboard.stats.special import t_below, t_quantile


@dataclass(frozen=True)
class NonInferior:
    """Is the loss smaller than the margin?

    Attributes:
        mean: Mean difference, method minus reference.
        bound: Lower one-sided bound of the mean; None where no t interval exists.
        margin: Largest loss that still counts as none.
        df: Degrees of freedom behind the bound; None likewise.
        p: One-sided p of "the loss is the margin or more"; None below three differences.
            Without spread, and where there are too few seeds for an interval, it is the
            sign-flip p of the differences plus margin.
        smallest_p: What the p-value could have reached at best.
        holds: Whether p is below 1 - confidence; with a bound, whether it lies above -margin.
    """

    mean: float
    bound: float | None
    margin: float
    df: float | None
    p: float | None
    smallest_p: float
    holds: bool


def non_inferior(
    d: ByCell,
    margin: float = 0.5,
    confidence: float = 0.95,
    clusters: Mapping[Any, Hashable] | None = None,
) -> NonInferior:
    """Shows or does not show that a method loses less than ``margin``.

    Args:
        d: Differences of one cell [n], or of many as in
            :func:`~prunebench.leaderboard.stats.pooled.pooled_cells`.
        margin: In the units of ``d``, positive.
        confidence: Level of the one-sided bound.
        clusters: Cluster of each cell, for many cells.

    Raises:
        ValueError: Margin not positive, or differences as the pooled and paired tests refuse.
    """
    if not margin > 0:
        raise ValueError(f"the margin must be positive, got {margin}")
    given = unframed(d)
    if not isinstance(given, Mapping) and all(np.ndim(value) == 0 for value in given):
        found = paired_t(given)
        if found.t is None or found.sd is None or found.n < MIN_FOR_INTERVAL:
            return _by_signs(given, found.mean, margin, confidence)
        se, df, mean = found.sd / math.sqrt(found.n), float(found.df), found.mean
    else:
        flat = flatten(given, clusters)
        pooled = moments(flat)
        if pooled.df is None or not pooled.interval:
            return _by_signs(flat.d, pooled.mean, margin, confidence, flat.units, flat.cell)
        se, df, mean = pooled.se, pooled.df, pooled.mean
    p = t_below(-(mean + margin) / se, df)
    bound = mean - t_quantile(confidence, df) * se
    return NonInferior(mean, bound, margin, df, p, 0.0, bound > -margin)


def _by_signs(
    d: Vector,
    mean: float,
    margin: float,
    confidence: float,
    units: ArrayLike | None = None,
    cells: ArrayLike | None = None,
) -> NonInferior:
    x = [value + exact(margin) for value in numbers(d)]
    sums = shares([x], units, cells).sums
    floor = floor_of(sums.shape[1], True)
    if len(x) < MIN_FOR_INTERVAL:
        return NonInferior(mean, None, margin, None, None, floor, False)
    p = float(flip_p(sums, np.random.default_rng(0), one_sided=True)[0])
    return NonInferior(mean, None, margin, None, p, floor, at_most(p, 1 - confidence))
