"""Small loss: keep the samples a briefly trained network fits best."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.keep_k import PRUNE4REL_PROXY, real

__all__ = ["loss_scores"]


def loss_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every sample, in nats (Prune4Rel: deepcore/methods/small_loss.py).

    Args:
        logits: [N, C].
        labels: int64 [N], noisy.

    Returns:
        [N], at least float32.
    """
    return F.cross_entropy(real(logits), labels, reduction="none")


@register_method("small-loss")
class SmallLoss(ScorePruner):
    """Keeps the k smallest losses, over all classes together, at the warm-up snapshot.

    At the end of a long run mislabelled samples are memorised and their loss is as small as
    any; the snapshot epoch matters.
    """

    own_proxy = PRUNE4REL_PROXY
    side, hard = "low", "high"

    card = Card(
        title="SmallL",
        paper="Jiang, Zhou, Leung, Li, Fei-Fei: MentorNet: Learning Data-Driven Curriculum for "
        "Very Deep Neural Networks on Corrupted Labels, ICML 2018 (the criterion, without the "
        "curriculum)",
        repository="https://github.com/kaist-dmlab/Prune4Rel",
        bibtex_key="jiang2018mentornet",
        cost="the warm-up epochs of one full-data run and one forward pass",
        side="low",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Logits after the warm-up."""
        return EvidenceSpec(snapshots=(warmup,), until=warmup)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], losses."""
        return loss_scores(evidence.snapshot(evidence.warmup).logits, evidence.labels)
