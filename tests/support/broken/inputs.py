"""Pruners that look where they may not, or change what they are given."""

from __future__ import annotations

from prunebench.methods.base import (
    EvidenceSpec,
    Scorer,
)
from support.broken.good import GoodBatch, GoodDynamic, GoodStatic


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


class ReadsTheCorrupted(GoodStatic):
    def score(self, evidence):
        scores, corrupted = super().score(evidence), getattr(evidence, "corrupted", None)
        return scores if corrupted is None else scores + corrupted


class LooksForOriginals(GoodDynamic):
    def begin(self, view):
        super().begin(view)
        self.pixels = getattr(view, "train_x", None)


class LooksAtPixels(GoodBatch):
    def select(self, batch, k, rng):
        self.pixels = getattr(batch, "pixels", None)
        return super().select(batch, k, rng)


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
