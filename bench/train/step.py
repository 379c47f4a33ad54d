"""One optimiser step: a batch forward, its losses into the tables, backward, update.

The same ``Stepper`` runs eagerly on every device and inside a captured graph: it reads the tensors
it is handed, writes tensors that stay where they are, and reads nothing back to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prunebench.bench.inputs.streaming import Source
from prunebench.bench.inputs.strong import strongly_varied
from prunebench.bench.train.distributed.gradients import Reducer
from prunebench.bench.train.distributed.world import World
from prunebench.bench.train.epoch_steps import EpochSteps
from prunebench.bench.train.plan_checks import ordered_choice
from prunebench.bench.train.sample_tables import SampleTables
from prunebench.methods.base import Batch, BatchPruner, Criterion
from prunebench.rng import Stream

T = TypeVar("T")


class Wait(Protocol):
    """Work under way on a device (``torch.cuda.Event``)."""

    def query(self) -> bool:
        """Whether it has ended."""

    def synchronize(self) -> None:
        """Waits for its end."""


#: Yields after every step of a run: None, or what the run has to wait for before it goes on.
StepGenerator = Generator[Wait | None, None, T]


def run_to_end(turns: StepGenerator[T]) -> T:
    """Runs to the end at once."""
    while True:
        try:
            wait = next(turns)
        except StopIteration as end:
            return cast(T, end.value)
        if wait is not None:
            wait.synchronize()


@dataclass(frozen=True)
class StepBatch:
    """What one step trains on; of a batch's samples this process has those given.

    Attributes:
        x: Network input [B, ...].
        positions: int64 [B], in the training split.
        sample_ids: int64 [B], row of each in ``RawData.train_x``, whatever is held out.
        labels: int64 [B].
        weights: float [B], or None for 1.
        second: The samples as stored and the draws of their second view (``strong_draws``), where
            the criterion wants one.
    """

    x: Tensor
    positions: Tensor
    sample_ids: Tensor
    labels: Tensor
    weights: Tensor | None = None
    second: tuple[Tensor, Tensor] | None = None


class CapturedStep(Protocol):
    """A training step that is recorded and replayed as a whole; see ``capture``."""

    def release(self) -> None:
        """Called when the run is over; another may then take the step."""

    def load(self, epoch: EpochSteps, stream: Callable[[str, int], Stream], first: int) -> int:
        """Takes an epoch.

        Args:
            epoch: What to train.
            stream: Gives the run's stream for a purpose in a step of the epoch.
            first: The step to begin with.

        Returns:
            How many steps from ``first`` on may be replayed; the others are launched.
        """

    def step(self) -> None:
        """Replays one step."""

    def choices(self) -> Tensor | None:
        """int64 [n], the positions trained since the last call; None but for batch-level
        methods."""


def work_so_far() -> Wait:
    """The end of what the current stream of a card has been given so far."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


class RunAhead:
    """Keeps the host a bounded number of steps ahead of a card.

    The host replays steps many times faster than the card runs them. Unbounded, it would fill the
    card's queue and then be held inside a launch, and the runs that are interleaved with it too;
    and a run that is asked to stop would first have to sit out an epoch. Half of the bound is
    always queued, so that the card has work while the host wakes up.

    Args:
        device: Where the steps run.
    """

    #: Steps between two events; the host is at most twice as many ahead.
    EVERY = 32

    def __init__(self, device: torch.device) -> None:
        self._bounded, self._steps = device.type == "cuda", 0
        self._noted: Wait | None = None

    def step(self) -> Wait | None:
        """Called after every step: what must have ended before the next one; mostly nothing."""
        self._steps += 1
        if not self._bounded or self._steps % self.EVERY:
            return None
        before, self._noted = self._noted, work_so_far()
        return before


def autocast(half: bool, device: torch.device) -> AbstractContextManager[None]:
    """bf16 where it is asked for."""
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()


class Stepper:
    """Trains a network on one batch after the other.

    Args:
        model: With ``features`` and ``head``.
        optimizer: Of its parameters.
        criterion: Per-sample loss, begun.
        tables: What every step writes.
        inputs: Where second views come from.
        half: Whether the forward pass is in bf16.
        world: The processes that share the run.
        reducer: Sums their gradients.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        criterion: Criterion,
        tables: SampleTables,
        inputs: Source,
        half: bool,
        world: World,
        reducer: Reducer | None = None,
    ) -> None:
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.tables, self.inputs, self.half = tables, inputs, half
        self.world, self.reducer = world, reducer

    def train(
        self,
        batch: StepBatch,
        k: int,
        network: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """One optimiser step.

        Args:
            batch: This process's share.
            k: Samples of the whole batch.
            network: The model's forward pass in another form (compiled); None for its own.
        """
        if len(batch.x):
            self._backward(batch, k, self.model if network is None else network)
        else:
            self.optimizer.zero_grad(set_to_none=True)
        if self.reducer is not None:
            self.reducer.reduce()
        self.optimizer.step()
        self.criterion.step()

    def _backward(self, batch: StepBatch, k: int, network: Callable[[Tensor], Tensor]) -> None:
        criterion, x, sample_ids, labels = self.criterion, batch.x, batch.sample_ids, batch.labels
        if len(x) == 1:
            self.model.eval()  # one sample has no batch statistics
        other = None
        with autocast(self.half, x.device):
            if batch.second is not None:
                second = strongly_varied(self.inputs, *batch.second)
                logits, other = torch.split(
                    network(torch.cat([x, second.to(x.dtype)])).float(), len(x)
                )
            else:
                logits = network(x).float()
        losses = criterion.per_sample(logits, labels, sample_ids, other)
        self.tables.write(batch.positions, losses.detach(), logits.detach(), labels)
        weights = batch.weights
        loss = losses.mean() if weights is None else (losses * weights).mean()
        if not self.world.is_single:
            loss = (losses if weights is None else losses * weights).sum() / k
        extra = criterion.batch_term(logits, labels, sample_ids, other)
        if extra is not None:
            loss = loss + extra
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if len(x) == 1:
            self.model.train()

    @torch.no_grad()
    def select(
        self, pruner: BatchPruner, x: Tensor, positions: Tensor, labels: Tensor, k: int, rng: Stream
    ) -> Tensor:
        """Lets a batch-level method choose k of a batch, scored in eval mode where it wants that.

        Args:
            pruner: The method.
            x: Inputs of this process's share.
            positions: int64 [B], of the whole batch.
            labels: int64 [B], its labels.
            k: How many.
            rng: The method's draws.

        Returns:
            int64 [k], places in the batch, ascending.
        """
        n = len(positions)
        logits = features = torch.empty((n, 0), dtype=torch.float32, device=x.device)
        if pruner.scoring_pass:
            net = cast(Any, self.model)
            net.eval()
            with autocast(self.half, x.device):
                features = net.features(x)
                logits = net.head(features)
            net.train()
            logits, features = (
                self.world.gather_interleaved(part.float(), n) for part in (logits, features)
            )
        chosen = pruner.select(Batch(logits, features, labels, positions), k, rng)
        return ordered_choice(chosen, k, n, pruner.name)
