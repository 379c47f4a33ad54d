"""Corrections for a declared family of tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.leaderboard.stats.intervals import as_vector


@dataclass(frozen=True)
class Adjusted:
    """Adjusted p-values in the order given; compare each with the family's level."""

    p: tuple[float, ...]
    size: int


def holm(p: ArrayLike) -> Adjusted:
    """Step-down adjustment holding the family-wise error (Holm 1979).

    Raises:
        ValueError: A value outside [0, 1].
    """
    x, order = _sorted(p)
    m = x.size
    stepped = np.maximum.accumulate(x[order] * np.arange(m, 0, -1))
    return _restored(stepped, order)


def benjamini_hochberg(p: ArrayLike) -> Adjusted:
    """Step-up adjustment holding the false discovery rate (Benjamini and Hochberg 1995).

    Raises:
        ValueError: A value outside [0, 1].
    """
    x, order = _sorted(p)
    m = x.size
    scaled = x[order] * m / np.arange(1, m + 1)
    return _restored(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _sorted(p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    x = as_vector(p)
    if ((x < 0) | (x > 1)).any():
        raise ValueError("p-values must lie in [0, 1]")
    return x, np.argsort(x, kind="stable")


def _restored(values: NDArray[np.float64], order: NDArray[np.intp]) -> Adjusted:
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(values, 1.0)
    return Adjusted(tuple(adjusted.tolist()), values.size)
