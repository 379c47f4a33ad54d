"""The study itself: blocks of trials are asked for, run and told, until all slots are settled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.tuning.design import Design
from prunebench.bench.tuning.evaluate import Outcome, RunCells, evaluate
from prunebench.bench.tuning.trials import Left, Point, Slots, settled

Tell = Callable[[str], None]


def run_trials(
    study: optuna.Study,
    design: Design,
    run: RunCells,
    state: Callable[[str], str],
    tell: Tell = lambda line: None,
) -> None:
    """Settles every slot of a study; what is settled already stays.

    Args:
        study: The study, declared; this process is its only writer.
        design: Its declaration.
        run: Runs cells and gives their records.
        state: ``recorded`` or ``interrupted`` where a key has a record, or the claim of a process
            that died over it; anything else otherwise.
        tell: Hears one line per trial.

    Raises:
        InputError: The method refuses its defaults under this recipe.
    """

    def look(point: Point) -> Left:
        keys = [design.cell(point, seed, share).spec.key
                for share in design.fidelities for seed in design.seeds]  # fmt: skip
        states = [state(key) for key in keys]
        begun = [key for key, found in zip(keys, states, strict=True) if found]
        return Left(states.count("recorded"), "interrupted" in states, begun)

    slots = Slots(study, design, look)
    slots.reap()
    for first in range(0, design.count, design.block):
        block = range(first, min(first + design.block, design.count))
        done = settled(study)
        open_slots = [slot for slot in block if slot not in done]
        if not open_slots:
            continue
        asked: dict[int, tuple[Trial, Point]] = {}
        for slot in open_slots:
            found = slots.ask(slot, lambda point: _fits(design, point))
            if found is not None:
                asked[slot] = found
        points = {slot: point for slot, (_, point) in asked.items()}
        if len(design.fidelities) == 1:
            outcomes = evaluate(design, list(points.values()), design.seeds, run)
            ended = [
                Ended(trial, outcome, outcome.keys)
                for (trial, _), outcome in zip(asked.values(), outcomes, strict=True)
            ]
        else:
            # Trials that were told before their driver was killed are compared again.
            stood = {slot: slots.asked[slot] for slot in block if slot in done and _ran(done[slot])}
            begun = {slot: trial for slot, (trial, _) in asked.items()}
            ended = _halving(design, run, {**stood, **points}, begun)
        _settle(ended, design)
        for slot in asked:
            tell(_line(study, slot, design))
        if len(asked) < len(open_slots):
            tell(f"the space gave no further point after {len(settled(study))} trials")
            return


def _fits(design: Design, point: Point) -> None:
    for share in design.fidelities:
        plan_jobs([design.cell(point, design.seeds[0], share)])


def _ran(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("keys"))


def _halving(
    design: Design, run: RunCells, points: dict[int, Point], trials: dict[int, Trial]
) -> list[Ended]:
    """Successive halving over complete schedules: of n configurations the best n * (this share /
    the next share) go on. The default always does, for it is what all are compared with."""
    alive = sorted(points)
    keys: dict[int, list[str]] = {slot: [] for slot in points}
    last: dict[int, Outcome] = {}
    for rung, share in enumerate(design.fidelities):
        outcomes = evaluate(design, [points[slot] for slot in alive], design.seeds, run, share)
        for slot, outcome in zip(alive, outcomes, strict=True):
            last[slot] = outcome
            keys[slot] += outcome.keys
            if outcome.state == "complete" and slot in trials:
                trials[slot].report(outcome.mean, rung)
        alive = [slot for slot in alive if last[slot].state == "complete"]
        if share < 1:
            room = max(1, math.floor(len(alive) * share / design.fidelities[rung + 1] + 1e-9))
            best = sorted(alive, key=lambda slot: (-last[slot].mean, slot))[:room]
            alive = [slot for slot in alive if slot in best or slot == 0]
    return [
        Ended(trial, last[s], keys[s], stopped=last[s].state == "complete" and s not in alive)
        for s, trial in trials.items()
    ]


@dataclass(frozen=True)
class Ended:
    """A trial whose cells have been run, and whether others were given the longer schedule."""

    trial: Trial
    outcome: Outcome
    keys: list[str]
    stopped: bool = False


def _settle(ended: list[Ended], design: Design) -> None:
    for each in ended:
        values = {str(seed): value for seed, value in each.outcome.values.items()}
        each.trial.set_user_attr("values", values)
        each.trial.set_user_attr("keys", each.keys)
        trial, outcome = each.trial, each.outcome
        study = trial.study
        if outcome.state == "failed":
            trial.set_user_attr("failed", outcome.reason)
            study.tell(trial, state=TrialState.FAIL)
        elif outcome.state == "diverged":
            trial.set_user_attr("diverged", outcome.reason)
            study.tell(trial, state=TrialState.PRUNED)
        elif each.stopped:
            trial.set_user_attr("stopped", "a longer schedule was for others")
            study.tell(trial, state=TrialState.PRUNED)
        else:
            pair: Any = [outcome.mean, outcome.cost]
            study.tell(trial, pair if design.pareto else outcome.mean)


def _line(study: optuna.Study, slot: int, design: Design) -> str:
    done = settled(study)
    trial = done[slot]
    complete = {s: t.values[0] for s, t in done.items() if t.state == TrialState.COMPLETE}
    shown = f"{100 * complete[slot]:.2f} %" if slot in complete else _why(trial.user_attrs)
    best = max(complete, key=lambda s: (complete[s], -s)) if complete else None
    record = "" if best is None else f"; best {100 * complete[best]:.2f} % (trial {best})"
    return f"trial {slot} ({len(done)}/{design.count}): {shown}{record}"


def _why(attrs: dict[str, Any]) -> str:
    names = ("failed", "diverged", "stopped")
    return next((f"{name}: {attrs[name]}" for name in names if name in attrs), "pruned")
