"""A uniform part of every batch: the control of all methods that choose within a batch."""

from __future__ import annotations

from torch import Tensor

from prunebench.methods.base import Batch, BatchPruner, Card, register_method
from prunebench.rng import Stream


@register_method("random-batch")
class RandomBatch(BatchPruner):
    """Trains on a uniform part of each batch, without a scoring pass; weights are 1."""

    card = Card("Random Batch", side="uniform within each batch")
    randomised = True
    scoring_pass = False
    draws = ("picks",)

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """int64 [k], in random order."""
        positions = batch.positions
        return rng.child("picks").permutation(len(positions), positions.device)[:k]
