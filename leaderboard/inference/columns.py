"""Bold in one column: the best row of a cell and the rows not separated from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from prunebench.leaderboard.inference.marks import MIN_SIGN_FLIP, MIN_T
from prunebench.leaderboard.stats import holm
from prunebench.leaderboard.stats.signflip import flip_p, floor_of

_CONSTANT = 1e-12


@dataclass(frozen=True)
class Column:
    """One cell of a table over its complete rows.

    Attributes:
        best: The best row and those not separated from it at the column's Holm level; empty
            where the seeds are too few to separate any pair.
        seeds: Runs per row.
        test: ``sign-flip``, ``t`` or empty where none could separate a pair.
        size: Pairs in the column's family.
    """

    best: frozenset[str]
    seeds: int
    test: str
    size: int


def column(labels: Sequence[str], y: NDArray[np.float64], alpha: float) -> Column:
    """Tests all pairs of rows in one cell.

    Args:
        labels: R names.
        y: Accuracies [R, S], seeds in the same order for every row.
        alpha: Level of the column's family.
    """
    rows, seeds = y.shape
    pairs = list(itertools.combinations(range(rows), 2))
    if not pairs or seeds < MIN_T:
        return Column(frozenset(), seeds, "", len(pairs))
    first, second = np.array(pairs).T
    d = y[first] - y[second]
    if seeds >= MIN_SIGN_FLIP and floor_of(seeds) <= alpha / len(pairs):
        test, p = "sign-flip", flip_p(y / seeds, np.random.default_rng(0), pairs=True)
    else:
        test, p = "t", _t_p(d)
    adjusted = np.array(holm(p).p)
    means = y.mean(axis=1)
    top = int(np.argmax(means))
    involved = (first == top) | (second == top)
    beaten = {
        int(i if j == top else j)
        for i, j in zip(first[involved & (adjusted <= alpha)],
                        second[involved & (adjusted <= alpha)], strict=True)
    }  # fmt: skip
    best = frozenset(label for i, label in enumerate(labels) if i not in beaten)
    return Column(best, seeds, test, len(pairs))


def _t_p(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two-sided p-values of paired t tests [pairs]; 1 where all differences are equal."""
    n = d.shape[1]
    sd = d.std(axis=1, ddof=1)
    constant = np.ptp(d, axis=1) <= _CONSTANT * np.maximum(1.0, np.abs(d).max(axis=1))
    t = d.mean(axis=1) / np.where(constant, 1.0, sd) * np.sqrt(n)
    p: NDArray[np.float64] = np.where(constant, 1.0, 2 * special.stdtr(n - 1, -np.abs(t)))
    return p
