"""Trials by slot: slot n is the n-th configuration, however often its trial was started.

A trial that a killed driver left running fails in Optuna and is started again with the same
parameters, so Optuna's numbers have gaps and slots do not. The sampler is seeded by the slot and
sees the same history in the same order, hence a resumed study draws the points of an unbroken one.

The points of a finite space come from our own list and not from Optuna's GridSampler or
BruteForceSampler: both count a failed trial as visited and end a study through ``Study.stop``,
which raises outside ``optimize``; GridSampler would also run the default twice.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from prunebench.bench.tuning.design import Design
from prunebench.bench.tuning.space import decode, encode, points, size, suggest
from prunebench.errors import InputError
from prunebench.options import Value
from prunebench.record import canonical

#: How often a trial is started again when its driver died and no further cell had ended.
RETRIES = 2
_REDRAWS, _RANDOM_FROM = 60, 10

Point = dict[str, Value]


def make_sampler(seed: int, slot: int, redraw: int) -> optuna.samplers.BaseSampler:
    """The sampler of one draw. All arguments whose defaults Optuna 4 and 5 disagree on are given;
    their densities differ all the same.

    Args:
        seed: Of the study.
        slot: Number of the configuration.
        redraw: How many draws for it were rejected; after some, draws are uniform.
    """
    digest = hashlib.blake2b(f"{seed}:{slot}:{redraw}".encode(), digest_size=4).digest()
    number = int.from_bytes(digest, "big")
    if redraw >= _RANDOM_FROM:
        return optuna.samplers.RandomSampler(seed=number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant_liar is called experimental in Optuna 4
        return optuna.samplers.TPESampler(
            n_startup_trials=10, n_ei_candidates=24, multivariate=False, group=False,
            constant_liar=True, seed=number,
        )  # fmt: skip


def ended_trials(study: optuna.Study) -> dict[int, FrozenTrial]:
    """The ended trial of each slot: complete, pruned, or failed for good."""
    return {
        trial.user_attrs["slot"]: trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (trial.state == TrialState.FAIL and "failed" in trial.user_attrs)
    }


def why_incomplete(trial: FrozenTrial) -> tuple[str, ...]:
    """(``failed``, ``diverged`` or ``stopped``; why) of a trial; empty where it completed."""
    names = ("failed", "diverged", "stopped")
    return next(((n, trial.user_attrs[n]) for n in names if n in trial.user_attrs), ())


@dataclass(frozen=True)
class EarlierWork:
    """What a driver that died had run of a point.

    Attributes:
        done: Cells with records.
        interrupted: Whether a cell was running.
        keys: Cells that were started.
    """

    done: int
    interrupted: bool
    keys: list[str]


class Slots:
    """Asks for configurations, none of them twice.

    Args:
        study: The study; this process is its only writer.
        design: Its declaration.
        earlier_work: What drivers that died had run of a point.
    """

    def __init__(
        self, study: optuna.Study, design: Design, earlier_work: Callable[[Point], EarlierWork]
    ) -> None:
        self.study, self.design, self.earlier_work = study, design, earlier_work
        finite = size(design.space) <= design.trials
        self.grid = points(design.space) if finite else []
        self.asked: dict[int, Point] = {}
        for slot, trial in ended_trials(study).items():
            point = decode(trial.params, design.space)
            if point is not None:
                self.asked[slot] = point

    def end_abandoned(self) -> None:
        """Ends the trials that a killed driver left waiting or running."""
        while any(t.state == TrialState.WAITING for t in self.study.get_trials(deepcopy=False)):
            self.study.ask()
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state != TrialState.RUNNING:
                continue
            attrs = trial.user_attrs
            tries, had = attrs.get("tries", 0), attrs.get("had", 0)
            point = decode(trial.params, self.design.space)
            if point is not None:
                work = self.earlier_work(point)
                tries = 0 if work.done > had else tries + work.interrupted
                had = work.done
            self._attr(trial.number, "reaped", {"tries": tries, "had": had})
            if point is not None and tries > RETRIES:
                reason = f"its driver was killed {tries} times before one of its cells had ended"
                self._attr(trial.number, "failed", reason)
                self._attr(trial.number, "keys", self.earlier_work(point).keys)
                self.asked[attrs["slot"]] = point
            self.study.tell(trial.number, state=TrialState.FAIL)

    def ask(self, slot: int, fits: Callable[[Point], None]) -> tuple[Trial, Point] | None:
        """A running trial with a point that no other slot has.

        Args:
            slot: Number of the configuration.
            fits: Raises InputError for a point that the method refuses.

        Returns:
            None where the space seems to hold no further point.

        Raises:
            InputError: The defaults themselves are refused.
        """
        given, carried = self._given(slot)
        for draw in range(-1, _REDRAWS):
            if draw < 0 and given is None:
                continue
            known = given if draw < 0 else None
            self.study.sampler = make_sampler(self.design.sampler_seed, slot, max(draw, 0))
            fixed = encode(known, self.design.space) if known is not None else {}
            self.study.enqueue_trial(fixed, user_attrs={"slot": slot, **carried})
            trial = self.study.ask()
            point = suggest(trial, self.design.space)
            problem = self._problem(slot, point, fits)
            if problem is None:
                self.asked[slot] = point
                return trial, point
            trial.set_user_attr("rejected", str(problem))
            self.study.tell(trial, state=TrialState.FAIL)
            if slot == 0 and isinstance(problem, InputError):
                raise problem
            carried = {}
        return None

    def _problem(
        self, slot: int, point: Point, fits: Callable[[Point], None]
    ) -> InputError | str | None:
        text = canonical(point)
        for other, known in self.asked.items():
            if other != slot and canonical(known) == text:
                return f"the point of slot {other}"
        try:
            fits(point)
        except InputError as error:
            return error
        return None

    def _given(self, slot: int) -> tuple[Point | None, dict[str, int]]:
        """The point that a slot must have, if any, and the counts of an abandoned trial of it."""
        reaped = [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.user_attrs.get("slot") == slot and "reaped" in trial.user_attrs
        ]
        carried: dict[str, int] = dict(reaped[-1].user_attrs["reaped"]) if reaped else {}
        for trial in reversed(reaped):
            point = decode(trial.params, self.design.space)
            if point is not None:
                return point, carried
        if slot == 0:
            return {axis.name: axis.default for axis in self.design.space}, carried
        return (self.grid[slot] if self.grid else None), carried

    def _attr(self, number: int, name: str, value: Any) -> None:
        storage, study = self.study._storage, self.study
        identity = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        storage.set_trial_user_attr(identity, name, value)
