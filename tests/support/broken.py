"""Two pruners that keep their contract, and many that break it in one way each."""

from __future__ import annotations

import random

import numpy as np
import torch

from prunebench.errors import InputError
from prunebench.methods.base import (
    BatchPruner,
    DynamicPruner,
    EvidenceSpec,
    LastLoss,
    Plan,
    ScoreBasedPruner,
    Scorer,
    StaticPruner,
    Subset,
)
from prunebench.methods.selection import take
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


class SearchOutside(GoodDynamic):
    options = {"r": Option(0.4, "share", 0.0, 0.9, search=(0.2, 0.95))}


class CrashesAtBound(GoodDynamic):
    options = {"r": Option(0.4, "share", 0.0, 1.0, search=(0.2, 0.9))}

    def __init__(self, scorer=None, **params):
        super().__init__(scorer, **params)
        self.factor = 1 / (1 - self.r)


class TakesAnyOption(GoodDynamic):
    def __init__(self, scorer=None, no_such_option=0, **params):
        super().__init__(scorer, **params)


class LateSnapshot(GoodStatic):
    def needs(self, epochs, warmup):
        return EvidenceSpec(snapshots=(warmup, 10))


class UnknownSignal(GoodStatic):
    def needs(self, epochs, warmup):
        return EvidenceSpec(frozenset({"entropy"}), snapshots=(warmup,))


class UnknownTableSignal(GoodDynamic):
    def own_scorer(self):
        scorer = LastLoss()
        scorer.window = -1
        return scorer

    def begin(self, view):
        super().begin(view)
        self.signals = frozenset({"entropy"}) if view.num_samples == 8 else frozenset()
        self.window = 0


class Duplicates(GoodStatic):
    def keep(self, evidence, k, rng):
        indices = super().keep(evidence, k, rng).indices
        return Subset(torch.cat([indices[:1], indices[:-1]]))


class OutOfRange(GoodDynamic):
    def plan(self, progress, tables, rng):
        return Plan(super().plan(progress, tables, rng).indices + 1)


class WrongType(GoodBatch):
    def select(self, batch, k, rng):
        return super().select(batch, k, rng).to(torch.int32)


class OneScorePerClass(GoodStatic):
    def keep(self, evidence, k, rng):
        subset = super().keep(evidence, k, rng)
        return Subset(subset.indices, subset.scores[:4])


class OneTooFew(GoodStatic):
    def keep(self, evidence, k, rng):
        whole = k == len(evidence.labels)
        return super().keep(evidence, k if whole else max(1, k - 1), rng)


class OneTooMany(GoodBatch):
    def select(self, batch, k, rng):
        return super().select(batch, min(k + 1, len(batch.labels)), rng)


class NegativeWeights(GoodDynamic):
    def prune(self, scores, progress, rng):
        plan = super().prune(scores, progress, rng)
        return Plan(plan.indices, None if plan.weights is None else plan.weights - 1)


class ShortWeights(GoodDynamic):
    def plan(self, progress, tables, rng):
        plan = super().plan(progress, tables, rng)
        return Plan(plan.indices, torch.ones(len(plan.indices), 1))


class EntropyOfItsOwn(DynamicPruner):
    randomised = True

    def plan(self, progress, tables, rng):
        n = self.view.num_samples
        k = round((1 - self.view.ratio) * n)
        return Plan(torch.from_numpy(np.random.default_rng().permutation(n)[:k]))


class FreshGenerator(GoodStatic):
    randomised = True

    def keep(self, evidence, k, rng):
        order = np.random.default_rng().permutation(len(evidence.labels))
        return Subset(torch.from_numpy(order[:k]))


class PythonRandom(GoodStatic):
    randomised = True

    def keep(self, evidence, k, rng):
        return Subset(torch.tensor(random.sample(range(len(evidence.labels)), k)))


class NumpyRandom(GoodDynamic):
    def prune(self, scores, progress, rng):
        np.random.rand()  # noqa: NPY002
        return super().prune(scores, progress, rng)


class TorchRandom(GoodBatch):
    randomised = True

    def select(self, batch, k, rng):
        return torch.randperm(len(batch.labels))[:k]


class ReadsCleanLabels(GoodStatic):
    def score(self, evidence):
        return super().score(evidence) + (evidence.labels != evidence.clean_labels)


class LooksForTest(GoodDynamic):
    def begin(self, view):
        super().begin(view)
        self.test = getattr(view, "test", None)


class ReachesInside(GoodStatic):
    def score(self, evidence):
        getattr(evidence, "_task", None)
        return super().score(evidence)


class Undeclared(GoodStatic):
    def needs(self, epochs, warmup):
        return EvidenceSpec()


class UndeclaredSignal(GoodDynamic):
    def plan(self, progress, tables, rng):
        tables.signal("margin")
        return super().plan(progress, tables, rng)


class SortsTheTable(GoodDynamic):
    def plan(self, progress, tables, rng):
        plan = super().plan(progress, tables, rng)
        tables.loss.nan_to_num_(0.0)
        return plan


class RelabelsInPlace(GoodStatic):
    def keep(self, evidence, k, rng):
        subset = super().keep(evidence, k, rng)
        evidence.labels[0] = (evidence.labels[0] + 1) % 4
        return subset


class NormalisesTheBatch(GoodBatch):
    def select(self, batch, k, rng):
        chosen = super().select(batch, k, rng)
        batch.features.mul_(2)
        return chosen


class LooksAtNeighbours(GoodStatic):
    def score(self, evidence):
        scores = super().score(evidence)
        return scores + scores.roll(1)


class NeighbourScorer(Scorer):
    undefined = 3.0

    def scores(self, tables, progress):
        return tables.loss + tables.loss.roll(1)


class NeighbourDynamic(GoodDynamic):
    def own_scorer(self):
        return NeighbourScorer()


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


class RefusesAtSearch(GoodDynamic):
    def __init__(self, scorer=None, **params):
        super().__init__(scorer, **params)
        if self.r > 0.7:
            raise InputError("too much", where="r", accepted="up to 0.7")


BROKEN = {
    "options": [SearchOutside, CrashesAtBound, RefusesAtSearch],
    "unknown-option": [TakesAnyOption],
    "needs": [LateSnapshot, UnknownSignal, UnknownTableSignal],
    "valid-indices": [Duplicates, OutOfRange, WrongType, OneScorePerClass],
    "exact-k": [OneTooFew, OneTooMany],
    "weights": [NegativeWeights, ShortWeights],
    "deterministic": [EntropyOfItsOwn, FreshGenerator],
    "global-random-state": [PythonRandom, NumpyRandom, TorchRandom],
    "clean-labels": [ReadsCleanLabels, LooksForTest, ReachesInside],
    "declared-inputs": [Undeclared],
    "inputs-untouched": [SortsTheTable, RelabelsInPlace, NormalisesTheBatch],
    "permutation": [LooksAtNeighbours, NeighbourDynamic],
    "state-round-trip": [Forgetful, StoresALambda],
    "nan-scores": [DropsNaN, WeighsNaN],
    "ties": [FirstAmongTies, LastAmongTies],
    "empty-class": [NeedsEveryClass],
    "short-recipe": [TenEpochs],
    "zero-is-full": [NeverAll, AlwaysHalf, WrongFullAt],
    "budget": [Starves],
    "odd-sizes": [EvenBatches],
}
