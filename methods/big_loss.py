"""Top-k loss: of each batch, the samples of largest loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from prunebench.methods.base import Batch, BatchPruner, Card, register_method
from prunebench.rng import Stream

__all__ = ["top_losses"]


def top_losses(losses: Tensor, k: int, rng: Stream | None = None) -> Tensor:
    """The k largest losses of a batch.

    Args:
        losses: float [B]; NaN counts as largest.
        k: Number to choose, 0..B.
        rng: Decides between equal losses; None decides by place.

    Returns:
        int64 [k], distinct places, largest first. Nothing is read back to the host.

    Raises:
        ValueError: k is not in 0..B.
    """
    if not 0 <= k <= len(losses):
        raise ValueError(f"cannot select {k} of {len(losses)}")
    if rng is None:
        return losses.argsort(descending=True, stable=True)[:k]
    order = rng.child("ties").permutation(len(losses), losses.device)
    return order[losses[order].argsort(descending=True, stable=True)[:k]]


@register_method("big-loss")
class BigLoss(BatchPruner):
    """Trains on the samples of largest cross-entropy of each batch; weights stay 1.

    Losses come from an eval-mode pass.
    """

    card = Card(
        "Top-k loss",
        "Jiang et al., Accelerating Deep Learning by Focusing on the Biggest Losers, "
        "arXiv 1910.00762, 2019",
        "https://github.com/angelajiang/SelectiveBackprop",
        "jiang2019accelerating",
        cost="one forward pass per sample and epoch",
        side="high",
    )
    draws = ("ties",)

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """int64 [k], see ``top_losses``."""
        return top_losses(F.cross_entropy(batch.logits, batch.labels, reduction="none"), k, rng)
