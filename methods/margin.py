"""Margin: keep the samples a briefly trained network is least sure about."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.keep_k import PRUNE4REL_PROXY, real

__all__ = ["margin_scores"]


def margin_scores(logits: Tensor) -> Tensor:
    """Largest minus second largest softmax probability.

    Args:
        logits: [N, C]. With one class the second probability is 0.

    Returns:
        [N] in 0..1, at least float32.
    """
    p = torch.softmax(real(logits), dim=1)
    if p.shape[1] == 1:
        return p[:, 0]
    top = p.topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


@register_method("margin")
class Margin(ScorePruner):
    """Keeps the k smallest margins; labels are not looked at.

    DeepCore's unbalanced branch keeps the largest margins, an error that Prune4Rel corrected; the
    smallest are kept here.
    """

    own_proxy = PRUNE4REL_PROXY
    side, hard = "low", "low"

    card = Card(
        title="Margin",
        paper="Coleman, Yeh, Mussmann, Mirzasoleiman, Bailis, Liang, Leskovec, Zaharia: "
        "Selection via Proxy: Efficient Data Selection for Deep Learning, ICLR 2020",
        repository="https://github.com/kaist-dmlab/Prune4Rel",
        bibtex_key="coleman2020selection",
        cost="the warm-up epochs of one full-data run and one forward pass",
        side="low",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Logits after the warm-up."""
        return EvidenceSpec(snapshots=(warmup,), until=warmup)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], margins."""
        return margin_scores(evidence.snapshot(evidence.warmup).logits)
