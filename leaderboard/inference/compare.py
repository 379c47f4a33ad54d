"""Two rows against each other: size, interval, both kinds of test, wins."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prunebench.leaderboard.inference.series import Cell, Series, clusters, differences
from prunebench.leaderboard.settings import Settings
from prunebench.leaderboard.stats import (
    ClusterT,
    PooledCells,
    SignFlip,
    cluster_t,
    minimum_detectable_effect,
    pooled_cells,
)

_TIE = 1e-9
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
    a: Series, b: Series, settings: Settings, flips: SignFlip | None = None
) -> Comparison | None:
    """Compares two rows; None where no cell has two common seeds.

    Args:
        a, b: The rows.
        settings: The protocol.
        flips: Their pooled sign-flip test, where it was made together with others.
    """
    found = differences(a, b)
    d = {cell: by_seed for cell, by_seed in found.items() if len(by_seed) >= 2}
    if not d:
        return None
    pooled = pooled_cells(found, clusters(found), flips=flips)
    means = np.array([np.mean(list(by_seed.values())) for by_seed in d.values()])
    sizes = [len(by_seed) for by_seed in d.values()]
    return Comparison(
        a=a.label,
        b=b.label,
        pooled=pooled,
        cluster=cluster_t(_by_cluster(d)),
        wins=int((means > _TIE).sum()),
        ties=int((np.abs(means) <= _TIE).sum()),
        losses=int((means < -_TIE).sum()),
        equivalent=int((np.abs(means) <= settings.rope).sum()),
        improvement=_improvement(d),
        seeds=(min(sizes), max(sizes)),
        detectable=_detectable(pooled, settings.alpha),
        correlation=_correlation(a, b, d),
    )


def _by_cluster(d: dict[Cell, dict[int, float]]) -> dict[str, np.ndarray]:
    """Mean over the ratios of each noise setting, seed by seed over the seeds it has."""
    noises: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (noise, _), by_seed in d.items():
        for seed, value in by_seed.items():
            noises[noise][seed].append(value)
    return {
        noise: np.array([np.mean(values) for _, values in sorted(seeds.items())])
        for noise, seeds in sorted(noises.items())
    }


def _improvement(d: dict[Cell, dict[int, float]]) -> float:
    shares = []
    for by_seed in d.values():
        x = np.array(list(by_seed.values()))
        shares.append(float((x > _TIE).mean() + 0.5 * (np.abs(x) <= _TIE).mean()))
    return float(np.mean(shares))


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
    xy = xx = yy = 0.0
    for cell, by_seed in d.items():
        x = np.array([a.values[cell][s] for s in by_seed])
        y = np.array([b.values[cell][s] for s in by_seed])
        x, y = x - x.mean(), y - y.mean()
        xy, xx, yy = xy + float(x @ y), xx + float(x @ x), yy + float(y @ y)
    return xy / float(np.sqrt(xx * yy)) if xx > 0 and yy > 0 else None
