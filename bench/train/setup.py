"""What one training run is made of, and who may look at it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.task import clock_of, criterion_of, streams_of
from prunebench.datasets.task import Split, Task
from prunebench.methods.base import Criterion, DynamicPruner, Plan
from prunebench.rng import Streams

if TYPE_CHECKING:
    from prunebench.bench.train.trainer import Trainer


CPU = torch.device("cpu")


class Observer(Protocol):
    """Looks at a run after each epoch without touching it (evidence, loss records)."""

    signals: frozenset[str]

    def epoch_end(self, trainer: Trainer) -> None:
        """Called when ``trainer.epoch`` epochs are done."""

    def state_dict(self) -> dict[str, Tensor]:
        """What must survive a restart."""

    def load_state_dict(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Restores it.

        Args:
            state: What ``state_dict`` gave.
            epoch: Epochs that were done then.

        Raises:
            ValueError: It is not what this observer would hold by then.
        """


@dataclass(frozen=True)
class Setup:
    """What one training run is made of; ``weights`` is the file the recipe starts from.

    ``make_setup`` assembles it from a specification; what runs without one gives every part.
    """

    task: Task
    recipe: Recipe
    pruner: DynamicPruner
    criterion: Criterion
    streams: Streams
    clock: Clock
    device: torch.device
    replica: int = 0
    callbacks: Sequence[Observer] = ()
    reference: Split | None = None
    weights: str = ""
    execution: ExecutionOptions = ExecutionOptions()

    @property
    def on_device(self) -> bool:
        """Whether rates and optimiser live on the device, as a captured step needs them."""
        return self.device.type == "cuda" or self.execution.graph == "rehearse"


def make_setup(
    spec: RunSpec,
    task: Task,
    pruner: DynamicPruner,
    *,
    clock: Clock | None = None,
    criterion: Criterion | None = None,
    streams: Streams | None = None,
    device: torch.device = CPU,
    callbacks: Sequence[Observer] = (),
    reference: Split | None = None,
    weights: str = "",
    execution: ExecutionOptions = ExecutionOptions(),
) -> Setup:
    """The setup of a specification.

    Args:
        spec: Gives the recipe, the replica, and what is not given below.
        task: What is trained on.
        pruner: Which samples are trained when.
        clock: When the run ends; by default after the budget of the specification.
        criterion: By default that of the specification.
        streams: Random streams; by default those of the specification's seed and setting.
        device: Where it is trained.
        callbacks: Who looks at the run.
        reference: The reference samples, where the pruner measures them.
        weights: File of the weights to start from.
        execution: How steps are run.

    Raises:
        SkipCell: The budget of the specification leaves nothing to train.
    """
    return Setup(
        task,
        spec.recipe,
        pruner,
        criterion or criterion_of(spec),
        streams or streams_of(spec),
        clock or clock_of(spec, pruner, len(task.train)),
        device,
        spec.replica,
        callbacks,
        reference,
        weights,
        execution,
    )


@dataclass
class Epoch:
    """An epoch under way: what a checkpoint between two of its steps must hold.

    Attributes:
        plan: What the pruner said.
        started: Samples trained before it.
        step: Steps done.
        planned: Samples that the whole epoch would train; known once it is laid out.
        visited: Positions chosen so far, by batch; batch-level methods only.
        trained: The part of them that this process trained.
        lr: Learning rate of the last of them.
        seconds: Time spent on it so far.
        generators: States of the global generators by device type, where it was paused.
    """

    plan: Plan
    started: int
    step: int = 0
    planned: int = 0
    visited: list[Tensor] = field(default_factory=list)
    trained: list[Tensor] = field(default_factory=list)
    lr: float = 0.0
    seconds: float = 0.0
    generators: dict[str, Tensor] = field(default_factory=dict)

    def pause(self, device: torch.device) -> None:
        """Notes the global generators, so that ``resume`` can go on from there."""
        self.generators = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            self.generators["cuda"] = torch.cuda.get_rng_state(device)

    def resume(self, device: torch.device) -> None:
        """Sets the global generators as they were; nothing for a fresh epoch."""
        if "cpu" in self.generators:
            torch.set_rng_state(self.generators["cpu"])
        if "cuda" in self.generators:
            torch.cuda.set_rng_state(self.generators["cuda"], device)


class Diverged(Exception):
    """The loss is no longer finite."""


def settle_algorithms(execution: ExecutionOptions, device: torch.device) -> None:
    """Has this process choose algorithms that repeat their bits, or any.

    Autotuning stays off either way: it would choose anew in every process.
    """
    if device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = execution.deterministic
    if execution.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(execution.deterministic)
