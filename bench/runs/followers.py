"""One cell in several processes: process 0 runs it as always and has the others train along.

The others hold no claim and write nothing. They build the same task, pruner and network, load the
same checkpoint, and step along until the run ends.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.artifacts import LossRecorder
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.checkpoint_file import DamagedCheckpoint
from prunebench.bench.runs.evidence import Recorder
from prunebench.bench.runs.holdout import HoldoutRecorder
from prunebench.bench.runs.view_files import ViewFiles
from prunebench.bench.train.distributed import world
from prunebench.bench.train.setup import Callback, Diverged, Setup, make_setup
from prunebench.bench.train.task import (
    holdout_task,
    load_task,
    streams_of,
    with_reference_in_training,
)
from prunebench.bench.train.trainer import Trainer
from prunebench.errors import SkipCell
from prunebench.methods.compose import resolve_method


@dataclass(frozen=True)
class SharedRun:
    """What process 0 sends to the others.

    Attributes:
        cell: As of ``Cell.to_json``.
        made: Pickled pruner, criterion, clock, streams, reference set and irreducible losses, as
            process 0 made them.
        device: Type of the device on which each process trains.
        threads: Intra-op threads.
        folder: Of the checkpoints.
        name: Their key.
    """

    cell: dict[str, Any]
    made: bytes
    device: str
    threads: int
    folder: Path
    name: str


def lead(setup: Setup, cell: Cell, folder: Path, name: str) -> None:
    """Has the other processes train along; nothing where there are none.

    Args:
        setup: The run, its pruner not yet begun.
        cell: What is run.
        folder: Of its checkpoints.
        name: Their key.
    """
    if world.current().is_single:
        return
    # From one process of a run to another of it: nothing from elsewhere is unpickled.
    made = pickle.dumps(
        (
            setup.pruner,
            setup.criterion,
            setup.clock,
            setup.streams,
            setup.reference,
            setup.irreducible,
        )
    )
    threads = torch.get_num_threads()
    world.broadcast_job(
        SharedRun(cell.to_json(), made, setup.device.type, threads, folder.resolve(), name)
    )


def follow() -> int:
    """Trains along with process 0 until it says that it is done; returns how many runs."""
    runs = 0
    while (run := world.receive_job()) is not None:
        _train(run)
        runs += 1
    return runs


def _train(run: SharedRun) -> None:
    torch.set_num_threads(run.threads)
    trainer = Trainer(_setup(run))
    try:
        try:
            checkpoint.restore(trainer, run.folder, run.name)
        except DamagedCheckpoint:
            trainer = Trainer(_setup(run))  # as process 0 does
        try:
            trainer.fit()
        except Diverged:
            pass  # process 0 sees the same, and evaluates what there is
        except SkipCell:
            return
        for callback in trainer.setup.callbacks:
            if isinstance(callback, HoldoutRecorder):
                callback.judge(trainer)
        trainer.test_logits()
        trainer.label_fit_readbacks()
    finally:
        trainer.close()


def _setup(run: SharedRun) -> Setup:
    cell = Cell.from_json(run.cell)
    spec = cell.spec
    task = load_task(spec, cell.data)
    if resolve_method(spec.method.name).trains_reference:
        task = with_reference_in_training(task)
    pruner, criterion, clock, streams, reference, irreducible = pickle.loads(run.made)
    callbacks: list[Callback] = []
    if spec.part != "all":
        train, holdout = task.train, holdout_task(task, spec.part, streams_of(spec))
        callbacks.append(HoldoutRecorder(holdout, train.sample_ids, train.labels))
        task = holdout.task
    elif not cell.evidence.empty:
        callbacks.append(Recorder(cell.evidence, ViewFiles(run.folder, writes=False)))
    if cell.losses is not None:
        callbacks.append(LossRecorder(cell.losses))
    return make_setup(
        spec, task, pruner, clock=clock, criterion=criterion, streams=streams,
        device=torch.device(run.device), callbacks=callbacks, reference=reference,
        weights=cell.weights, irreducible=irreducible,
    )  # fmt: skip
