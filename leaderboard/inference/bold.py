"""Bold in one column: the best row of a cell and the rows not separated from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prunebench.leaderboard.inference.marks import MIN_T
from prunebench.leaderboard.stats import holm
from prunebench.leaderboard.stats.exact import Vector, at_most, exact, mean, numbers, whole
from prunebench.leaderboard.stats.intervals import interval_of
from prunebench.leaderboard.stats.paired import t_and_p
from prunebench.leaderboard.stats.signflip import flip_p, floor_of, shares


@dataclass(frozen=True)
class BoldColumn:
    """One cell of a table over its complete rows.

    Attributes:
        best: The best row and those not separated from it at the column's Holm level; empty
            where the seeds are too few to separate any pair.
        seeds: Runs per row.
        test: ``sign-flip``, ``t`` or empty where none could separate a pair.
        size: Pairs in the column's family.
        underpowered: Rows behind the best by the same amount in every seed, where the seeds are
            too few for the exact test and a t test has no spread to go by: neither separated
            nor among the best.
    """

    best: frozenset[str]
    seeds: int
    test: str
    size: int
    underpowered: frozenset[str] = frozenset()


def bold_column(labels: Sequence[str], y: Sequence[Vector], alpha: float) -> BoldColumn:
    """Tests all pairs of rows in one cell.

    Args:
        labels: R names.
        y: Per row its accuracies [S], seeds in the same order for every row.
        alpha: Level of the column's family.
    """
    rows = [numbers(own) for own in y]
    seeds = len(rows[0])
    pairs = list(itertools.combinations(range(len(rows)), 2))
    if not pairs or seeds < MIN_T:
        return BoldColumn(frozenset(), seeds, "", len(pairs))
    same: set[tuple[int, int]] = set()
    if exact(floor_of(seeds)) * len(pairs) <= exact(alpha):
        test = "sign-flip"
        p = flip_p(shares(rows).sums, np.random.default_rng(0), pairs=True).tolist()
    else:
        test, p = "t", []
        counts, scale = whole([value for own in rows for value in own])
        own = [counts[start : start + seeds] for start in range(0, len(counts), seeds)]
        for i, j in pairs:
            d = [a - b for a, b in zip(own[i], own[j], strict=True)]
            _, by_t = t_and_p(interval_of(d, scale))
            p.append(1.0 if by_t is None else by_t)
            if by_t is None and d[0] != 0:
                same.add((i, j))
    means = [mean(own) for own in rows]
    top = means.index(max(means))
    adjusted = dict(zip(pairs, holm(p).p, strict=True))
    mine = {i: (min(i, top), max(i, top)) for i in range(len(rows)) if i != top}
    behind = {i for i, pair in mine.items() if at_most(adjusted[pair], alpha)}
    open_ = {i for i, pair in mine.items() if pair in same}
    return BoldColumn(
        frozenset(label for i, label in enumerate(labels) if i not in behind | open_),
        seeds, test, len(pairs), frozenset(labels[i] for i in open_),
    )  # fmt: skip
