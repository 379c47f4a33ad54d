"""Per-sample losses of chosen epochs, on request (loss distributions, trajectories)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from prunebench.bench.runs.artifacts import npz_bytes
from prunebench.bench.train.trainer import Trainer


class LossRecorder:
    """Observer that copies the loss table after chosen epochs (counted from 1)."""

    signals: frozenset[str] = frozenset()

    def __init__(self, epochs: frozenset[int]) -> None:
        self.epochs = epochs
        self.rows: dict[int, Tensor] = {}

    def epoch_end(self, trainer: Trainer) -> None:
        """Copies the table where it is due; an empty set means every epoch."""
        if not self.epochs or trainer.epoch in self.epochs:
            self.rows[trainer.epoch] = trainer.tables.loss.cpu().clone()

    def state_dict(self) -> dict[str, Tensor]:
        """Rows so far."""
        return {str(epoch): row for epoch, row in self.rows.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Restores them."""
        self.rows = {int(number): row for number, row in state.items()}
        if not all(0 < number <= epoch for number in self.rows):
            raise ValueError("losses of epochs that were not done")

    def dump(self, ids: Tensor, flipped: Tensor) -> bytes:
        """npz of ``id`` [N], ``epoch`` [n], ``loss`` float32 [n, N] (NaN before a first visit)
        and ``wrong`` bool [N], whether the label is known to be wrong (diagnostics only)."""
        epochs = sorted(self.rows)
        return npz_bytes(
            {
                "id": ids.cpu().numpy(),
                "epoch": np.array(epochs, dtype=np.int64),
                "loss": torch.stack([self.rows[e] for e in epochs]).numpy(),
                "wrong": flipped.cpu().numpy(),
            }
        )
