"""Recorded vectors of the official code, and tables that replay prescribed losses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prunebench.methods.base import DynamicPruner, Plan, Progress, TrainView
from prunebench.rng import Stream, Streams

REFERENCE = Path(__file__).parents[2] / "data" / "reference"


class Replay:
    """Tables whose losses are prescribed: ``losses[e, i]`` is what i shows if visited in e."""

    def __init__(self, losses: Tensor, reference: Tensor | None = None, window: int = 0) -> None:
        self.script = losses
        self.curve = reference
        epochs, self.num_samples = losses.shape
        self.loss = torch.full((self.num_samples,), torch.nan)
        self.ce = self.loss
        self.last_seen = torch.full((self.num_samples,), -1)
        self.seen = torch.zeros(self.num_samples, dtype=torch.int64)
        self.losses = torch.full((window, self.num_samples), torch.nan, dtype=losses.dtype)
        self.loss_epochs = torch.full((window, self.num_samples), -1)
        self.reference_loss = torch.full((epochs + 1,), torch.nan, dtype=torch.float64)
        self.signals: dict[str, Tensor] = {}
        self.epoch = 0

    def signal(self, name: str) -> Tensor:
        return self.signals[name]

    def visit(self, positions: Tensor) -> None:
        """One epoch that visits ``positions`` (trained or forward-only), then measures."""
        value = self.script[self.epoch, positions]
        self.loss[positions] = value.float()
        if len(self.losses):
            slot = self.seen[positions] % len(self.losses)
            self.losses[slot, positions] = value
            self.loss_epochs[slot, positions] = self.epoch
        self.seen[positions] += 1
        self.last_seen[positions] = self.epoch
        if self.curve is not None:
            self.reference_loss[self.epoch] = self.curve[self.epoch]
        self.epoch += 1


def at(epoch: int, total: int, n: int) -> Progress:
    """Progress with a fixed number of epochs."""
    return Progress(epoch / total, epoch, epoch * n, total * n, total - epoch, total)


def view_of(n: int, epochs: int, ratio: float = 0.5, classes: int = 10) -> TrainView:
    labels = torch.arange(n) % classes
    return TrainView(n, classes, labels, epochs, ratio, torch.device("cpu"))


def run(
    pruner: DynamicPruner,
    tables: Replay,
    epochs: int,
    total: int | None = None,
    streams: Streams | None = None,
) -> list[Plan]:
    """Plans and visits epochs from wherever the tables stand."""
    streams = streams or Streams(0, "toy", "clean")
    plans = []
    for _ in range(epochs):
        where = at(tables.epoch, total or epochs, tables.num_samples)
        plan = pruner.plan(where, tables, streams.get("pruner", tables.epoch))
        visited = plan.indices
        if plan.forward_only is not None:
            visited = torch.cat([visited, plan.forward_only])
        assert len(visited.unique()) == len(visited)
        tables.visit(visited)
        plans.append(plan)
    return plans


class Kit:
    """What the tests of this folder share."""

    Replay = Replay
    at = staticmethod(at)
    view = staticmethod(view_of)
    run = staticmethod(run)

    @staticmethod
    def stream(seed: int = 0) -> Stream:
        return Streams(seed, "toy", "clean").get("test")


@pytest.fixture
def kit() -> type[Kit]:
    return Kit


@pytest.fixture
def vectors() -> Callable[..., Any]:
    """Reads a recorded file: arrays of an ``.npz`` as tensors, or a ``.json``."""

    def read(name: str, folder: str = "dynamic") -> Any:
        path = REFERENCE / folder / name
        if path.suffix == ".json":
            return json.loads(path.read_text())
        with np.load(path, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}

    return read


def curves(n: int = 80, epochs: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Falling losses, half of them stuck, and a falling reference."""
    draw = np.random.default_rng(seed)
    time = np.arange(epochs + 1)[:, None]
    fall = np.exp(-time * draw.uniform(0.05, 0.3, n)) * draw.uniform(1, 3, n)
    stuck = draw.uniform(1, 4, n) + 0 * time
    losses = np.where(np.arange(n) % 2 == 0, fall, stuck) + draw.normal(0, 0.02, (epochs + 1, n))
    reference = 2 * np.exp(-time[:, 0] * 0.1) + draw.normal(0, 0.01, epochs + 1)
    return torch.from_numpy(losses.astype(np.float32)), torch.from_numpy(reference)


@pytest.fixture
def toy() -> Callable[..., tuple[Tensor, Tensor]]:
    return curves
