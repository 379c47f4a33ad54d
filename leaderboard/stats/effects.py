"""Sizes of a difference: standardised, by order, and robust means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from prunebench.leaderboard.stats.exact import Vector, mean, numbers, squares, whole


@dataclass(frozen=True)
class Iqm:
    """Interquartile mean: of n values the middle ``kept``."""

    value: float
    n: int
    kept: int


@dataclass(frozen=True)
class CliffsDelta:
    """P(a > b) - P(a < b); ``a12`` = (delta + 1) / 2 counts ties as half."""

    delta: float
    a12: float


@dataclass(frozen=True)
class HedgesG:
    """Standardised difference with the small-sample factor J = 1 - 3 / (4 df - 1).

    Attributes:
        d: Difference over the (pooled) standard deviation; None without spread.
        g: d J.
        df: Degrees of freedom of the standard deviation.
    """

    d: float | None
    g: float | None
    df: int


@dataclass(frozen=True)
class ProbImprovement:
    """Probability that a run of a beats one of b, ties half, averaged over cells."""

    value: float
    by_cell: tuple[float, ...]


def iqm(x: ArrayLike) -> Iqm:
    """Mean of the values left when a quarter of them, rounded down, goes at either end.

    Args:
        x: Values of one scale, any shape; differences to full training rather than accuracies
            of different data sets.

    Raises:
        ValueError: Empty or not finite.
    """
    values = sorted(_filled(np.ravel(np.asarray(x, dtype=np.float64))))
    cut = len(values) // 4
    kept = values[cut : len(values) - cut]
    return Iqm(float(mean(kept)), len(values), len(kept))


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> CliffsDelta:
    """Order of unpaired runs.

    Raises:
        ValueError: Empty or not finite.
    """
    delta = float(_order(_filled(a), _filled(b)))
    return CliffsDelta(delta, (delta + 1) / 2)


def hedges_g(a: ArrayLike, b: ArrayLike) -> HedgesG:
    """Difference of unpaired means over their pooled standard deviation.

    Raises:
        ValueError: Fewer than three values in all, or not finite.
    """
    x, y = _filled(a), _filled(b)
    df = len(x) + len(y) - 2
    if df < 1:
        raise ValueError("need three values in all")
    return _standardised(mean(x) - mean(y), (squares(x) + squares(y)) / df, df)


def paired_g(d: Vector) -> HedgesG:
    """Mean of paired differences over their standard deviation (dz), and its corrected form.

    Raises:
        ValueError: Fewer than two values, or not finite.
    """
    x = _filled(d)
    if len(x) < 2:
        raise ValueError("need two differences")
    return _standardised(mean(x), squares(x) / (len(x) - 1), len(x) - 1)


def prob_improvement(a: ArrayLike, b: ArrayLike) -> ProbImprovement:
    """Mann and Whitney's U over S_a S_b, mean over cells (unpaired).

    Args:
        a: Runs by cells [S_a, cells], or the runs of one cell [S_a].
        b: Likewise [S_b, cells].

    Raises:
        ValueError: Different numbers of cells, empty or not finite.
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
    x, y = (v[:, None] if v.ndim == 1 else v for v in (x, y))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"expected runs x cells of the same cells, got {x.shape} and {y.shape}")
    return _improvement([_order(_filled(x[:, c]), _filled(y[:, c])) for c in range(x.shape[1])])


def prob_improvement_paired(d: ArrayLike) -> ProbImprovement:
    """Share of positive differences plus half the share of ties, mean over cells.

    Args:
        d: Paired differences [runs] or [runs, cells].

    Raises:
        ValueError: Empty or not finite.
    """
    x = np.asarray(d, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    zero = [Fraction(0)]
    return _improvement([_order(_filled(x[:, c]), zero) for c in range(x.shape[1])])


def _filled(values: Vector) -> list[Fraction]:
    x = numbers(values)
    if not x:
        raise ValueError("no values")
    return x


def _order(a: list[Fraction], b: list[Fraction]) -> Fraction:
    """P(a > b) - P(a < b)."""
    counts, _ = whole([*a, *b])
    mine, theirs = counts[: len(a)], counts[len(a) :]
    balance = sum((x > y) - (x < y) for x in mine for y in theirs)
    return Fraction(balance, len(a) * len(b))


def _improvement(orders: list[Fraction]) -> ProbImprovement:
    if not orders:
        raise ValueError("no cells")
    by_cell = [(order + 1) / 2 for order in orders]
    return ProbImprovement(float(mean(by_cell)), tuple(map(float, by_cell)))


def _standardised(difference: Fraction, variance: Fraction, df: int) -> HedgesG:
    if variance == 0:
        return HedgesG(None, None, df)
    d = float(difference) / math.sqrt(variance)
    return HedgesG(d, d * (1 - 3 / (4 * df - 1)), df)
