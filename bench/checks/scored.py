"""Checks of score-based pruners: samples whose score is undefined."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from prunebench.bench.checks.fakes import Population, simulate_population
from prunebench.bench.checks.guard import sealed_generators
from prunebench.bench.checks.report import Breach, NotApplicable
from prunebench.bench.checks.subject import Subject
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.plan_checks import check_indices
from prunebench.bench.train.sample_tables import SampleTables
from prunebench.methods.base import (
    Plan,
    Progress,
    ScoreBasedPruner,
    Scorer,
    Tables,
    TrainView,
)
from prunebench.rng import Streams

STAND_IN = 1.5


class Given(Scorer):
    """Scores that are handed in."""

    def __init__(self, values: Tensor, undefined: float | None) -> None:
        self.values, self.undefined = values, undefined

    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float [N]."""
        return self.values.clone()


def nan_scores(subject: Subject) -> None:
    """A sample without a score survives with weight 1, or counts as the scorer's stand-in."""
    if not issubclass(subject.info.target, ScoreBasedPruner):
        raise NotApplicable("the method does not prune by a Scorer")
    population = simulate_population()
    scores = -population.p_target[3].log()
    holes = torch.arange(0, len(scores), 3)
    scores[holes] = torch.nan
    with sealed_generators():
        plans = _plans(subject, population, Given(scores, None))
        everything = _plans(subject, population, Given(torch.full_like(scores, torch.nan), None))
        stand_in = _plans(subject, population, Given(scores, STAND_IN))
        filled = _plans(subject, population, Given(scores.nan_to_num(STAND_IN), None))
    for plan in plans:
        _survive(plan, holes)
    for plan in everything:
        _survive(plan, torch.arange(len(scores)))
    for a, b in zip(stand_in, filled, strict=True):
        if not torch.equal(a.indices.sort().values, b.indices.sort().values):
            raise Breach(
                f"with undefined = {STAND_IN}, samples without a score are not treated as if "
                f"they scored {STAND_IN}"
            )


def _plans(subject: Subject, population: Population, scorer: Scorer) -> list[Plan]:
    n = len(population)
    pruner = cast(ScoreBasedPruner, subject.dynamic())
    pruner.use(scorer)
    device = torch.device("cpu")
    pruner.begin(TrainView(n, population.num_classes, population.labels, 20, 0.5, device))
    tables = SampleTables(n, 20, window=pruner.window)
    streams, clock, plans = Streams(0, "checks", "checks"), Clock(n, 20, 0.5), []
    for epoch in range(4):
        plan = pruner.plan(clock.progress(epoch, epoch * n), tables, streams.get("pruner", epoch))
        check_indices(plan.indices, n, f"{subject.name}, epoch {epoch}")
        plans.append(plan)
    return plans


def _survive(plan: Plan, holes: Tensor) -> None:
    here = torch.isin(plan.indices, holes)
    if int(here.sum()) < len(holes):
        raise Breach(
            f"{len(holes) - int(here.sum())} of {len(holes)} samples whose score is NaN are left "
            "out; expected all of them in the plan"
        )
    if plan.weights is not None and not bool((plan.weights[here] == 1).all()):
        raise Breach("samples whose score is NaN have weights other than 1")
