"""The end of a study: the best configurations on fresh seeds, and the pinned choice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from prunebench.bench.grids.pinned import SCHEMA
from prunebench.bench.results.store import Store
from prunebench.bench.tuning.design import FINALISTS, Design
from prunebench.bench.tuning.evaluate import METRIC, Outcome, Point, RunCells, cell_cost, evaluate
from prunebench.bench.tuning.space import decode
from prunebench.bench.tuning.trials import ended_trials
from prunebench.errors import InputError


@dataclass(frozen=True)
class Finalist:
    """A configuration on fresh seeds.

    Attributes:
        slot: Its number; 0 is the default.
        point: Its searched options.
        value: What the trial gave.
        outcome: What the fresh seeds gave.
    """

    slot: int
    point: Point
    value: float
    outcome: Outcome


def candidates(study: optuna.Study, design: Design) -> list[tuple[int, FrozenTrial]]:
    """The best complete trials (two objectives: of the front), then the default.

    Raises:
        InputError: The default gave no value, so nothing can be compared with it.
    """
    complete = {s: t for s, t in ended_trials(study).items() if t.state == TrialState.COMPLETE}
    if 0 not in complete:
        trial = ended_trials(study).get(0)
        attrs = trial.user_attrs if trial is not None else {}
        raise InputError(
            "the defaults gave no value: "
            + str(attrs.get("failed") or attrs.get("diverged") or "no trial"),
            where=f"study {study.study_name}",
            accepted="a method whose defaults train under this recipe",
        )
    front = front_slots(study) if design.pareto else list(complete)
    ranked = sorted(front, key=lambda slot: (-complete[slot].values[0], slot))[:FINALISTS]
    chosen = ranked if 0 in ranked else [*ranked, 0]
    return [(slot, complete[slot]) for slot in chosen]


def front_slots(study: optuna.Study) -> list[int]:
    """Slots of the trials that no other one beats in both objectives."""
    return sorted(trial.user_attrs["slot"] for trial in study.best_trials)


def run_finals(study: optuna.Study, design: Design, run: RunCells) -> list[Finalist]:
    """Runs the finalists and the default on fresh seeds, at full length."""
    found: list[tuple[int, Point, float]] = []
    for slot, trial in candidates(study, design):
        point = decode(trial.params, design.space)
        if point is None or trial.values is None:
            raise InputError(f"trial {trial.number} is none of this study", where=study.study_name,
                             accepted="a journal as it was written")  # fmt: skip
        found.append((slot, point, trial.values[0]))
    outcomes = evaluate(design, [point for _, point, _ in found], design.fresh, run)
    return [Finalist(*each, outcome) for each, outcome in zip(found, outcomes, strict=True)]


def choose(finalists: Iterable[Finalist]) -> Finalist:
    """The best mean on fresh seeds; a tie goes to the default, then to the earlier trial.

    Raises:
        InputError: None of them completed.
    """
    complete = [f for f in finalists if f.outcome.state == "complete"]
    if not complete:
        raise InputError("no finalist completed its fresh seeds", where="tune")
    return min(complete, key=lambda f: (-f.outcome.mean, f.slot))


def spent_budget(
    study: optuna.Study, design: Design, finalists: Iterable[Finalist], store: Store
) -> dict[str, float | int]:
    """What the study cost, in full trainings; a cell of several trials counts once.
    Failed, stopped and diverged trials are charged like all others."""
    keys: dict[str, None] = {}
    for _, trial in sorted(ended_trials(study).items()):
        keys.update(dict.fromkeys(trial.user_attrs.get("keys", [])))
    cut = len(keys)
    for finalist in finalists:
        keys.update(dict.fromkeys(finalist.outcome.keys))
    epochs = design.base.spec.recipe.epochs
    planned = 1 - design.base.spec.ratio
    costs = [cell_cost(store.get(key), planned, epochs) for key in keys]
    return {
        "trials": round(sum(costs[:cut]), 3),
        "finals": round(sum(costs[cut:]), 3),
        "total": round(sum(costs), 3),
        "cells": len(keys),
    }


def planned_budget(design: Design) -> float:
    """Full trainings that the study takes at most, scoring runs aside."""
    configurations, schedules = float(design.count), 0.0
    for share, after in zip(design.fidelities, [*design.fidelities[1:], 1.0], strict=True):
        schedules += configurations * share
        configurations *= share / after
    cells = schedules * len(design.seeds) + (FINALISTS + 1) * len(design.fresh)
    return cells * (1 - design.base.spec.ratio)


def pinned_body(
    study: optuna.Study,
    design: Design,
    finalists: list[Finalist],
    budget: dict[str, float | int],
) -> dict[str, Any]:
    """The content of the pinned file: the choice, and where it comes from. It holds no time and
    no path."""
    chosen = choose(finalists)
    spec = design.base.spec.content
    states = [trial for _, trial in sorted(ended_trials(study).items())]
    keys = {key for trial in states for key in trial.user_attrs.get("keys", [])}
    keys |= {key for finalist in finalists for key in finalist.outcome.keys}
    return {
        "schema": SCHEMA,
        "study": study.study_name,
        "method": {"name": design.info.name, "version": design.info.version},
        "dataset": spec["dataset"],
        "criterion": spec["criterion"],
        "params": {**design.fixed, **chosen.point},
        "metric": METRIC,
        "validation": spec["validation"],
        "seeds": {"trials": list(design.seeds), "final": list(design.fresh)},
        "design": design.content,
        "choice": {
            "trial": chosen.slot,
            "default": chosen.slot == 0,
            "finalists": [
                {
                    "trial": finalist.slot,
                    "params": dict(finalist.point),
                    "value": finalist.value,
                    "state": finalist.outcome.state,
                    "fresh": {str(s): v for s, v in finalist.outcome.values.items()},
                }
                for finalist in finalists
            ],
        },
        "trials": {
            "complete": sum(t.state == TrialState.COMPLETE for t in states),
            "diverged": sum("diverged" in t.user_attrs for t in states),
            "stopped": sum("stopped" in t.user_attrs for t in states),
            "failed": sum("failed" in t.user_attrs for t in states),
        },
        "budget": budget,
        "records": sorted(keys),
    }
