"""Holdout models: what the training samples lose under a network that never trained on them.

A run of its own, shared by all cells of a task, recipe and seed, trains on the clean reference set
or on one half of the training split. The epoch of least loss on samples that it does not train on
is kept, and judges what the cells train on once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.bench.results.manifest import (
    Damaged,
    check_numbers,
    read_array,
    read_manifest,
    to_json,
    write_manifest,
)
from prunebench.bench.results.store import Store
from prunebench.bench.runs.evidence import unaugmented_losses
from prunebench.bench.runs.scoring_runs import cross_entropy, find_evidence
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.setup import Callback, RunView
from prunebench.bench.train.step import StepGenerator
from prunebench.bench.train.task import HoldoutTask, holdout_task, streams_of
from prunebench.datasets.task import Task
from prunebench.methods.base import BatchPruner, DynamicPruner, EvidenceSpec, Pruner
from prunebench.methods.rho_loss import cross_fit
from prunebench.record import Record, file_digest

#: What is recorded of a holdout model; no method can ask a scoring run for it.
NEED = EvidenceSpec(signals=frozenset({"irreducible"}))
FILE = "irreducible.npy"


def holdout_specs(pruner: Pruner, spec: RunSpec) -> list[RunSpec]:
    """The runs of the holdout models that serve a cell: none for most."""
    if not (isinstance(pruner, DynamicPruner) and pruner.holdout_model):
        return []
    if isinstance(pruner, BatchPruner) and spec.ratio == 0:
        return []  # everything is trained
    halves = pruner.params.get("holdout") == "cross"
    parts = ("first", "second") if halves else ("reference",)
    return [spec.holdout_spec(part, cross_entropy()) for part in parts]


class HoldoutRecorder(Callback):
    """Callback of a holdout model's run: keeps the state of its best epoch.

    Args:
        holdout: What it trains on and what it is asked about.
        train: Ids and labels of the training split of the cells.

    Attributes:
        best: Least mean loss on the samples that the epoch is chosen by.
        epoch: Epochs done then; 0 where no loss was finite.
        state: State of the network then, on the CPU.
        scoring: Samples that were passed through the network for it.
        losses: float32 [n], of the samples asked about; set by ``judge``.
    """

    def __init__(self, holdout: HoldoutTask, sample_ids: Tensor, labels: Tensor) -> None:
        self.holdout = holdout
        self.asked_ids, self.asked_labels = sample_ids[holdout.asked], labels[holdout.asked]
        self.best, self.epoch, self.scoring = math.inf, 0, 0
        self.state: dict[str, Tensor] = {}
        self.losses: Tensor | None = None

    def epoch_end(self, run: RunView) -> None:
        """Keeps the network where its loss is the least so far."""
        check = self.holdout.check
        loss = float(self._losses(run, check.sample_ids, check.labels).double().mean())
        if loss < self.best:
            self.best, self.epoch = loss, run.epoch
            self.state = {n: v.detach().cpu().clone() for n, v in run.model.state_dict().items()}

    def judge(self, run: RunView) -> None:
        """Puts the best network back and takes the losses of the samples asked about."""
        if self.state:
            run.model.load_state_dict(self.state)
        losses = self._losses(run, self.asked_ids, self.asked_labels)
        self.losses = losses.masked_fill(~losses.isfinite(), torch.nan)

    def _losses(self, run: RunView, sample_ids: Tensor, labels: Tensor) -> Tensor:
        device = run.sample_ids.device
        self.scoring += len(sample_ids)
        return unaugmented_losses(run, sample_ids.to(device), labels.to(device)).cpu()

    def state_dict(self) -> dict[str, Tensor]:
        """The best epoch so far."""
        numbers = torch.tensor([self.best, self.epoch, self.scoring], dtype=torch.float64)
        return {"numbers": numbers, **{f"model.{n}": v for n, v in self.state.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Restores it."""
        best, chosen, scoring = state["numbers"].tolist()
        if not (0 <= chosen <= epoch and scoring == epoch * len(self.holdout.check)):
            raise ValueError("a best epoch that no run has")
        self.best, self.epoch, self.scoring = best, int(chosen), int(scoring)
        self.state = {
            name.removeprefix("model."): value for name, value in state.items()
            if name.startswith("model.")
        }  # fmt: skip

    @property
    def facts(self) -> dict[str, Any]:
        """Which epoch is kept, its loss, and the samples that it trains on, for the record."""
        return {
            "epoch": self.epoch,
            "loss": self.best if math.isfinite(self.best) else None,
            "samples": len(self.holdout.task.train),
        }

    def write(self, folder: Path, run: RunView, entries: Mapping[str, Any]) -> None:
        """Writes the losses and a manifest into an empty folder."""
        assert self.losses is not None
        np.save(folder / FILE, self.losses.numpy(), allow_pickle=False)
        manifest = {
            **entries, **self.facts, "needs": to_json(NEED), "epochs": run.epoch,
            "trained": run.ledger.trained, "scoring": self.scoring,
            "files": {FILE: file_digest(folder / FILE)},
        }  # fmt: skip
        write_manifest(folder, manifest)


