"""What one training run is made of, who may look at it, and what they see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prunebench.bench.inputs.streaming import Source
from prunebench.bench.spec.execution import ExecutionOptions, check_deterministic
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.distributed.world import World
from prunebench.bench.train.generators import generator_states, set_generator_states
from prunebench.bench.train.ledger import Ledger
from prunebench.bench.train.sample_tables import SampleTables
from prunebench.bench.train.task import clock_of, criterion_of, streams_of
from prunebench.datasets.task import Split, Task
from prunebench.methods.base import Criterion, DynamicPruner, Plan
from prunebench.rng import Stream, Streams

CPU = torch.device("cpu")

#: One row of the per-epoch table.
LogRow = dict[str, float | int | None]


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
        weights: float [n], the factor on the loss of each trained sample, or None for 1; known
            when the last step is done.
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
    weights: Tensor | None = None

    def pause(self, device: torch.device) -> None:
        """Notes the global generators, so that ``resume`` can go on from there."""
        self.generators = generator_states(device)

    def resume(self, device: torch.device) -> None:
        """Sets the global generators as they were; nothing for a fresh epoch."""
        set_generator_states(self.generators, device)


@dataclass(frozen=True)
class Setup:
    """What one training run is made of; ``make_setup`` assembles it from a specification.

    Attributes:
        task: What is trained on.
        recipe: How.
        pruner: Which samples are trained when.
        criterion: Per-sample loss.
        streams: Random streams.
        clock: When the run ends.
        device: Where it is trained.
        replica: Which repeat of a scoring run it is; 0 for the first.
        callbacks: Who looks at the run; the numbers of their states in a checkpoint are their
            places here.
        reference: The reference samples, where the pruner measures them.
        weights: File of the weights to start from.
        execution: How steps are run.
        irreducible: float32 [N], losses of the training samples under the holdout model, where the
            pruner wants them.
    """

    task: Task
    recipe: Recipe
    pruner: DynamicPruner
    criterion: Criterion
    streams: Streams
    clock: Clock
    device: torch.device
    replica: int = 0
    callbacks: Sequence[Callback] = ()
    reference: Split | None = None
    weights: str = ""
    execution: ExecutionOptions = ExecutionOptions()
    irreducible: Tensor | None = None

    @property
    def on_device(self) -> bool:
        """Whether rates and optimiser live on the device, as a captured step needs them."""
        return self.device.type == "cuda" or self.execution.graph == "rehearse"


class RunView(Protocol):
    """What callbacks and the captured step may see of a run.

    Attributes:
        setup: What the run is made of.
        world: The processes that share it.
        inputs: The stored training samples.
        sample_ids: int64 [N], of the training split.
        labels: int64 [N].
        model: The network.
        optimizer: Of its parameters.
        criterion: Per-sample loss.
        sample_tables: Losses and signals by position.
        kept_visits: int64 [N], epochs in which each sample was trained.
        loss_weight: float64 [1 + marks], sums of the factors on the losses of all samples that
            were trained, of those with wrong labels and, where there are any, of those with
            corrupted images; NaN where a part of the run is not known.
        ledger: Costs so far.
        selecting: Whether samples are chosen within batches.
        epoch: Epochs done.
        epoch_log: One row for each of them.
        seconds: Time of each of them, callbacks left out.
        paused: The epoch under way, where the run was stopped between two steps.
    """

    setup: Setup
    world: World
    inputs: Source
    sample_ids: Tensor
    labels: Tensor
    model: nn.Module
    optimizer: Optimizer
    criterion: Criterion
    sample_tables: SampleTables
    kept_visits: Tensor
    loss_weight: Tensor
    ledger: Ledger
    selecting: bool
    epoch: int
    epoch_log: list[LogRow]
    seconds: list[float]
    paused: Epoch | None

    @property
    def over(self) -> bool:
        """Whether nothing is left to train."""

    def stream(self, name: str, step: int = 0) -> Stream:
        """The run's stream for a purpose in the present epoch."""

    def autocast(self) -> AbstractContextManager[None]:
        """The precision of forward passes."""

    def forward(
        self,
        inputs: Source,
        batches: Callable[[Tensor], Callable[[int, int], Tensor]],
        sample_ids: Tensor,
        features: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Logits and features of samples in eval mode."""

    def finish_readbacks(self) -> None:
        """Fills in the figures of the log that are on their way from the device."""


class Callback:
    """Looks at a run: checkpoints, evidence, losses, progress, early ending.

    ``trainer`` prints the loop with the place of every hook. A hook changes nothing of the run,
    and draws from streams of its own.
    """

    #: Signals that the per-sample tables must keep for it; see ``sample_tables.SIGNALS``.
    signals: frozenset[str] = frozenset()

    def step_end(self, run: RunView) -> bool | None:
        """Called after every step.

        Returns:
            True asks the run to stop here; where several processes share it, only the end of an
            epoch can.
        """

    def epoch_end(self, run: RunView) -> bool | None:
        """Called when ``run.epoch`` epochs are done.

        Returns:
            True asks the run to stop here.
        """

    def asked_to_stop(self, run: RunView) -> None:
        """Called where the run stops because a callback asked for it: it can go on from what
        is there now."""

    def state_dict(self) -> dict[str, Tensor]:
        """What must survive a restart."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Restores it.

        Args:
            state: What ``state_dict`` gave.
            epoch: Epochs that were done then.

        Raises:
            ValueError: It is not what this callback would hold by then.
        """


def make_setup(
    spec: RunSpec,
    task: Task,
    pruner: DynamicPruner,
    *,
    clock: Clock | None = None,
    criterion: Criterion | None = None,
    streams: Streams | None = None,
    device: torch.device = CPU,
    callbacks: Sequence[Callback] = (),
    reference: Split | None = None,
    weights: str = "",
    execution: ExecutionOptions = ExecutionOptions(),
    irreducible: Tensor | None = None,
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
        irreducible: float32 [N], losses under the holdout model, where the pruner wants them.

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
        irreducible,
    )


class Diverged(Exception):
    """The loss is no longer finite."""


def choose_algorithms(execution: ExecutionOptions, device: torch.device) -> None:
    """Has this process choose algorithms that repeat their bits, or any, and sets how it computes
    in fp32, whatever a plug-in has set: matrix products in fp32 on every device, convolutions of
    a card with inputs rounded to TF32, as torch's defaults are.

    Autotuning stays off either way: it would choose anew in every process.

    Raises:
        InputError: They shall repeat their bits, and the environment makes matrix products differ.
    """
    torch.set_float32_matmul_precision("highest")
    if device.type != "cuda":
        return
    torch.backends.cudnn.allow_tf32 = True
    if execution.deterministic:
        check_deterministic()
        # Else every ``torch.empty`` costs a kernel more.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = execution.deterministic
    if torch.are_deterministic_algorithms_enabled() != execution.deterministic:
        torch.use_deterministic_algorithms(execution.deterministic)  # it loads the compiler
