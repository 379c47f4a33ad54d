"""Ranks over blocks: Friedman with ties, Iman and Davenport's F, Nemenyi's distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.leaderboard.stats import exact
from prunebench.leaderboard.stats.exact import Number
from prunebench.leaderboard.stats.special import chi_squared_above, f_above, rounded

PERMUTATIONS = 9_999
_BLOCK = 2**18


@dataclass(frozen=True)
class Friedman:
    """Friedman's test with the correction for ties; rank 1 is best.

    Attributes:
        blocks, methods: Size of the table.
        mean_ranks: Mean rank of each method, ties averaged.
        statistic: Chi-squared; 0 where every block is tied throughout.
        df: methods - 1.
        p: Upper tail of the chi-squared distribution.
        kendall_w: Concordance of the blocks, statistic / (blocks (methods - 1)).
        p_permutation: Shuffling within blocks, 9,999 draws; None unless blocks < 10 or
            methods < 4, where the chi-squared tail is poor.
    """

    blocks: int
    methods: int
    mean_ranks: tuple[float, ...]
    statistic: float
    df: int
    p: float
    kendall_w: float
    p_permutation: float | None


@dataclass(frozen=True)
class ImanDavenport:
    """F form of Friedman's test; ``statistic`` is inf where all blocks agree."""

    statistic: float
    df1: int
    df2: int
    p: float


@dataclass(frozen=True)
class NemenyiCd:
    """Critical difference of mean ranks; ``q`` is the studentized range over sqrt 2."""

    cd: float
    q: float
    k: int
    n: int
    alpha: float


def average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1 along the last axis, smallest first, ties averaged."""
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(-1)
    return np.asarray(below + (equal + 1) / 2, dtype=np.float64)


def block_ranks(
    table: ArrayLike | Sequence[Sequence[Number]], higher_is_better: bool = True
) -> NDArray[np.float64]:
    """Ranks within each block [blocks, methods], rank 1 = best; equal fractions tie.

    Raises:
        ValueError: Fewer than two blocks or methods, or a value that is not finite.
    """
    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(
            f"expected [blocks, methods], at least two of each, got shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("every method needs a finite value in every block")
    rows: Any = table.tolist() if isinstance(table, np.ndarray) else table
    values = np.array([[float(value) for value in exact.numbers(row)] for row in rows])
    return average_ranks(-values if higher_is_better else values)


def friedman(
    table: ArrayLike | Sequence[Sequence[Number]], higher_is_better: bool = True, seed: int = 0
) -> Friedman:
    """Do the methods differ in rank over the blocks? (Friedman 1937; ties: Conover 1999)

    Args:
        table: One value per block and method [blocks, methods]; blocks must be independent.
        higher_is_better: Direction of the metric.
        seed: Seed of the shuffles.

    Raises:
        ValueError: As :func:`block_ranks`.
    """
    ranks = block_ranks(table, higher_is_better)
    return _chi_squared(ranks, np.random.default_rng(seed))


def _chi_squared(ranks: NDArray[np.float64], rng: np.random.Generator | None) -> Friedman:
    """Friedman's test of ranks; without a generator nothing is shuffled."""
    n, k = ranks.shape
    spread = ((ranks - (k + 1) / 2) ** 2).sum()  # N k (k^2 - 1) / 12 without ties
    statistic = 0.0
    p_permutation = 1.0
    if spread > 0:
        statistic = _between(ranks.sum(axis=0), n) * (k - 1) / float(spread)
        if rng is not None and (n < 10 or k < 4):
            p_permutation = _shuffled(ranks, rng)
    return Friedman(
        blocks=n,
        methods=k,
        mean_ranks=tuple(ranks.mean(axis=0).tolist()),
        statistic=statistic,
        df=k - 1,
        p=chi_squared_above(statistic, k - 1),
        kendall_w=statistic / (n * (k - 1)),
        p_permutation=p_permutation if rng is not None and (n < 10 or k < 4) else None,
    )


def iman_davenport(
    table: ArrayLike | Sequence[Sequence[Number]], higher_is_better: bool = True
) -> ImanDavenport:
    """F = (N - 1) chi2 / (N (k - 1) - chi2) on k - 1 and (k - 1)(N - 1) degrees of freedom.

    Raises:
        ValueError: As :func:`block_ranks`.
    """
    ranks = block_ranks(table, higher_is_better)
    return f_form(_chi_squared(ranks, None))


def f_form(found: Friedman) -> ImanDavenport:
    """Iman and Davenport's form of a Friedman test that was made already."""
    n, df = found.blocks, found.df
    room = n * df - found.statistic
    value = math.inf if room <= 1e-12 * n * df else (n - 1) * found.statistic / room
    p = 0.0 if math.isinf(value) else f_above(value, df, df * (n - 1))
    return ImanDavenport(value, df, df * (n - 1), p)


def nemenyi_cd(k: int, n: int, alpha: float = 0.05) -> NemenyiCd:
    """Mean ranks of k methods over n blocks that differ by the CD or more are separated.

    Raises:
        ValueError: k < 2, n < 1 or alpha outside (0, 1).
    """
    if k < 2 or n < 1 or not 0 < alpha < 1:
        raise ValueError(f"need k >= 2, n >= 1, 0 < alpha < 1, got k={k}, n={n}, alpha={alpha}")
    from scipy.stats import studentized_range  # takes half a second to import

    q = rounded(float(studentized_range.ppf(1 - alpha, k, np.inf)), 8) / math.sqrt(2)
    return NemenyiCd(q * math.sqrt(k * (k + 1) / (6 * n)), q, k, n, alpha)


def _between(totals: NDArray[np.float64], n: int) -> float:
    k = totals.shape[-1]
    return float(((totals - n * (k + 1) / 2) ** 2).sum())


def _shuffled(ranks: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Share of shuffles within blocks whose rank totals spread as widely."""
    n, k = ranks.shape
    bound = _between(ranks.sum(axis=0), n)  # halves and their squares: sums are exact
    step = max(1, _BLOCK // ranks.size)
    hits = 0
    for start in range(0, PERMUTATIONS, step):
        size = min(step, PERMUTATIONS - start)
        shuffled = rng.permuted(np.broadcast_to(ranks, (size, n, k)), axis=2)
        spread = ((shuffled.sum(axis=1) - n * (k + 1) / 2) ** 2).sum(axis=1)
        hits += int((spread >= bound).sum())
    return (1 + hits) / (1 + PERMUTATIONS)
