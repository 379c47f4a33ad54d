"""Classic tests between pairs on ranks, offered beside the default sign-flip test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.leaderboard.stats import exact
from prunebench.leaderboard.stats.ranks import average_ranks, block_ranks
from prunebench.leaderboard.stats.signflip import sign_flip
from prunebench.leaderboard.stats.special import normal_two_sided, rounded, t_two_sided


@dataclass(frozen=True)
class PairMatrix:
    """p-values of all pairs [methods, methods], 1 on the diagonal; rank 1 is best."""

    p: tuple[tuple[float, ...], ...]
    mean_ranks: tuple[float, ...]


@dataclass(frozen=True)
class Wilcoxon:
    """Signed-rank test, two-sided, ranks of zero differences split between the two sums.

    Attributes:
        n: Number of differences, zeros included.
        r_plus, r_minus: Rank sums.
        p: By enumerating (drawing, beyond 16) the signs of the ranks as they are, ties and all.
        p_normal: By the normal approximation corrected for ties; None where all are zero.
        smallest_p: What n differences could have reached at best.
    """

    n: int
    r_plus: float
    r_minus: float
    p: float
    p_normal: float | None
    smallest_p: float


def nemenyi(table: ArrayLike, higher_is_better: bool = True) -> PairMatrix:
    """Studentized range of mean ranks; the verdict on a pair depends on the other methods.

    Raises:
        ValueError: As :func:`~prunebench.leaderboard.stats.ranks.block_ranks`.
    """
    from scipy.stats import studentized_range

    ranks = block_ranks(table, higher_is_better)
    n, k = ranks.shape
    means = ranks.mean(axis=0)
    gaps = np.abs(means[:, None] - means) / math.sqrt(k * (k + 1) / (6 * n)) * math.sqrt(2)
    tails = np.asarray(studentized_range.sf(gaps, k, np.inf))
    return _matrix(np.vectorize(lambda p: rounded(p, 8))(tails), means)


def conover(table: ArrayLike, higher_is_better: bool = True) -> PairMatrix:
    """t test of rank sums after Friedman's (Conover 1999), uncorrected.

    Raises:
        ValueError: As :func:`~prunebench.leaderboard.stats.ranks.block_ranks`.
    """
    ranks = block_ranks(table, higher_is_better)
    n, k = ranks.shape
    sums = ranks.sum(axis=0)
    df = (n - 1) * (k - 1)
    rest = max(0.0, float(n * (ranks**2).sum() - (sums**2).sum()))
    gaps = np.abs(sums[:, None] - sums)
    if rest == 0:  # all blocks agree: any gap at all is separated
        return _matrix(np.where(gaps > 0, 0.0, 1.0), ranks.mean(axis=0))
    t = gaps / math.sqrt(2 * rest / df)
    return _matrix(np.vectorize(lambda x: t_two_sided(x, df))(t), ranks.mean(axis=0))


def wilcoxon(d: ArrayLike, seed: int = 0) -> Wilcoxon:
    """Wilcoxon's signed-rank test with Demsar's treatment of zeros.

    Args:
        d: Differences [n].
        seed: Seed of the draws beyond 16 differences.

    Raises:
        ValueError: Not a vector of finite values, or empty.
    """
    x = np.array([float(value) for value in exact.numbers(d)])
    ranks = average_ranks(np.abs(x))
    signed = np.sign(x) * ranks
    test = sign_flip(signed, seed=seed)
    n = x.size
    zeros = float(ranks[x == 0].sum())
    plus = float(ranks[x > 0].sum()) + zeros / 2
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    spread = n * (n + 1) * (2 * n + 1) / 24 - float((ties**3 - ties).sum()) / 48
    normal = None
    if (x != 0).any() and spread > 0:
        normal = normal_two_sided((plus - n * (n + 1) / 4) / math.sqrt(spread))
    return Wilcoxon(n, plus, n * (n + 1) / 2 - plus, test.p, normal, test.smallest_p)


def _matrix(p: NDArray[np.float64], mean_ranks: NDArray[np.float64]) -> PairMatrix:
    values = np.clip(p, 0.0, 1.0)
    np.fill_diagonal(values, 1.0)
    return PairMatrix(tuple(map(tuple, values.tolist())), tuple(mean_ranks.tolist()))
