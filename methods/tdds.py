"""TDDS: how much the change of a sample's output from epoch to epoch varies in late windows."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.keep_k import real

__all__ = ["divergence", "divergence_scores", "tdds_scores"]

#: Keeps the logarithm of a probability of 0 finite, as published.
_FLOOR = 1e-8


def divergence(new: Tensor, old: Tensor) -> Tensor:
    """Sum over classes of |p_new (ln(p_new + 1e-8) - ln(p_old + 1e-8))|.

    As in TDDS: importance_evaluation.py. The absolute value is inside the sum and the weight is the
    later probability, so that this is no Kullback-Leibler divergence.

    Args:
        new: [N, C], softmax probabilities at this visit.
        old: [N, C], those at the visit before.

    Returns:
        [N], at least float32.
    """
    p, before = real(new), real(old)
    change = (p + _FLOOR).log_() - (before + _FLOOR).log_()
    return change.mul_(p).abs_().sum(1)


def check_lengths(epochs: int, window: int) -> None:
    """Raises InputError unless 3 <= J <= T."""
    if not 3 <= window <= epochs:
        raise InputError(
            f"a window of {window} visits does not fit {epochs} epochs",
            where="window",
            accepted=f"3 to {epochs}" if epochs >= 3 else "at least 3 epochs",
        )


def divergence_scores(divergences: Tensor, window: int = 10, decay: float = 0.9) -> Tensor:
    """Decayed sum over windows of the root of the summed squared deviations.

    A window of J visits holds J - 1 divergences. The last window has weight ``decay``, each one
    before it (1 - decay) times the weight of the next.

    Args:
        divergences: [T-1, N]: row t - 1 is d(t), between visits t - 1 and t of T.
        window: J, 3..T.
        decay: 0..1.

    Returns:
        float64 [N]; NaN where a divergence that counts is NaN.

    Raises:
        InputError: The window does not fit.
    """
    rows, total = divergences.shape
    check_lengths(rows + 1, window)
    width = window - 1
    scores = divergences.new_zeros(total, dtype=torch.float64)
    for age, begin in enumerate(range(rows - width, -1, -1)):
        part = divergences[begin : begin + width].double()
        spread = (part - part.mean(0)).square_().sum(0).sqrt_()
        scores += decay * (1 - decay) ** age * spread
    return scores


def tdds_scores(probabilities: Tensor, window: int = 10, decay: float = 0.9) -> Tensor:
    """``divergence_scores`` of a recorded trajectory.

    Args:
        probabilities: [T, N, C], softmax of each of the first T visits, train mode.
        window: J, 3..T.
        decay: 0..1.

    Returns:
        float64 [N]; the largest are kept.

    Raises:
        InputError: The window does not fit.
    """
    check_lengths(len(probabilities), window)
    steps = [divergence(new, old) for old, new in pairwise(probabilities)]
    return divergence_scores(torch.stack(steps), window, decay)
