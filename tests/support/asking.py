"""Pruners that ask the trainer for what a plan and a batch-level method may ask for."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from prunebench.bench.train.trainer import Trainer
from prunebench.methods.base import Batch, BatchPruner, DynamicPruner, Plan, Progress, Tables
from prunebench.rng import Stream
from support.cells import small_cell
from support.runs import trainer_of


class Asking(DynamicPruner):
    """Two thirds of the samples with weights that count per batch, the others scored, and another
    factor on the learning rate in every epoch."""

    name = "asking"
    signals = frozenset({"batch_loss", "confidence", "correct"})

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """The epoch; a sample is left out every third time."""
        everything = self.everything().indices
        part = (everything + progress.epoch) % 3 != 0
        weights = 0.5 + (everything[part] % 7).float()
        return Plan(everything[part], weights, everything[~part], 1 + progress.epoch / 2, True)


class Sharing(BatchPruner):
    """Chooses by position alone; every third batch is trained whole, the next by a quarter."""

    name = "sharing"
    signals = frozenset({"batch_loss"})
    scoring_pass = False
    draws = ()

    def share(self, progress: Progress, step: int) -> float | None:
        """By the number of the batch."""
        return {0: 1.0, 1: 0.25}.get((progress.epoch + step) % 3)

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """The first by position."""
        assert batch.logits.shape == batch.features.shape == (len(batch.positions), 0)
        return batch.positions.argsort()[:k]


class Unscored(Sharing):
    """The run's share of every batch."""

    name = "unscored"
    signals = frozenset({"batch_loss", "confidence"})

    def share(self, progress: Progress, step: int) -> float | None:
        """The run's."""
        return None


class Mixed(Sharing):
    """Chooses by loss, with weights that count for the chosen part of a batch."""

    name = "mixed"
    signals = frozenset({"batch_loss", "confidence"})
    scoring_pass = True

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """Everything."""
        everything = self.everything().indices
        return Plan(everything, 0.5 + (everything % 5).float(), None, 1.5, True)

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """The largest losses."""
        losses = F.cross_entropy(batch.logits, batch.labels, reduction="none")
        return losses.topk(k).indices


#: The pruners with the ratio of their runs.
ASKING: dict[str, tuple[type[DynamicPruner], float]] = {
    "asking": (Asking, 0.0), "sharing": (Sharing, 0.4), "unscored": (Unscored, 0.4),
    "mixed": (Mixed, 0.4),
}  # fmt: skip


def asking(pruner: str, recipe: Any = (), fields: Any = (), **parts: Any) -> Trainer:
    """A small run with one of them.

    Args:
        pruner: Its name.
        recipe: Fields of the recipe.
        fields: Of the cell.
        parts: Of the setup.
    """
    kind, ratio = ASKING[pruner]
    recipe = {"epochs": 3, "batch_size": 128, "model": "mlp", "model_params": {"width": 8},
              "augment": "none", "eval_every": 0, **dict(recipe)}  # fmt: skip
    method = "full" if ratio == 0 else "divbs"
    cell = small_cell(method, ratio=ratio, recipe_params=recipe, **dict(fields))
    return trainer_of(cell, lambda _: kind(), **parts)
