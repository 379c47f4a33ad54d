"""Pruners that keep their contract."""

from __future__ import annotations

from dataclasses import replace

import torch

from prunebench.methods.base import (
    BatchPruner,
    EvidenceSpec,
    Plan,
    ScoreBasedPruner,
    StaticPruner,
    Subset,
)
from prunebench.methods.keep_k import WEIGHTED, take
from prunebench.methods.small_loss import loss_scores
from prunebench.options import Option


class GoodStatic(StaticPruner):
    """Small loss at the warm-up snapshot."""

    def needs(self, epochs, warmup):
        return EvidenceSpec(snapshots=(warmup,))

    def score(self, evidence):
        return loss_scores(evidence.snapshot(evidence.warmup).logits, evidence.labels)

    def keep(self, evidence, k, rng):
        scores = self.score(evidence)
        return Subset(take(scores, k, "low", rng)[0], scores)


class GoodWeights(GoodStatic):
    """The same with weights, 0 for every other sample."""

    options = {"weighted": WEIGHTED}
    zero_is_full = False

    def keep(self, evidence, k, rng):
        weights = torch.full((k,), 3.0)
        weights[1::2] = 0.0
        return replace(super().keep(evidence, k, rng), weights=weights)


class GoodDynamic(ScoreBasedPruner):
    """Drops a random part of the low half, and weights up the rest of it."""

    options = {"r": Option(0.4, "share of the low half dropped", 0.0, 0.9, search=(0.2, 0.8))}
    full_at = {"r": 0.0}
    randomised = True
    zero_is_full = False

    def prune(self, scores, progress, rng):
        everything = torch.arange(len(scores))
        low = scores < scores.mean()
        if self.r == 0 or not low.any():
            return Plan(everything)
        drawn = rng.uniform(len(scores)) >= self.r
        weights = torch.where(low, 1 / (1 - self.r), 1.0)
        keep = ~low | drawn
        return Plan(everything[keep], weights[keep])


class GoodRanking(ScoreBasedPruner):
    """Trains on the lower 70 % of the losses, ties by the stream."""

    zero_is_full = False

    def prune(self, scores, progress, rng):
        return Plan(take(scores, (7 * len(scores) + 5) // 10, "low", rng)[0])


class GoodBatch(BatchPruner):
    """The k highest losses of a batch, ties by the stream."""

    def select(self, batch, k, rng):
        return take(loss_scores(batch.logits, batch.labels), k, "high", rng)[0]
