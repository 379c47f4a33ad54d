"""Sizes of a difference: standardised, by order, and robust means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.leaderboard.stats.intervals import as_vector

_TIE = 1e-9


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
    values = np.sort(as_vector(np.ravel(np.asarray(x, dtype=np.float64))))
    if values.size == 0:
        raise ValueError("no values")
    cut = values.size // 4
    kept = values[cut : values.size - cut]
    return Iqm(float(kept.mean()), values.size, kept.size)


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> CliffsDelta:
    """Order of unpaired runs.

    Raises:
        ValueError: Empty or not finite.
    """
    order = _order(_filled(a), _filled(b))
    delta = float(order.mean())
    return CliffsDelta(delta, (delta + 1) / 2)


def hedges_g(a: ArrayLike, b: ArrayLike) -> HedgesG:
    """Difference of unpaired means over their pooled standard deviation.

    Raises:
        ValueError: Fewer than three values in all, or not finite.
    """
    x, y = _filled(a), _filled(b)
    df = x.size + y.size - 2
    if df < 1:
        raise ValueError("need three values in all")
    squares = float(((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum())
    return _standardised(float(x.mean() - y.mean()), math.sqrt(squares / df), df)


def paired_g(d: ArrayLike) -> HedgesG:
    """Mean of paired differences over their standard deviation (dz), and its corrected form.

    Raises:
        ValueError: Fewer than two values, or not finite.
    """
    x = _filled(d)
    if x.size < 2:
        raise ValueError("need two differences")
    return _standardised(float(x.mean()), float(x.std(ddof=1)), x.size - 1)


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
    by_cell = [
        (float(_order(_filled(x[:, c]), _filled(y[:, c])).mean()) + 1) / 2
        for c in range(x.shape[1])
    ]
    if not by_cell:
        raise ValueError("no cells")
    return ProbImprovement(math.fsum(by_cell) / len(by_cell), tuple(by_cell))


def prob_improvement_paired(d: ArrayLike) -> ProbImprovement:
    """Share of positive differences plus half the share of ties, mean over cells.

    Args:
        d: Paired differences [runs] or [runs, cells].

    Raises:
        ValueError: Empty or not finite.
    """
    x = np.asarray(d, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    by_cell = [(float(_sign(_filled(x[:, c])).mean()) + 1) / 2 for c in range(x.shape[1])]
    return ProbImprovement(math.fsum(by_cell) / len(by_cell), tuple(by_cell))


def _filled(values: ArrayLike) -> NDArray[np.float64]:
    x = as_vector(values)
    if x.size == 0:
        raise ValueError("no values")
    return x


def _sign(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.where(np.abs(x) < _TIE, 0.0, np.sign(x)))


def _order(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return _sign(a[:, None] - b)


def _standardised(difference: float, sd: float, df: int) -> HedgesG:
    if sd <= 1e-12 * max(1.0, abs(difference)):
        return HedgesG(None, None, df)
    d = difference / sd
    return HedgesG(d, d * (1 - 3 / (4 * df - 1)), df)
