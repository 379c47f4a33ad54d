"""Area under the margin: how far the label's probability lies above the next class's."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.keep_k import real

__all__ = ["aum_scores", "runner_up"]


def runner_up(values: Tensor, labels: Tensor) -> Tensor:
    """Largest entry of every row at a class other than the label.

    The label's entry is left out, not set to 0 as in CCS: generate_importance_score.py, which
    holds for probabilities only.

    Args:
        values: [N, C], logits or probabilities, C >= 2.
        labels: int64 [N].

    Returns:
        [N], at least float32; -inf where C = 1.
    """
    return real(values).scatter(1, labels[:, None], -torch.inf).max(1).values


def aum_scores(target: Tensor, runner_up: Tensor) -> Tensor:
    """Mean margin over epochs: target minus runner-up (aum: aum/aum.py).

    CCS sums where the aum repository takes the mean, which ranks alike; it stores probabilities in
    half precision.

    Args:
        target: [E, N], value of the (noisy) label per epoch, probabilities or logits.
        runner_up: [E, N], largest value of the other classes.

    Returns:
        [N], at least float32: low for samples whose label the network doubts. NaN where a row is.

    Raises:
        InputError: The shapes differ, or there is no row.
    """
    if target.shape != runner_up.shape or not len(target):
        raise InputError(
            f"shapes {tuple(target.shape)} and {tuple(runner_up.shape)}", where="aum",
            accepted="[E, N] twice, E >= 1",
        )  # fmt: skip
    total = torch.zeros_like(target[0], dtype=torch.float64)
    for own, other in zip(target, runner_up, strict=True):
        total += own.double() - other
    return (total / len(target)).to(real(target).dtype)
