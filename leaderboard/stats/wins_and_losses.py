"""Wins, ties and losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prunebench.leaderboard.stats.exact import Vector, exact, numbers


@dataclass(frozen=True)
class Outcomes:
    """Signs of differences.

    Attributes:
        wins, ties, losses: A tie is a difference of exactly 0.
        clear_wins, within, clear_losses: Beyond the region of practical equivalence, and in it.
        rope: Half its width.
        win_rate: Share of wins, ties counted as half; None without differences.
    """

    wins: int
    ties: int
    losses: int
    clear_wins: int
    within: int
    clear_losses: int
    rope: float
    win_rate: float | None


def win_tie_loss(d: Vector, rope: float = 0.5) -> Outcomes:
    """Counts differences above, at and below zero, and beyond and within the region.

    Args:
        d: Differences [n], one per cell.
        rope: Half the region's width; its edge lies within.

    Raises:
        ValueError: Not a vector of finite values, or rope negative.
    """
    x = numbers(d)
    if not rope >= 0:
        raise ValueError(f"need rope >= 0, got {rope}")
    edge = exact(rope)
    wins, losses = sum(value > 0 for value in x), sum(value < 0 for value in x)
    above, below = sum(value > edge for value in x), sum(value < -edge for value in x)
    ties = len(x) - wins - losses
    rate = (wins + ties / 2) / len(x) if x else None
    return Outcomes(wins, ties, losses, above, len(x) - above - below, below, rope, rate)


def to_resolution(
    percent: ArrayLike, test_size: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Accuracies in percent at whole numbers of test examples, so that equal counts tie.

    Raises:
        ValueError: ``test_size`` < 1.
    """
    if test_size < 1:
        raise ValueError(f"need test_size >= 1, got {test_size}")
    correct = np.round(np.asarray(percent, dtype=np.float64) * test_size / 100)
    return np.asarray(correct * 100 / test_size)
