"""A run's whole state in one safetensors file that proves itself, and the callbacks that write it
and report progress; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from prunebench.bench.results.atomic import folder_errors
from prunebench.bench.train import stopping
from prunebench.bench.train.ledger import Ledger
from prunebench.bench.train.plan_checks import check_plan
from prunebench.bench.train.setup import Callback, Epoch, RunView
from prunebench.bench.train.trainer import Trainer
from prunebench.files import OwnFolder
from prunebench.methods.base import Plan

FILE = "state.safetensors"
_META = "__meta__"
_EPOCH = ("started", "step", "lr", "seconds")
_PLAN = ("indices", "weights", "forward_only")


class DamagedCheckpoint(Exception):
    """A checkpoint that is torn, changed or of another spec; it is set aside and redone."""


def _parts(run: RunView) -> dict[str, Mapping[str, Any]]:
    parts: dict[str, Mapping[str, Any]] = {
        "model": run.model.state_dict(),
        "tables": run.sample_tables.state_dict(),
        "criterion": run.criterion.state_dict(),
        "pruner": run.setup.pruner.state_dict(),
        "run": {"kept_visits": run.kept_visits},
    }
    for number, callback in enumerate(run.setup.callbacks):
        parts[f"observer{number}"] = callback.state_dict()
    for number, state in run.optimizer.state_dict()["state"].items():
        parts[f"optimizer{number}"] = {k: v for k, v in state.items() if v is not None}
    if run.paused is not None:
        parts["now"] = _pack(run.paused)
        parts["last"] = _last_scores(run)
    return parts


def _pack(now: Epoch) -> dict[str, Any]:
    scalars = {name: getattr(now, name) for name in _EPOCH}
    tensors = {name: getattr(now.plan, name) for name in _PLAN}
    for name in ("visited", "trained"):
        if chosen := getattr(now, name):
            tensors[name] = torch.cat(chosen)
    tensors |= {f"generator.{device}": state for device, state in now.generators.items()}
    return scalars | {name: value for name, value in tensors.items() if value is not None}


def _unpack(parts: Mapping[str, Any], device: torch.device, size: int) -> Epoch:
    plan = Plan(**{name: parts[name].to(device) for name in _PLAN if name in parts})
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
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for part, values in _parts(run).items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{part}/{name}"] = value.detach().cpu().clone().contiguous()
            else:
                scalars[f"{part}/{name}"] = value
    meta = {
        "key": key,
        "epoch": run.epoch,
        "ledger": asdict(run.ledger),
        "table": run.epoch_log,
        "seconds": run.seconds,
        "scalars": scalars,
    }
    text = json.dumps(meta).encode()
    tensors[_META] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    body = save_tensors(tensors)
    return hashlib.sha256(body).digest() + body


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
    with folder_errors(folder):
        OwnFolder(folder.parents[1]).write(folder / FILE, dump(run, key))


def restore(trainer: Trainer, folder: Path, key: str) -> bool:
    """Continues a run from its checkpoint.

    Returns:
        False where there is no checkpoint.

    Raises:
        DamagedCheckpoint: It is torn, changed, or does not fit the run.
    """
    try:
        with os.fdopen(OwnFolder(folder.parents[1]).open(folder / FILE, os.O_RDONLY), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DamagedCheckpoint(f"{folder / FILE}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        raise DamagedCheckpoint(f"{folder / FILE}: digest mismatch")
    try:
        tensors = load_tensors(data[32:])
        meta = json.loads(bytes(tensors.pop(_META).numpy()))
        if meta["key"] != key:
            raise DamagedCheckpoint(f"{folder / FILE}: belongs to {meta['key']}")
        _load(trainer, tensors, meta)
    except DamagedCheckpoint:
        raise
    except Exception as error:  # a forged state raises nearly everything
        raise DamagedCheckpoint(f"{folder / FILE}: does not fit ({error})") from None
    return True


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


def _load(trainer: Trainer, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    device = trainer.setup.device
    if not _is_sound(meta, trainer.setup.clock.max_epochs):
        raise ValueError("counts that no run has")

    def part(name: str) -> dict[str, Any]:
        prefix = f"{name}/"
        both: dict[str, Any] = {**tensors, **meta["scalars"]}
        return {k.removeprefix(prefix): v for k, v in both.items() if k.startswith(prefix)}

    trainer.model.load_state_dict(part("model"))
    trainer.sample_tables.load_state_dict(part("tables"))
    trainer.criterion.load_state_dict(part("criterion"))
    trainer.setup.pruner.load_state_dict(
        {k: v.to(device) if isinstance(v, Tensor) else v for k, v in part("pruner").items()}
    )
    trainer.kept_visits.copy_(part("run")["kept_visits"].view_as(trainer.kept_visits))
    for number, callback in enumerate(trainer.setup.callbacks):
        callback.load_state_dict(part(f"observer{number}"), meta["epoch"])
    state = trainer.optimizer.state_dict()
    params = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    state["state"] = {n: found for n in range(len(params)) if (found := part(f"optimizer{n}"))}
    for number, moments in state["state"].items():
        for name, value in moments.items():
            # A fused step reads and writes as much memory as the parameter has, whatever is there.
            if value.shape != (() if name == "step" else params[number].shape):
                raise ValueError(f"{name} of another shape than its parameter")
    trainer.optimizer.load_state_dict(state)
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
