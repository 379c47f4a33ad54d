"""A run's whole state as the parts of a checkpoint, and the callbacks that write it and report
progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunebench.bench.runs import checkpoint_file
from prunebench.bench.runs.checkpoint_file import Content, load_optimizer, optimizer_parts
from prunebench.bench.train import stopping
from prunebench.bench.train.ledger import Ledger
from prunebench.bench.train.plan_checks import check_plan
from prunebench.bench.train.setup import Callback, Epoch, RunView
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.base import Plan

_EPOCH = ("started", "step", "lr", "seconds")
_PLAN = ("indices", "weights", "forward_only")


def _parts(run: RunView) -> dict[str, Mapping[str, Any]]:
    parts: dict[str, Mapping[str, Any]] = {
        "model": run.model.state_dict(),
        "tables": run.sample_tables.state_dict(),
        "criterion": run.criterion.state_dict(),
        "pruner": run.setup.pruner.state_dict(),
        "run": {"kept_visits": run.kept_visits, "loss_weight": run.loss_weight},
    }
    for number, callback in enumerate(run.setup.callbacks):
        parts[f"observer{number}"] = callback.state_dict()
    parts |= optimizer_parts(run.optimizer)
    if run.paused is not None:
        parts["now"] = _pack(run.paused)
        parts["last"] = _last_scores(run)
    return parts


def _pack(now: Epoch) -> dict[str, Any]:
    scalars = {name: getattr(now, name) for name in _EPOCH}
    scalars |= {
        "lr_factor": float(now.plan.lr_factor),
        "batch_weights": int(now.plan.batch_weights),
    }
    tensors = {name: getattr(now.plan, name) for name in _PLAN}
    for name in ("visited", "trained"):
        if chosen := getattr(now, name):
            tensors[name] = torch.cat(chosen)
    tensors |= {f"generator.{device}": state for device, state in now.generators.items()}
    return scalars | {name: value for name, value in tensors.items() if value is not None}


def _unpack(parts: Mapping[str, Any], device: torch.device, size: int) -> Epoch:
    plan = Plan(
        **{name: parts[name].to(device) for name in _PLAN if name in parts},
        lr_factor=parts.get("lr_factor", 1.0),
        batch_weights=bool(parts.get("batch_weights", 0)),
    )
    check_plan(plan, size, "checkpoint")
    numbers = [parts[name] for name in _EPOCH]
    if not all(type(n) in (int, float) and 0 <= n < math.inf for n in numbers):
        raise ValueError("numbers that no epoch has")
    now = Epoch(plan, **dict(zip(_EPOCH, numbers, strict=True)))
    for name in ("visited", "trained"):
        if name in parts:
            chosen = parts[name]
            if not bool(((chosen >= 0) & (chosen < size)).all()):
                raise ValueError("positions that no sample has")
            setattr(now, name, [chosen.to(device)])
    prefix = "generator."
    now.generators = {
        name.removeprefix(prefix): state for name, state in parts.items() if name.startswith(prefix)
    }
    return now


def _last_scores(run: RunView) -> dict[str, Any]:
    """The scores behind the plan; where they are a table itself, its name: it goes on changing."""
    scores = run.setup.pruner.last_scores
    if scores is None:
        return {}
    for name, table in run.sample_tables.state_dict().items():
        if scores.data_ptr() == table.data_ptr() and scores.shape == table.shape:
            return {"table": name}
    return {"scores": scores}


def dump(run: RunView, key: str) -> bytes:
    """The state of a run at the end of an epoch, or where it was stopped within one."""
    run.finish_readbacks()
    entries = {
        "epoch": run.epoch,
        "ledger": asdict(run.ledger),
        "table": run.epoch_log,
        "seconds": run.seconds,
    }
    return checkpoint_file.encode(key, _parts(run), entries)


def save(run: RunView, folder: Path, key: str) -> None:
    """Writes the checkpoint atomically.

    Args:
        run: The run.
        folder: ``Store.checkpoint_path`` of its cell.
        key: Whose.

    Raises:
        FolderError: It cannot be written.
        InputError: A link is in the way.
    """
    checkpoint_file.write(folder, dump(run, key))


def restore(trainer: Trainer, folder: Path, key: str) -> bool:
    """Continues a run from its checkpoint.

    Returns:
        False where there is no checkpoint.

    Raises:
        DamagedCheckpoint: It is torn, changed, or does not fit the run.
    """
    return checkpoint_file.restore(folder, key, lambda content: _load(trainer, content))


def _is_sound(meta: Mapping[str, Any], most: int) -> bool:
    """Whether counts, times and the per-epoch table are of the kinds that a run writes."""
    rows = meta["table"]
    values = [value for row in rows for value in row.values()]
    counts = [meta["epoch"], *meta["ledger"].values()]
    counts += [row.get(name, 0) for row in rows for name in ("epoch", "trained", "planned")]
    return (
        all(type(n) is int and 0 <= n < 2**63 for n in counts)
        and len(rows) == meta["epoch"] <= most
        and all("train_loss" in row and "trained" in row for row in rows)
        and all(value is None or type(value) in (int, float) for value in values)
        and all(type(s) in (int, float) and 0 <= s < math.inf for s in meta["seconds"])
    )


def _load(trainer: Trainer, content: Content) -> None:
    device, meta, part = trainer.setup.device, content.entries, content.part
    if not _is_sound(meta, trainer.setup.clock.max_epochs):
        raise ValueError("counts that no run has")
    trainer.model.load_state_dict(part("model"))
    trainer.sample_tables.load_state_dict(part("tables"))
    trainer.criterion.load_state_dict(part("criterion"))
    trainer.setup.pruner.load_state_dict(
        {k: v.to(device) if isinstance(v, Tensor) else v for k, v in part("pruner").items()}
    )
    trainer.kept_visits.copy_(part("run")["kept_visits"].view_as(trainer.kept_visits))
    weight = part("run").get("loss_weight")
    if weight is None:  # of an earlier version, which did not count it
        trainer.loss_weight.fill_(torch.nan)
    else:
        trainer.loss_weight.copy_(weight.view_as(trainer.loss_weight))
    for number, callback in enumerate(trainer.setup.callbacks):
        callback.load_state_dict(part(f"observer{number}"), meta["epoch"])
    load_optimizer(trainer.optimizer, content)
    trainer.epoch = meta["epoch"]
    trainer.ledger = Ledger(**meta["ledger"])
    trainer.epoch_log = list(meta["table"])
    trainer.seconds = list(meta["seconds"])
    now, last = part("now"), part("last")
    if now:
        trainer.paused = _unpack(now, device, len(trainer.sample_ids))
        scores = trainer.sample_tables.state_dict()[last["table"]] if "table" in last else None
        trainer.setup.pruner.last_scores = last["scores"].to(device) if "scores" in last else scores


class Checkpoints(Callback):
    """Writes checkpoints when they are due, and where the run is asked to end.

    Args:
        folder: Where to.
        key: Whose.
        every_s: Seconds between two of them; 0 makes one after every epoch.
    """

    def __init__(self, folder: Path, key: str, every_s: float) -> None:
        self.folder, self.key, self.every_s = folder, key, every_s
        self.last = time.monotonic()

    def step_end(self, run: RunView) -> bool:
        """Whether this process was asked to end."""
        return stopping.asked()

    def epoch_end(self, run: RunView) -> bool:
        """Saves where it is due."""
        asked, due = stopping.asked(), time.monotonic() - self.last >= self.every_s
        if due and not asked and not run.over:
            save(run, self.folder, self.key)
            self.last = time.monotonic()
        return asked

    def asked_to_stop(self, run: RunView) -> None:
        """Saves."""
        save(run, self.folder, self.key)


class ProgressReport(Callback):
    """Reports the share done after every epoch.

    Args:
        report: Called with a number in [0, 1].
    """

    def __init__(self, report: Callable[[float], None]) -> None:
        self.report = report

    def epoch_end(self, run: RunView) -> None:
        """Reports."""
        self.report(run.setup.clock.progress(run.epoch, run.ledger.trained).fraction)
