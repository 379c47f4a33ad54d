"""Our own training in its forms, as contenders whose epochs are timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.interleaved import InterleavedRuns
from prunebench.bench.train.setup import Setup
from prunebench.bench.train.step import StepGenerator, run_to_end
from prunebench.bench.train.trainer import Trainer
from prunebench.datasets.build import make_task
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.source import RawData
from prunebench.datasets.task import Task
from prunebench.methods.compose import resolve_method
from prunebench.registry import CRITERIA
from prunebench.rng import Streams

#: More epochs than any measurement takes: a clock that never runs out.
_MANY = 10_000


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Attributes:
        raw: The data set.
        device: Where.
        model: Registered network.
        model_params: Its parameters.
        batch: Batch size.
        precision: ``bf16`` or ``fp32``.
        optimizer: As in a recipe.
        reference: Clean images held out.
        epochs: Of the recipe.
        augment: As in a recipe.
    """

    raw: RawData
    device: torch.device
    model: str = "resnet18"
    model_params: dict[str, Any] = field(default_factory=dict)
    batch: int = 128
    precision: str = "bf16"
    optimizer: str = "lars"
    reference: int = 1000
    epochs: int = _MANY
    augment: Literal["dataset", "none", "crop_flip"] = "crop_flip"

    def task(self, seed: int) -> Task:
        """The task of one seed."""
        return make_task(
            self.raw, parse_noise("symmetric:0.4"), streams(seed), reference_size=self.reference
        )

    def trainer(
        self,
        execution: ExecutionOptions,
        method: str = "infobatch",
        ratio: float = 0.0,
        seed: int = 0,
        **params: Any,
    ) -> Trainer:
        """A run; by default InfoBatch that prunes nothing, which records every loss."""
        return Trainer(self.setup(execution, method, ratio, seed, **params))

    def setup(
        self,
        execution: ExecutionOptions,
        method: str = "infobatch",
        ratio: float = 0.0,
        seed: int = 0,
        **params: Any,
    ) -> Setup:
        """What such a run is made of."""
        task = self.task(seed)
        recipe = Recipe(
            name="perf", model=self.model, model_params=self.model_params, epochs=self.epochs,
            batch_size=self.batch, optimizer=self.optimizer, lr=5.2, augment=self.augment,
            precision=self.precision,
        )  # fmt: skip
        if method == "infobatch" and ratio == 0.0:
            params = {"r": 0.0, **params}
        pruner: Any = resolve_method(method).build(params)
        return Setup(
            task, recipe, pruner, CRITERIA.get("ce").target(smoothing=0.0), streams(seed),
            Clock(len(task.train), self.epochs, ratio), self.device,
            reference=task.reference if pruner.reference else None, execution=execution,
        )  # fmt: skip


def streams(seed: int) -> Streams:
    """Of one measured run."""
    return Streams(seed, "perf", "symmetric:0.4")


def one_epoch(run: Trainer) -> StepGenerator[int]:
    """One epoch with all that belongs to it; returns the samples trained."""
    before = run.ledger.trained
    yield from run.epoch_steps()
    return run.ledger.trained - before


def how_of(run: Trainer) -> str:
    """Whether the steps of a run are captured, or why not."""
    return run.not_captured_because or ("captured" if run.captured_step else "launched")


class Solo:
    """One run, epoch by epoch.

    Args:
        work: The workload.
        execution: How its steps are run.
        prepare: Called between building and capture.
        made: The run, where it is another than the workload's usual one.
    """

    def __init__(
        self,
        work: Workload,
        execution: ExecutionOptions,
        prepare: Callable[[], None] = lambda: None,
        made: Trainer | None = None,
    ) -> None:
        self.run = made or work.trainer(execution)
        self.prepare = prepare
        self._armed = False

    def epoch(self) -> int:
        """One epoch; the first captures the step."""
        if not self._armed:
            self.prepare()
            self.run.acquire_captured_step()
            self._armed = True
        return run_to_end(one_epoch(self.run))

    @property
    def how(self) -> str:
        """Whether steps are captured, or why not."""
        return how_of(self.run)


class Laned:
    """Several runs in lanes, one epoch of each at a time.

    Args:
        work: The workload; lane i has seed i.
        execution: How steps are run.
        count: Lanes.
    """

    def __init__(self, work: Workload, execution: ExecutionOptions, count: int) -> None:
        self.work, self.execution = work, execution
        self.lanes = InterleavedRuns(work.device, count)
        self.runs: dict[int, Trainer] = {}

    def _turns(self, lane: int) -> StepGenerator[int]:
        if lane not in self.runs:
            self.runs[lane] = self.work.trainer(self.execution, seed=lane)
            self.runs[lane].acquire_captured_step()
        return (yield from one_epoch(self.runs[lane]))

    def epoch(self) -> int:
        """One epoch of every run; returns the samples of all."""
        for lane in range(len(self.lanes.contexts)):
            self.lanes.add(lane, self._turns(lane))
        total = 0
        while self.lanes.running:
            for end in self.lanes.step():
                if end.error is not None:
                    self.lanes.close()
                    raise end.error
                total += end.value
        return total

    @property
    def how(self) -> str:
        """Of the first run."""
        return how_of(self.runs[0])


def whole_run(work: Workload, method: str, ratio: float, execution: ExecutionOptions) -> int:
    """Trains a whole short run, evaluation at the end included; returns the samples trained."""
    run = replace(work, epochs=work.epochs).trainer(execution, method, ratio)
    try:
        run.fit()
        run.test_accuracy()
        return run.ledger.trained
    finally:
        run.close()
