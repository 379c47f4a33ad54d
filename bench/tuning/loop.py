"""The loop of a study: asks for blocks of trials, runs them, stores what they gave."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.trial import Trial, TrialState

from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.tuning.design import Design
from prunebench.bench.tuning.evaluate import Outcome, RunCells, evaluate
from prunebench.bench.tuning.trials import (
    EarlierWork,
    Point,
    Slots,
    ended_trials,
    why_incomplete,
)

Notify = Callable[[str], None]


@dataclass(frozen=True)
class TrialResult:
    """A trial whose cells have been run.

    Attributes:
        trial: The running trial.
        outcome: What its last schedule gave.
        keys: Cells of all its schedules.
        stopped: Whether other trials were given the longer schedule.
    """

    trial: Trial
    outcome: Outcome
    keys: list[str]
    stopped: bool = False


def run_trials(
    study: optuna.Study,
    design: Design,
    run: RunCells,
    state: Callable[[str], str],
    notify: Notify = lambda line: None,
) -> None:
    """Runs the trial of every slot of a study that has not ended yet.

    Args:
        study: The study, declared; this process is its only writer.
        design: Its declaration.
        run: Runs cells and gives their records.
        state: ``recorded`` or ``interrupted`` where a key has a record, or the claim of a process
            that died over it; anything else otherwise.
        notify: Gets one line per trial.

    Raises:
        InputError: The method refuses its defaults under this recipe.
    """

    def earlier_work(point: Point) -> EarlierWork:
        keys = [design.cell(point, seed, share).spec.key
                for share in design.fidelities for seed in design.seeds]  # fmt: skip
        states = [state(key) for key in keys]
        started = [key for key, found in zip(keys, states, strict=True) if found]
        return EarlierWork(states.count("recorded"), "interrupted" in states, started)

    def fits(point: Point) -> None:
        for share in design.fidelities:
            plan_jobs([design.cell(point, design.seeds[0], share)])

    slots = Slots(study, design, earlier_work)
    slots.end_abandoned()
    for first in range(0, design.count, design.block):
        block = range(first, min(first + design.block, design.count))
        done = ended_trials(study)
        open_slots = [slot for slot in block if slot not in done]
        if not open_slots:
            continue
        asked = {slot: found for slot in open_slots if (found := slots.ask(slot, fits)) is not None}
        points = {slot: point for slot, (_, point) in asked.items()}
        trials = {slot: trial for slot, (trial, _) in asked.items()}
        if len(design.fidelities) == 1:
            outcomes = evaluate(design, list(points.values()), design.seeds, run)
            results = [
                TrialResult(trial, outcome, outcome.keys)
                for trial, outcome in zip(trials.values(), outcomes, strict=True)
            ]
        else:
            # Trials of the block that ended before their driver was killed are compared again.
            before = {slot: slots.asked[slot] for slot in block
                      if slot in done and done[slot].user_attrs.get("keys")}  # fmt: skip
            results = _halving(design, run, {**before, **points}, trials)
        for result in results:
            _store(result, design)
        for slot in asked:
            notify(_line(study, slot, design))
        if len(asked) < len(open_slots):
            notify(f"the space gave no further point after {len(ended_trials(study))} trials")
            return


def _halving(
    design: Design, run: RunCells, points: dict[int, Point], trials: dict[int, Trial]
) -> list[TrialResult]:
    """Successive halving over complete schedules: of n configurations the best n * (this share /
    the next share) go on. The default always does: all others are compared with it."""
    remaining = sorted(points)
    keys: dict[int, list[str]] = {slot: [] for slot in points}
    last: dict[int, Outcome] = {}
    for rung, share in enumerate(design.fidelities):
        outcomes = evaluate(design, [points[slot] for slot in remaining], design.seeds, run, share)
        for slot, outcome in zip(remaining, outcomes, strict=True):
            last[slot] = outcome
            keys[slot] += outcome.keys
            if outcome.state == "complete" and slot in trials:
                trials[slot].report(outcome.mean, rung)
        remaining = [slot for slot in remaining if last[slot].state == "complete"]
        if share < 1:
            room = max(1, math.floor(len(remaining) * share / design.fidelities[rung + 1] + 1e-9))
            best = sorted(remaining, key=lambda slot: (-last[slot].mean, slot))[:room]
            remaining = [slot for slot in remaining if slot in best or slot == 0]
    return [
        TrialResult(
            trial, last[s], keys[s], stopped=last[s].state == "complete" and s not in remaining
        )
        for s, trial in trials.items()
    ]


def _store(result: TrialResult, design: Design) -> None:
    """Ends a trial in the study."""
    trial, outcome = result.trial, result.outcome
    trial.set_user_attr("values", {str(seed): value for seed, value in outcome.values.items()})
    trial.set_user_attr("keys", result.keys)
    state, values = TrialState.COMPLETE, None
    if outcome.state != "complete":
        trial.set_user_attr(outcome.state, outcome.reason)
        state = TrialState.FAIL if outcome.state == "failed" else TrialState.PRUNED
    elif result.stopped:
        trial.set_user_attr("stopped", "a longer schedule was for others")
        state = TrialState.PRUNED
    else:
        values = [outcome.mean, outcome.cost] if design.pareto else [outcome.mean]
    trial.study.tell(trial, values, state)


def _line(study: optuna.Study, slot: int, design: Design) -> str:
    done = ended_trials(study)
    complete = {s: t.values[0] for s, t in done.items() if t.state == TrialState.COMPLETE}
    if slot in complete:
        shown = f"{100 * complete[slot]:.2f} %"
    else:
        shown = ": ".join(why_incomplete(done[slot])) or "pruned"
    best = max(complete, key=lambda s: (complete[s], -s)) if complete else None
    record = "" if best is None else f"; best {100 * complete[best]:.2f} % (trial {best})"
    return f"trial {slot} ({len(done)}/{design.count}): {shown}{record}"
