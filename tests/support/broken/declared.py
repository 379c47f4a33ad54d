"""Pruners whose options or needs are not what they declare."""

from __future__ import annotations

from prunebench.errors import InputError
from prunebench.methods.base import (
    EvidenceSpec,
    LastLoss,
)
from prunebench.options import Option
from support.broken.good import GoodDynamic, GoodStatic


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


class RefusesAtSearch(GoodDynamic):
    def __init__(self, scorer=None, **params):
        super().__init__(scorer, **params)
        if self.r > 0.7:
            raise InputError("too much", where="r", accepted="up to 0.7")
