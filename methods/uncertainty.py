"""Least confidence and entropy: how unsure a network is of a sample, whatever its label."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["entropy_scores", "least_confidence_scores"]


def least_confidence_scores(logits: Tensor) -> Tensor:
    """1 minus the largest softmax probability (svp: svp/common/selection/__init__.py).

    Summed from the other probabilities, so that confident samples keep distinct scores instead of
    rounding to 0.

    Args:
        logits: [N, C].

    Returns:
        float64 [N] in 0..1 - 1/C; NaN where a logit is NaN.
    """
    p = torch.softmax(logits.double(), dim=1)
    return p.scatter(1, p.argmax(1, keepdim=True), 0.0).sum(1)


def entropy_scores(logits: Tensor) -> Tensor:
    """Entropy of the softmax in nats, with 0 ln 0 = 0 (svp has NaN there).

    Args:
        logits: [N, C].

    Returns:
        float64 [N] in 0..ln C; NaN where a logit is NaN.
    """
    p = torch.softmax(logits.double(), dim=1)
    terms: Tensor = torch.special.entr(p)
    return terms.sum(1)
