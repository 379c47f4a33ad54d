"""Pruners that return what a plan or a subset may not be, or draw from elsewhere."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import torch

from prunebench.methods.base import (
    DynamicPruner,
    Plan,
    Subset,
)
from support.broken.good import GoodBatch, GoodDynamic, GoodStatic, GoodWeights


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


class LightSubset(GoodWeights):
    def keep(self, evidence, k, rng):
        subset = super().keep(evidence, k, rng)
        return replace(subset, weights=subset.weights - 1)


class LongSubset(GoodWeights):
    def keep(self, evidence, k, rng):
        subset = super().keep(evidence, k, rng)
        return replace(subset, weights=torch.ones(len(evidence.labels)))


class AlwaysWeighted(GoodWeights):
    options = {}


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
