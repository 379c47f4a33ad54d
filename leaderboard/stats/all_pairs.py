"""All pairs of a table: paired sign-flip tests, Holm over the pairs, letters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prunebench.leaderboard.stats.exact import Vector, numbers
from prunebench.leaderboard.stats.families import Family, family
from prunebench.leaderboard.stats.letters import Letters, compact_letters
from prunebench.leaderboard.stats.signflip import SignFlip, flip_p, shares, sign_flip_of


@dataclass(frozen=True)
class Pairwise:
    """Every pair of methods on their common runs.

    Attributes:
        order: Methods, best mean first.
        means: Mean over cells of the mean over runs, by method.
        tests: Sign-flip test by pair (better, worse); its statistic is their difference.
        family: The tests under Holm, members named "better - worse".
        letters: Rank groups.
    """

    order: tuple[str, ...]
    means: Mapping[str, float]
    tests: Mapping[tuple[str, str], SignFlip]
    family: Family
    letters: Letters


def pairwise(
    values: Mapping[str, Vector],
    units: ArrayLike | None = None,
    cells: ArrayLike | None = None,
    alpha: float = 0.05,
    higher_is_better: bool = True,
    seed: int = 0,
    name: str = "all pairs",
) -> Pairwise:
    """Separates methods pair by pair; all pairs share the drawn sign patterns.

    Args:
        values: Per method its runs [n], in the same order of (cell, seed) for all.
        units: Unit of each run, (cluster, seed) as a rule; each its own if None.
        cells: Cell of each run; the statistic is the mean of cell means.
        alpha: Level of the family.
        higher_is_better: Direction of the metric.
        seed: Seed of the draws beyond 16 units.
        name: Of the family.

    Raises:
        ValueError: No methods, runs that differ in number, are none or are not finite.
    """
    runs = {method: numbers(row) for method, row in values.items()}
    sizes = {len(row) for row in runs.values()}
    if len(sizes) != 1 or not max(sizes):
        raise ValueError(f"methods need the same runs, got {sorted(sizes) or 'no methods'}")
    found = shares(list(runs.values()), units, cells)
    totals = dict(zip(runs, found.totals, strict=True))
    sign = -1 if higher_is_better else 1
    order = sorted(runs, key=lambda method: (sign * totals[method], method))
    pairs = list(itertools.combinations(order, 2))
    tests: dict[tuple[str, str], SignFlip] = {}
    if pairs:
        place = {method: i for i, method in enumerate(runs)}
        table = found.sums[[place[method] for method in order]]
        p = flip_p(table, np.random.default_rng(seed), pairs=True)
        for (a, b), value in zip(pairs, p.tolist(), strict=True):
            tests[a, b] = sign_flip_of(totals[a] - totals[b], value, table.shape[1])
    tested = family(name, {f"{a} - {b}": test for (a, b), test in tests.items()}, alpha=alpha)
    separated = [pair for pair in pairs if f"{pair[0]} - {pair[1]}" in tested.rejected]
    means = {method: float(total) for method, total in totals.items()}
    return Pairwise(tuple(order), means, tests, tested, compact_letters(order, separated))
