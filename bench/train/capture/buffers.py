"""Where captured steps read their epoch: buffers that stay where they are."""

from __future__ import annotations

from dataclasses import fields
from typing import cast

import torch
from torch import Tensor

from prunebench.bench.inputs.crops import Boxes, Draws
from prunebench.bench.inputs.strong import DRAWS
from prunebench.bench.inputs.view import EpochInputs, Inputs
from prunebench.bench.train.epoch_steps import EpochSteps
from prunebench.bench.train.setup import RunView
from prunebench.rng import Stream


class EpochBuffers:
    """Where captured steps read their epoch.

    Args:
        run: Gives sizes and, for the first warm-up, samples.
        steps: Steps of an epoch at most.
        keys: Names of the draws of batch-level selection.
    """

    def __init__(self, run: RunView, steps: int, keys: tuple[str, ...]) -> None:
        device, n = run.setup.device, len(run.sample_ids)
        self.positions = torch.arange(n, device=device)
        self.sample_ids, self.labels = run.sample_ids.clone(), run.labels.clone()
        self.weights = torch.ones(n, device=device)
        self.draws = cast(Inputs, run.inputs).draw(Stream(0), self.sample_ids)
        self.rates = torch.zeros((steps, 2), device=device)
        self.strong_keys = torch.zeros(len(DRAWS), dtype=torch.int64, device=device)
        self.select_keys = torch.zeros((steps, len(keys)), dtype=torch.int64, device=device)
        self.chosen = torch.zeros(n if keys else 0, dtype=torch.int64, device=device)
        #: First sample of the next step, and its number in the epoch.
        self.at, self.step = (torch.zeros(1, dtype=torch.int64, device=device) for _ in range(2))

    def rewind(self, at: int = 0, step: int = 0) -> None:
        """Sets the counters."""
        self.at.fill_(at)
        self.step.fill_(step)

    def draws_at(self, place: Tensor) -> Draws | Boxes | None:
        """Augmentation of the samples at some places of the epoch."""
        if self.draws is None:
            return None
        parts = {f.name: getattr(self.draws, f.name)[place] for f in fields(self.draws)}
        return type(self.draws)(**parts)

    def fill(self, epoch: EpochSteps) -> None:
        """Copies an epoch in; its samples already trained keep whatever is there."""
        n, done, steps = len(epoch.positions), epoch.done, len(epoch.rates)
        for own, new in ((self.positions, epoch.positions), (self.sample_ids, epoch.sample_ids),
                         (self.labels, epoch.labels)):  # fmt: skip
            own[:n].copy_(new)
        if epoch.weights is None:
            self.weights.fill_(1.0)
        else:
            self.weights[:n].copy_(epoch.weights)
        if self.draws is not None:
            drawn = cast(EpochInputs, epoch.inputs).draws
            for f in fields(self.draws):
                getattr(self.draws, f.name)[done:n].copy_(getattr(drawn, f.name))
        send(torch.tensor(epoch.rates, dtype=torch.float32), self.rates[:steps])


def send(host: Tensor, to: Tensor) -> None:
    """Copies from the host without waiting for the device."""
    if to.device.type == "cuda":
        host = host.pin_memory()
    to.copy_(host, non_blocking=True)
