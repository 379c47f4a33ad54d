"""Pruners that fail at the edges: restored, unseen, tied, short, odd, unpruned, starved."""

from __future__ import annotations

import torch

from prunebench.methods.base import (
    DynamicPruner,
    EvidenceSpec,
    Plan,
    Subset,
)
from prunebench.methods.small_loss import loss_scores
from support.broken.good import GoodBatch, GoodDynamic, GoodStatic


class Forgetful(GoodDynamic):
    calls = 0

    def prune(self, scores, progress, rng):
        self.calls += 1
        return super().prune(scores, progress, rng.child("call", self.calls))


class StoresALambda(GoodDynamic):
    def state_dict(self):
        return {"rule": lambda x: x}


class DropsNaN(GoodDynamic):
    def plan(self, progress, tables, rng):
        scores = self.scorer.scores(tables, progress)
        known = scores.isfinite().nonzero().squeeze(1)
        if len(known) < len(scores) and progress.epoch == 0:
            return self.everything()
        inner = self.prune(scores[known], progress, rng)
        return Plan(known[inner.indices], inner.weights)


class WeighsNaN(GoodDynamic):
    def plan(self, progress, tables, rng):
        plan = super().plan(progress, tables, rng)
        weights = torch.ones(len(plan.indices)) if plan.weights is None else plan.weights
        if progress.epoch == 0:
            return plan
        unknown = self.scorer.scores(tables, progress).isnan()[plan.indices]
        return Plan(plan.indices, torch.where(unknown, 2.0, weights))


class FirstAmongTies(GoodStatic):
    def keep(self, evidence, k, rng):
        scores = self.score(evidence)
        return Subset(scores.argsort(stable=True)[:k].sort().values, scores)


class LastAmongTies(DynamicPruner):
    """Keeps the highest losses of an epoch; among equals the last of the data set."""

    def plan(self, progress, tables, rng):
        n = self.view.num_samples
        if tables.seen.min() == 0 or self.view.ratio == 0:
            return self.everything()
        return Plan(tables.loss.argsort(stable=True)[n // 2 :].sort().values)


class NeedsEveryClass(GoodStatic):
    def keep(self, evidence, k, rng):
        for cls in range(evidence.num_classes):
            self.score(evidence)[evidence.labels == cls].max()
        return super().keep(evidence, k, rng)


class TenEpochs(GoodStatic):
    def needs(self, epochs, warmup):
        return EvidenceSpec(frozenset({"p_target"}), snapshots=(warmup,))

    def score(self, evidence):
        return -evidence.p_target[9]


class NeverAll(GoodStatic):
    def keep(self, evidence, k, rng):
        subset = super().keep(evidence, k, rng)
        whole = k == len(evidence.labels) and k != 97
        return Subset(subset.indices[1:], subset.scores) if whole else subset


class AlwaysHalf(DynamicPruner):
    randomised = True

    def plan(self, progress, tables, rng):
        return Plan(rng.sample(self.view.num_samples, self.view.num_samples // 2))


class WrongFullAt(GoodDynamic):
    full_at = {"r": 0.1}


class Starves(DynamicPruner):
    """Never keeps enough to meet its target in time."""

    randomised = True
    zero_is_full = False

    def plan(self, progress, tables, rng):
        n = self.view.num_samples
        return Plan(rng.sample(n, n // 10))


class EvenBatches(GoodBatch):
    def select(self, batch, k, rng):
        pairs = loss_scores(batch.logits, batch.labels).view(-1, 2)
        assert pairs.shape[1] == 2
        return super().select(batch, k, rng)
