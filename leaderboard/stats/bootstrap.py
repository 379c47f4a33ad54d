"""Stratified bootstrap of aggregates over many cells: seeds within cells, pairing kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_SEEDS_ALONE = 10
RESAMPLES = 10_000
_BLOCK = 2**20

Cells = Sequence[NDArray[np.float64]]
Statistic = Callable[[Cells], NDArray[np.float64]]


@dataclass(frozen=True)
class Bootstrap:
    """Interval of an aggregate for new seeds on the same cells ("seeds only").

    Attributes:
        estimate, low, high: One entry per value of the statistic.
        factor: Small-sample factor sqrt(S / (S - 1)) on the deviations, S the fewest seeds.
        resamples: Number of resamples.
    """

    estimate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    factor: float
    resamples: int


def mean_of_cells(cells: Cells) -> NDArray[np.float64]:
    """Mean over cells of the mean over seeds; cells [..., methods, seeds] -> [..., methods]."""
    return np.asarray(sum(map(_mean, cells)) / len(cells))


def iqm_of_runs(cells: Cells) -> NDArray[np.float64]:
    """Interquartile mean over all runs; cells [..., methods, seeds] -> [..., methods]."""
    runs = np.sort(np.concatenate(cells, axis=-1), axis=-1)
    cut = runs.shape[-1] // 4
    return _mean(runs[..., cut : runs.shape[-1] - cut])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean along the last axis, added up in its order whatever the processor."""
    total = np.zeros(values.shape[:-1])
    for place in range(values.shape[-1]):
        total += values[..., place]
    return np.asarray(total / values.shape[-1])


def stratified_bootstrap(
    cells: Sequence[ArrayLike],
    statistic: Statistic = mean_of_cells,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Bootstrap:
    """Percentile interval with deviations widened by the small-sample factor.

    Args:
        cells: Per cell a table [methods, seeds] (or [seeds]) of the common seeds; all methods
            draw the same seeds.
        statistic: From cells [resamples, methods, seeds] to [resamples, values].
        confidence: Level of the interval.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Raises:
        ValueError: No cells, methods that differ, a cell with one seed, values that are not
            finite, or a single cell with fewer than 10 seeds, where this interval misleads.
    """
    tables = [np.atleast_2d(np.asarray(cell, dtype=np.float64)) for cell in cells]
    if not tables or len({table.shape[0] for table in tables}) != 1:
        raise ValueError("need cells of the same methods")
    sizes = [table.shape[1] for table in tables]
    if min(sizes) < 2 or not all(np.isfinite(table).all() for table in tables):
        raise ValueError("need two seeds and finite values in every cell")
    if len(tables) == 1 and sizes[0] < MIN_SEEDS_ALONE:
        raise ValueError(f"no bootstrap of one cell below {MIN_SEEDS_ALONE} seeds: got {sizes[0]}")
    estimate = np.atleast_1d(statistic([table[None] for table in tables])[0])
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // sum(table.size for table in tables))
    drawn = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        picks = [rng.integers(0, n, (size, n)) for n in sizes]
        again = [t[:, pick].swapaxes(0, 1) for t, pick in zip(tables, picks, strict=True)]
        drawn.append(np.reshape(statistic(again), (size, -1)))
    factor = math.sqrt(min(sizes) / (min(sizes) - 1))
    values = estimate + factor * (np.concatenate(drawn) - estimate)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return Bootstrap(
        tuple(estimate.tolist()), tuple(low.tolist()), tuple(high.tolist()), factor, resamples
    )
