"""One timed epoch of the real trainer for every kind of cell that no record describes.

The epoch is on the real data, or on random inputs of the declared shape where the data are absent,
in as many worker processes at once as the grid will use.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from prunebench.bench.estimates.rates import FORWARD, Rates, selects_in_batches
from prunebench.bench.estimates.timed_encoder import encoder_seconds
from prunebench.bench.executors.base import Event, Job
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.perf.workload import random_images
from prunebench.bench.runs.artifacts import artifacts
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.setup import Callback, RunView, make_setup
from prunebench.bench.train.task import load_raw, load_task
from prunebench.bench.train.trainer import Trainer
from prunebench.datasets.source import Outline, RawData
from prunebench.datasets.task import Split, Task
from prunebench.errors import InputError
from prunebench.files import write_atomic
from prunebench.methods.base import (
    Batch,
    BatchPruner,
    DynamicPruner,
    Plan,
    Progress,
    Tables,
    TrainView,
)
from prunebench.rng import Stream

#: Workers measured at once at most, and seconds after which measuring a kind is given up.
MOST_COPIES, LONGEST_S = 8, 40.0
#: An epoch that takes this long is timed well enough; no epoch is begun that would end after
#: ``_SLOWEST_S``.
_EPOCH_S, _SLOWEST_S = 0.4, 6.0
_FIRST, _GROWTH = 2, 4
_RANDOM_BYTES = 64 << 20


@dataclass(frozen=True)
class Kind:
    """What is measured: one cell, the outline of its data set, whether the files are here, and
    whether a self-supervised encoder belongs to it."""

    cell: Cell
    outline: Outline
    present: bool
    encoder: bool = False


def time_kinds(
    kinds: Mapping[str, Kind], options: ExecutionOptions, cells: int
) -> tuple[dict[str, Rates], float]:
    """Measures every kind in worker processes.

    Args:
        kinds: By ``kind_of``.
        options: Execution settings of the grid.
        cells: Cells to run; no more workers than that are started.

    Returns:
        The rates by kind, means over the workers, and the seconds that starting one took. A kind
        of which a handful of samples takes longer than ``LONGEST_S`` is left out.

    Raises:
        InputError: A kind cannot be trained at all.
    """
    copies = max(1, min(options.workers, cells, MOST_COPIES))
    started: dict[int, float] = {}
    begin = time.monotonic()

    def on_event(event: Event) -> None:
        if event.kind == "started":
            started.setdefault(event.slot, time.monotonic() - begin)

    with tempfile.TemporaryDirectory(prefix="prunebench-estimate-") as name:
        folder = Path(name)
        executor = LocalExecutor(
            "prunebench.bench.estimates.timed_epoch:measure_payload",
            slots=copies, threads=options.threads, devices=options.devices,
            slots_per_device=options.slots_per_device, plugins=options.plugins,
            settings={"threads": options.threads, "out": name}, time_limit_s=LONGEST_S,
            log_dir=folder / "logs",
        )  # fmt: skip
        jobs = [
            Job(f"{number}-{copy}", {
                "cell": kind.cell.to_json(), "outline": asdict(kind.outline),
                "present": kind.present, "encoder": kind.encoder, "file": f"{number}-{copy}.json",
            })
            for number, kind in enumerate(kinds.values()) for copy in range(copies)
        ]  # fmt: skip
        for outcome in executor.run(jobs, on_event):
            if outcome.status != "done" and outcome.code is not OutcomeCode.TIME_LIMIT:
                line = outcome.reason.splitlines()[0] if outcome.reason else outcome.status
                raise InputError(f"an epoch cannot be timed: {line}", where="--dry-run")
        rates = {
            kind: _mean([Rates(**json.loads(file.read_text())) for file in files])
            for number, kind in enumerate(kinds)
            if (files := sorted(folder.glob(f"{number}-*.json")))
        }
    return rates, statistics.median(started.values()) if started else 0.0


def _mean(rates: list[Rates]) -> Rates:
    def mean(name: str) -> float:
        return statistics.fmean(getattr(rate, name) for rate in rates)

    return Rates(
        mean("train_s"), mean("epoch_s"), mean("eval_s"), mean("ssl_s"), mean("cell_s"),
        load_s=max(rate.load_s for rate in rates), rough=any(rate.rough for rate in rates),
    )  # fmt: skip


def measure_payload(payload: dict[str, Any], context: WorkerContext) -> JobResult:
    """Worker function: measures one kind and writes its rates to the file it is given."""
    torch.set_num_threads(int(context.settings["threads"]))
    outline = {**payload["outline"], "shape": tuple(payload["outline"]["shape"])}
    cell = Cell.from_json(payload["cell"])
    kind = Kind(cell, Outline(**outline), payload["present"], payload["encoder"])
    rates = measure(kind, torch.device(context.device))
    write_atomic(Path(context.settings["out"], payload["file"]), json.dumps(asdict(rates)).encode())
    return JobResult()


def measure(kind: Kind, device: torch.device, limit_s: float = 2.0) -> Rates:
    """Rates of one kind in this process.

    Args:
        kind: The kind.
        device: Where to train.
        limit_s: Seconds for which epochs of the whole training split are repeated.
    """
    spec, times = kind.cell.spec, [time.perf_counter()]

    def lap() -> float:
        times.append(time.perf_counter())
        return times[-1] - times[-2]

    if kind.present:
        load_raw(spec.dataset.name, kind.cell.data)
    load_s = lap()
    task = load_task(spec, kind.cell.data) if kind.present else _random_task(spec, kind.outline)
    task_s = lap() if kind.present else 0.0
    epochs = _GrowingEpochs(spec.recipe.batch_size, len(task.train), limit_s)
    pruner: DynamicPruner = _Sized(epochs)
    if selects_in_batches(spec):
        pruner = _Selecting(epochs, cast(BatchPruner, kind.cell.pruner()))
    clock = Clock(len(task.train), 10_000, spec.ratio, "epochs")
    untested = spec.replace(recipe=spec.recipe.model_copy(update={"eval_every": 0}))
    setup = make_setup(
        untested, task, pruner, clock=clock, device=device, callbacks=[epochs],
        irreducible=torch.zeros(len(task.train)),
    )  # fmt: skip
    trainer = Trainer(setup)
    built_s = lap()
    with suppress(_Enough):
        trainer.fit()
    each, epoch_s = epochs.rates()
    ssl_s = encoder_seconds(task.raw, spec.evidence_recipe, device) if kind.encoder else 0.0
    lap()
    artifacts(trainer, task.test.labels, None)
    return Rates(
        train_s=each * epochs.seen / max(1, trainer.ledger.trained),
        epoch_s=epoch_s,
        eval_s=each * FORWARD,
        ssl_s=ssl_s,
        cell_s=task_s + built_s + lap(),
        load_s=load_s,
        rough=epochs.rough,
    )


class _Enough(Exception):
    """The last epoch says enough."""


class _GrowingEpochs(Callback):
    """Sizes of epochs, each four times the one before, until one takes long enough to be timed.

    Attributes:
        seen: Samples in all the epochs so far.
        rough: Whether no epoch held a batch of the recipe's size.
    """

    def __init__(self, batch: int, n: int, limit_s: float) -> None:
        self.batch, self.n, self.limit_s = batch, n, limit_s
        self.size, self.seen = min(_FIRST, n), 0
        self.times: dict[int, list[float]] = {}
        self.begin = time.perf_counter()

    @property
    def rough(self) -> bool:
        return max(self.times) < min(self.batch, self.n)

    def epoch_end(self, run: RunView) -> None:
        """Takes in one epoch's time and sets the size of the next."""
        if run.epoch == 1:  # it warms up
            return
        last, spent = run.seconds[-1], time.perf_counter() - self.begin
        self.times.setdefault(self.size, []).append(last)
        if self.size == self.n:
            if spent > self.limit_s:
                raise _Enough
        elif (last > _EPOCH_S and not self.rough) or spent + _GROWTH * last > _SLOWEST_S:
            raise _Enough
        else:
            size = min(_GROWTH * self.size, self.n)
            self.size = size // self.batch * self.batch if self.batch < size < self.n else size

    def rates(self) -> tuple[float, float]:
        """(seconds per sample seen, seconds per epoch beside), by the last two sizes."""
        *smaller, high = sorted(self.times)
        taken, beside = statistics.median(self.times[high]), 0.0
        if smaller:
            each = (taken - statistics.median(self.times[smaller[-1]])) / (high - smaller[-1])
            beside = min(max(0.0, taken - each * high), taken / 2)
        each = (taken - beside) / high
        # An epoch below the batch size is one step: what comes beside comes with every step.
        return (each + beside / self.batch, 0.0) if self.rough else (each, beside)


