"""Least confidence and entropy: how unsure a network is of a sample, whatever its label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method

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


_CARD: dict[str, Any] = {
    "paper": "Coleman, Yeh, Mussmann, Mirzasoleiman, Bailis, Liang, Leskovec, Zaharia: Selection "
    "via Proxy: Efficient Data Selection for Deep Learning, ICLR 2020",
    "repository": "https://github.com/stanford-futuredata/selection-via-proxy",
    "bibtex_key": "coleman2020selection",
    "cost": "the warm-up epochs of one full-data run and one forward pass",
    "side": "high",
}


class _Unsure(ScorePruner):
    """Keeps the samples of which the network is least sure, over all classes together."""

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Logits after the warm-up."""
        return EvidenceSpec(snapshots=(warmup,), until=warmup)


@register_method("least-confidence")
class LeastConfidence(_Unsure):
    """Keeps the smallest largest probabilities."""

    card = Card(title="Least confidence", **_CARD)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], 1 minus the largest probability."""
        return least_confidence_scores(evidence.snapshot(evidence.warmup).logits)


@register_method("entropy")
class Entropy(_Unsure):
    """Keeps the most even outputs."""

    card = Card(title="Entropy", **_CARD)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], entropies."""
        return entropy_scores(evidence.snapshot(evidence.warmup).logits)
