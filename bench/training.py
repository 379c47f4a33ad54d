"""What one training run is made of, and who may look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from prunebench.bench.budget import Clock
from prunebench.bench.recipe import Recipe
from prunebench.datasets.task import Split, Task
from prunebench.methods.base import Criterion, DynamicPruner
from prunebench.rng import Streams

if TYPE_CHECKING:
    from prunebench.bench.trainer import Trainer


class Observer(Protocol):
    """Looks at a run after each epoch without touching it (evidence, loss records)."""

    signals: frozenset[str]

    def epoch_end(self, trainer: Trainer) -> None:
        """Called when ``trainer.epoch`` epochs are done."""

    def state_dict(self) -> dict[str, Tensor]:
        """What must survive a restart."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores it."""


@dataclass(frozen=True)
class Setup:
    """What one training run is made of; ``weights`` is the file the recipe starts from."""

    task: Task
    recipe: Recipe
    pruner: DynamicPruner
    criterion: Criterion
    streams: Streams
    clock: Clock
    device: torch.device
    replica: int = 0
    observers: Sequence[Observer] = ()
    reference: Split | None = None
    weights: str = ""


class Diverged(Exception):
    """The loss is no longer finite."""
