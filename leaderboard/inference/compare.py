"""Two rows against each other: size, interval, both kinds of test, wins."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from prunebench.leaderboard.inference.series import Cell, Series, clusters, differences, draws_of
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import (
    ClusterT,
    PooledCells,
    SignFlip,
    cluster_t,
    minimum_detectable_effect,
    pooled_cells,
    win_tie_loss,
)
from prunebench.leaderboard.stats.exact import exact, mean, numbers, whole

#: Power at which minimum detectable effects are stated.
POWER = 0.8


@dataclass(frozen=True)
class Comparison:
    """Row a minus row b over the cells both have with two common seeds or more.

    Attributes:
        a, b: Labels.
        pooled: "On these cells, with new seeds."
        cluster: "On another noise setting of this kind."
        wins, ties, losses: Cells by the sign of the mean difference.
        equivalent: Cells whose mean difference lies within the ROPE.
        improvement: P(a > b) of paired runs, ties half, averaged over cells.
        seeds: Fewest and most common seeds in a cell.
        detectable: Difference that a t test on these runs finds with 80 % power at the level of
            the settings, uncorrected; None without spread.
        correlation: Correlation of the paired runs within cells; None without spread. Pairing
            helps where it is positive.
    """

    a: str
    b: str
    pooled: PooledCells
    cluster: ClusterT
    wins: int
    ties: int
    losses: int
    equivalent: int
    improvement: float
    seeds: tuple[int, int]
    detectable: float | None
    correlation: float | None


def compare(
    a: Series, b: Series, protocol: ProtocolFile, flips: SignFlip | None = None
) -> Comparison | None:
    """Compares two rows; None where no cell has two common seeds.

    Args:
        a, b: The rows.
        protocol: The protocol.
        flips: Their pooled sign-flip test, where it was made together with others.
    """
    found = differences(a, b)
    d = {cell: by_seed for cell, by_seed in found.items() if len(by_seed) >= 2}
    if not d:
        return None
    pooled = pooled_cells(found, clusters(found), flips=flips)
    won = win_tie_loss([mean(numbers(list(by_seed.values()))) for by_seed in d.values()],
                       protocol.rope)  # fmt: skip
    sizes = [len(by_seed) for by_seed in d.values()]
    return Comparison(
        a=a.label,
        b=b.label,
        pooled=pooled,
        cluster=cluster_t(_by_cluster(d)),
        wins=won.wins,
        ties=won.ties,
        losses=won.losses,
        equivalent=won.within,
        improvement=improvement(d.values()),
        seeds=(min(sizes), max(sizes)),
        detectable=_detectable(pooled, protocol.alpha),
        correlation=_correlation(a, b, d),
    )


def _by_cluster(d: dict[Cell, dict[int, float]]) -> dict[str, list[Fraction]]:
    """Mean over the ratios and settings of each label noise, seed by seed over the seeds it has."""
    noises: dict[str, dict[int, list[Fraction]]] = defaultdict(lambda: defaultdict(list))
    for (noise, _), by_seed in d.items():
        for seed, value in by_seed.items():
            noises[draws_of(noise)][seed].append(exact(value))
    return {
        noise: [mean(values) for _, values in sorted(seeds.items())]
        for noise, seeds in sorted(noises.items())
    }


def improvement(d: Iterable[Mapping[int, float]]) -> float:
    """Share of pairs above 0, those at 0 as half, averaged over cells of differences by seed."""
    cells = [
        Fraction(sum((v > 0) - (v < 0) for v in by_seed.values()) + len(by_seed), 2 * len(by_seed))
        for by_seed in d
    ]
    return float(mean(cells))


def _detectable(pooled: PooledCells, alpha: float) -> float | None:
    """Standard error times the effect in standard deviations that n = df + 1 pairs detect."""
    if pooled.df is None:
        return None
    n = max(2, round(pooled.df) + 1)
    return _effect(n, alpha) * pooled.se * math.sqrt(n)


@lru_cache(maxsize=4096)
def _effect(n: int, alpha: float) -> float:
    return minimum_detectable_effect(n, alpha, POWER).effect


def _correlation(a: Series, b: Series, d: dict[Cell, dict[int, float]]) -> float | None:
    """Pooled within-cell correlation of the paired accuracies."""
    products: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])  # by their denominator
    for cell, by_seed in d.items():
        n = len(by_seed)
        both, scale = whole(numbers([v.values[cell][s] for v in (a, b) for s in by_seed]))
        x, y = both[:n], both[n:]
        sums = products[n * scale * scale]
        for place, (left, right) in enumerate(((x, y), (x, x), (y, y))):
            sums[place] += _product(left, right)
    xy, xx, yy = (sum(Fraction(sums[i], size) for size, sums in products.items()) for i in range(3))
    return float(xy) / math.sqrt(xx * yy) if xx > 0 and yy > 0 else None


def _product(x: list[int], y: list[int]) -> int:
    """n times the sum of products of deviations from the means."""
    return len(x) * sum(a * b for a, b in zip(x, y, strict=True)) - sum(x) * sum(y)
