"""Timing one kind of cell: the real trainer on a part of the data, for a second or two."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunebench.bench.runs.artifacts import artifacts
from prunebench.bench.runs.self_supervised import encoder_seconds
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.evaluate import EVAL_BATCH, forward_all
from prunebench.bench.train.setup import Setup, make_setup
from prunebench.bench.train.task import load_raw, load_task
from prunebench.bench.train.trainer import Trainer
from prunebench.datasets.source import Outline, RawData
from prunebench.datasets.task import Split, Task
from prunebench.methods.base import (
    Batch,
    BatchPruner,
    DynamicPruner,
    Plan,
    Progress,
    Tables,
    TrainView,
)
from prunebench.methods.compose import resolve_method
from prunebench.rng import Stream

#: Seconds after which no further epoch is timed.
LIMIT_S = 2.0
_EPOCH_S = 0.25
_EPOCHS = 10_000
_FEW = (2, 16)
#: A recipe whose single step is slower than this is judged by smaller batches.
_SLOWEST_S = 6.0
_RANDOM_BYTES = 64 << 20


@dataclass(frozen=True)
class Rates:
    """Seconds, as measured.

    Attributes:
        train_s: Per trained sample; under batch-level selection the selection is part of it.
        epoch_s: Per epoch beyond its samples.
        eval_s: Per sample forwarded in eval mode.
        ssl_s: Per view on which a self-supervised encoder is trained; 0 where none is needed.
        cell_s: Per cell beyond its epochs: building the network, writing what a run leaves.
        load_s: Reading the data set, once per worker.
        rough: Whether a step was too slow to be measured at the recipe's batch size.
    """

    train_s: float
    epoch_s: float
    eval_s: float
    ssl_s: float
    cell_s: float
    load_s: float = 0.0
    rough: bool = False


def measure(
    spec: RunSpec,
    data: Mapping[str, Any],
    outline: Outline,
    present: bool,
    device: torch.device,
    limit_s: float = LIMIT_S,
    encoder: bool = False,
) -> Rates:
    """Rates of one kind in this process.

    Args:
        spec: A cell of the kind.
        data: Options that open its data set here.
        outline: The data set's outline.
        present: Whether its files are here.
        device: Where to train.
        limit_s: Seconds after which no further epoch is timed.
        encoder: Whether a self-supervised encoder is measured too.
    """
    times = [time.perf_counter()]

    def lap() -> float:
        times.append(time.perf_counter())
        return times[-1] - times[-2]

    if present:
        load_raw(spec.dataset.name, data)
    load_s = lap() if present else 0.0
    task = load_task(spec, data) if present else _random_task(spec, outline)
    task_s = lap() if present else 0.0
    probe = _Probe(spec, len(task.train), limit_s)
    trainer = Trainer(_setup(spec, task, probe, device))
    built_s = lap()
    with suppress(_Enough):
        trainer.fit(probe.note)
    train_s, epoch_s = probe.rates(trainer.ledger.trained)
    eval_s = _forward_seconds(trainer)
    ssl_s = encoder_seconds(task.raw, spec.recipe, device) if encoder else 0.0
    lap()
    artifacts(trainer, task.test.labels, None)
    cell_s = task_s + built_s + lap()
    return Rates(train_s, epoch_s, eval_s, ssl_s, cell_s, load_s, probe.rough)


class _Enough(Exception):
    """Enough was measured."""


class _Probe:
    """Which sizes of epoch are timed, and what their times say."""

    def __init__(self, spec: RunSpec, n: int, limit_s: float) -> None:
        info = resolve_method(spec.method.name)
        chooser = info.build(spec.method.params) if info.kind == BatchPruner.kind else None
        selecting = isinstance(chooser, BatchPruner) and spec.ratio > 0
        self.pruner: _Sized | _Selecting
        self.pruner = _Selecting(self, chooser) if selecting else _Sized(self)  # type: ignore[arg-type]
        self.batch, self.n, self.limit_s = spec.recipe.batch_size, n, limit_s
        self.few = [min(size, n) for size in _FEW]
        self.first: list[int] = [self.few[0], *self.few, min(self.batch, n)]
        self.low = self.high = self.size = self.first[0]
        self.rough, self.seen = False, 0
        self.times: dict[int, list[float]] = {}
        self.begin = time.perf_counter()

    def note(self, trainer: Trainer) -> None:
        """Takes in one epoch's time and settles the size of the next."""
        last, done = trainer.seconds[-1], trainer.epoch
        if done > 1:  # the first epoch warms up
            self.times.setdefault(self.size, []).append(last)
        low, high = self.few
        if done == 2 and last / low * high > _SLOWEST_S:
            self.rough, self.few = True, [low, low]
        elif done == len(self.first) - 1:
            each, step = self._line(low, high)
            self.rough = step + each * self.batch > _SLOWEST_S
        spent = time.perf_counter() - self.begin
        if self.rough or (done >= len(self.first) and spent + last > _SLOWEST_S):
            raise _Enough
        if done < len(self.first):
            self.size = self.first[done]
            return
        if done == len(self.first):
            steps = max(1, min(round(_EPOCH_S / max(last, 1e-6)), self.n // self.batch))
            self.high = self.n if (steps + 1) * self.batch > self.n else steps * self.batch
            self.low = max(self.size, self.high // 2 // self.batch * self.batch)
        timed = min(len(self.times.get(size, [])) for size in (self.low, self.high))
        if timed >= 2 and spent > self.limit_s:
            raise _Enough
        self.size = self.low if self.size == self.high else self.high

    def _line(self, low: int, high: int) -> tuple[float, float]:
        """(seconds per sample, seconds beside) through the median times of two sizes."""
        usual = [statistics.median(self.times[size]) for size in (low, high)]
        if low == high:
            return usual[1] / high, 0.0
        beside = usual[1] - (usual[1] - usual[0]) / (high - low) * high
        beside = min(max(0.0, beside), usual[1] / 2)
        return (usual[1] - beside) / high, beside

    def rates(self, trained: int) -> tuple[float, float]:
        """(seconds per trained sample, seconds per epoch beyond them)."""
        if self.rough:  # what comes beside the samples comes with every step
            each, step = self._line(*self.few)
            return (each + step / self.batch) * self.seen / max(1, trained), 0.0
        if self.high not in self.times:
            self.low = self.high = self.size
        each, beside = self._line(self.low, self.high)
        return each * self.seen / max(1, trained), beside


class _Sized(DynamicPruner):
    """Epochs of the probe's size."""

    name = "calibration"

    def __init__(self, probe: _Probe) -> None:
        super().__init__()
        self.probe = probe

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """A uniform subset of the size that is due."""
        self.probe.seen += self.probe.size
        return Plan(rng.sample(tables.num_samples, self.probe.size, self.view.device))


class _Selecting(BatchPruner):
    """The same under batch-level selection."""

    name = "calibration"

    def __init__(self, probe: _Probe, chooser: BatchPruner) -> None:
        super().__init__()
        self.probe, self.chooser = probe, chooser

    def begin(self, view: TrainView) -> None:
        """Begins the method that selects."""
        super().begin(view)
        self.chooser.begin(view)

    plan = _Sized.plan

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """As the method selects."""
        return self.chooser.select(batch, k, rng)


def _setup(spec: RunSpec, task: Task, probe: _Probe, device: torch.device) -> Setup:
    clock = Clock(len(task.train), _EPOCHS, spec.ratio, "epochs")
    return make_setup(spec, task, probe.pruner, clock=clock, device=device)


def _random_task(spec: RunSpec, outline: Outline) -> Task:
    """Random inputs of a data set's shape, as many as fit a few batches."""
    size = math.prod(outline.shape) * (1 if outline.images else 4)
    n = min(outline.train, max(_FEW[1], _RANDOM_BYTES // size))
    made = torch.Generator().manual_seed(0)
    if outline.images:
        x = torch.randint(0, 256, (n, *outline.shape), dtype=torch.uint8, generator=made)
    else:
        x = torch.randn((n, *outline.shape), generator=made)
    y = torch.randint(0, outline.classes, (n,), generator=made)
    channels = outline.shape[0] if outline.images else 0
    raw = RawData(
        train_x=x, train_y=y, test_x=x, test_y=y, num_classes=outline.classes,
        class_names=tuple(map(str, range(outline.classes))), fingerprint="",
        mean=(0.5,) * channels, std=(0.25,) * channels,
        augment="crop_flip" if channels == 3 else "none",
    )  # fmt: skip
    split = Split(torch.arange(n), y)
    return Task(raw, split, None, None, split, y, spec.noise.rule, 0.0, "")


def _forward_seconds(trainer: Trainer) -> float:
    """Seconds per sample in eval mode, in batches as large as a fifth of a second allows."""
    rows = trainer.setup.task.test.sample_ids.to(trainer.setup.device)

    def timed(n: int) -> float:
        begin = time.perf_counter()
        forward_all(
            trainer.model,
            n,
            lambda a, b: trainer.test_inputs.unaugmented(rows[a:b]),
            trainer.autocast(),
        )[0].cpu()
        return (time.perf_counter() - begin) / n

    few = min(_FEW[0], len(rows))
    timed(few)
    many = max(few, min(EVAL_BATCH, len(rows), round(0.2 / timed(few))))
    return statistics.median(timed(many) for _ in range(3 if many > few else 1))