class _Sized(DynamicPruner):
    """Uniform subsets of the size that is due."""

    name = "timed-epoch"

    def __init__(self, epochs: _GrowingEpochs) -> None:
        super().__init__()
        self.epochs = epochs

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """A uniform subset."""
        self.epochs.seen += self.epochs.size
        return Plan(rng.sample(tables.num_samples, self.epochs.size, self.view.device))


class _Selecting(BatchPruner):
    """The same under batch-level selection."""

    name = "timed-epoch"

    def __init__(self, epochs: _GrowingEpochs, chooser: BatchPruner) -> None:
        super().__init__()
        self.epochs, self.chooser = epochs, chooser
        self.scoring_pass = chooser.scoring_pass  # type: ignore[misc]

    def begin(self, view: TrainView) -> None:
        """Begins the method that selects."""
        super().begin(view)
        self.chooser.begin(view)

    plan = _Sized.plan

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """As the method selects."""
        return self.chooser.select(batch, k, rng)


def _random_task(spec: RunSpec, outline: Outline) -> Task:
    """Random inputs of a data set's shape, as many as fit a few batches."""
    size = math.prod(outline.stored) * (1 if outline.images else 4)
    n = min(outline.train, max(16, _RANDOM_BYTES // size))
    if outline.images:
        raw = random_images(outline.shape, outline.classes, n)
    else:
        made = torch.Generator().manual_seed(0)
        words, shape = outline.vocabulary, (n, *outline.stored)
        x = torch.randn(shape, generator=made)
        if words:
            x = torch.randint(1, words, shape, generator=made, dtype=torch.int32)
        y = torch.randint(0, outline.classes, (n,), generator=made)
        raw = RawData(
            train_x=x, train_y=y, test_x=x, test_y=y, num_classes=outline.classes,
            class_names=tuple(map(str, range(outline.classes))), fingerprint="", mean=(), std=(),
            augment="none", vocabulary=words,
        )  # fmt: skip
    y = raw.train_y
    split = Split(torch.arange(n), y)
    return Task(raw, split, None, None, split, y, spec.noise.rule, 0.0, "")