def gather_irreducible(
    spec: RunSpec,
    store: Store,
    task: Task,
    pruner: Pruner,
    run: Callable[[RunSpec, EvidenceSpec], StepGenerator[Record]],
) -> StepGenerator[tuple[Tensor | None, tuple[int, int], list[dict[str, Any]]]]:
    """Finds or makes the holdout models of a cell, giving way after every step.

    Args:
        spec: The cell.
        store: The results folder.
        task: What it trains on.
        pruner: Its method.
        run: Runs a holdout model's run that is not recorded.

    Returns:
        Losses float32 [N] or None, the (samples trained, samples scored) that the method is
        charged, and a few facts for each model.

    Raises:
        Busy: Another process is training one.
        SkipCell: The data cannot give it.
    """
    found: list[tuple[Tensor, Tensor]] = []
    trained = scored = 0
    facts: list[dict[str, Any]] = []
    for one in holdout_specs(pruner, spec):
        asked = holdout_task(task, one.part, streams_of(one)).asked
        read = _read(store, one.key, len(asked))
        if read is None:
            record = yield from run(one, NEED)
            read = _read(store, one.key, len(asked))
            if read is None:
                raise RuntimeError(f"the holdout model {one.key} {record.status}: {record.reason}")
        losses, manifest = read
        found.append((asked, losses))
        trained, scored = trained + int(manifest["trained"]), scored + len(asked)
        names = ("accuracy", "epoch", "loss", "samples")
        facts.append({"part": one.part, "key": one.key, **{n: manifest.get(n) for n in names}})
    if not found:
        return None, (0, 0), []
    whole = [
        torch.full((len(task.train),), torch.nan).index_copy_(0, asked, losses)
        for asked, losses in found
    ]
    if len(whole) == 2:  # the first model is asked about the half of the second
        in_first = torch.ones(len(task.train), dtype=torch.bool)
        in_first[found[0][0]] = False
        return cross_fit(in_first, *whole), (trained, scored), facts
    return whole[0], (trained, scored), facts


def _read(store: Store, key: str, size: int) -> tuple[Tensor, dict[str, Any]] | None:
    """Losses and manifest of a holdout model, or None; damaged ones are set aside."""
    folder = find_evidence(store, key, NEED)
    if folder is None:
        return None
    try:
        manifest = read_manifest(folder)
        assert manifest is not None
        path = folder / FILE
        check_numbers(path, read_array(path, "float32", (size,)), by_epoch=True)
        if type(manifest.get("trained")) is not int or manifest["trained"] < 0:
            raise Damaged(f"{folder}: no number of samples trained")
        for name in ("accuracy", "epoch", "loss", "samples"):
            value = manifest.get(name)
            if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
                raise Damaged(f"{folder}: {name} is no number")
    except Damaged as error:
        store.set_aside(folder, str(error))
        return None
    return torch.from_numpy(np.load(path, allow_pickle=False)), manifest
