"""A whole training step recorded once and replayed: batch, forward, loss, tables, backward and
update as one CUDA graph.

A captured step reads its batch from buffers that stay where they are, finds it by a counter on the
device, and moves the counter on; the host fills the buffers with the next chunk of an epoch when
they are used up, and in between it only replays. Everything a step writes (weights, statistics,
optimiser state, tables) has fixed addresses too, so a later run of the same shape takes over the
captured step: its own state is copied in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, cast

import torch
from torch import Tensor

from prunebench.bench.inputs.view import Inputs
from prunebench.bench.train.capture.buffers import EpochBuffers
from prunebench.bench.train.capture.graph import Capture
from prunebench.bench.train.capture.input_dtype import input_dtype
from prunebench.bench.train.capture.keyed_streams import ParentStream
from prunebench.bench.train.capture.shadow import Shadow
from prunebench.bench.train.device_optimizers import OnDevice
from prunebench.bench.train.epoch_steps import EpochSteps
from prunebench.bench.train.setup import RunView
from prunebench.bench.train.step import StepBatch, Stepper
from prunebench.methods.base import BatchPruner
from prunebench.rng import Stream


class CapturableRun(RunView, Protocol):
    """A run whose steps may be captured; a captured step puts its own parts in their place.

    Attributes:
        stepper: Trains its network on one batch after the other.
    """

    stepper: Stepper


class Owner(Protocol):
    """Who lends a captured step to one run after the other."""

    def give(self, step: CapturedStep) -> None:
        """Takes it back."""


class CapturedStep:
    """One captured step and the buffers and state it works on.

    Nothing that it holds refers back to it, so that it is freed when nobody has it any more.

    Args:
        run: The run whose network, optimiser, criterion and tables it takes over.
        capture: How a step is recorded.
        kept: Samples that are trained of each batch, for batch-level methods; None for all.
        network: The forward pass of training, compiled or not.

    Attributes:
        key: Its shape, see ``pool.capture_key``.
        owner: Who gets it when the run is over; None where nobody does.
    """

    def __init__(
        self,
        run: CapturableRun,
        capture: Capture,
        kept: int | None,
        network: Callable[[Tensor], Tensor],
    ) -> None:
        self.stepper, self.network = run.stepper, network
        self.inputs = cast(Inputs, run.inputs)
        self.size, self.kept, self.capture = run.setup.recipe.batch_size, kept, capture
        self.pruner = cast(BatchPruner, run.setup.pruner)
        self.names = (self.pruner.draws or ()) if kept is not None else ()
        first = self.inputs.augmented_batches(run.sample_ids[: self.size], Stream(0))
        x = first.batch(0, self.size)
        scores = kept is not None and self.pruner.scoring_pass
        dtype = input_dtype(run.stepper, x, scores)
        self.buffers = EpochBuffers(run, x, dtype, kept or 0, self.names)
        self.shadow = Shadow(run.stepper, x.to(dtype), scores)
        self.key, self.owner = "", cast(Owner | None, None)
        try:
            self._record()
        except BaseException:
            self.optimizer.shadow([])
            self.drop()  # an exception would keep it
            raise

    @property
    def optimizer(self) -> OnDevice:
        """Of the network, in the form that can be captured."""
        return cast(OnDevice, self.stepper.optimizer)

    def state(self) -> list[Tensor]:
        """Everything that a step changes."""
        stepper = self.stepper
        tensors = [*stepper.model.state_dict().values(), *stepper.tables.floats().values()]
        for state in self.optimizer.state.values():
            tensors += state.values()
        return [*tensors, *stepper.criterion.state_dict().values()]

    @torch.no_grad()
    def _record(self) -> None:
        """Captures the step; the steps of the warm-up leave no trace in the state."""
        before = [tensor.detach().clone() for tensor in self.state()]
        self.stepper.model.train()
        try:
            with torch.enable_grad():
                self.capture.record(self.run, self.buffers.rewind)
        finally:
            for tensor, value in zip(self.state(), before, strict=True):
                tensor.detach().copy_(value)
            # A captured step owns the gradients it writes; eager ones make their own.
            params = (*self.stepper.model.parameters(), *self.optimizer.halves.values())
            self.held = [p.grad for p in params]
            self.optimizer.zero_grad(set_to_none=True)

    def run(self) -> None:
        """One step, from buffers to buffers: what is captured."""
        with self.shadow.lent():
            self._run()

    def _run(self) -> None:
        e, stepper, inputs = self.buffers, self.stepper, self.inputs
        torch.index_select(e.rates, 0, e.step, out=self.optimizer.rates.view(1, -1))
        (x, ids, weights, strong), k = e.batch(), self.size
        if self.kept is not None:
            k = self.kept
            keys = ParentStream(e.select_keys.index_select(0, e.step)[0], self.names)
            part = stepper.select(self.pruner, x, ids[0], ids[2], k, keys)
            x, ids, weights = x[part], ids.index_select(1, part), weights.index_select(0, part)
            strong = None if strong is None else strong.index_select(1, part)
            e.chosen.index_copy_(0, e.step, ids[:1])
        positions, sample_ids, labels = ids.unbind()
        second = None if strong is None else (inputs.pixels(sample_ids), strong)
        batch = StepBatch(x, positions, sample_ids, labels, weights, second)
        stepper.train(batch, k, self.network)
        e.step.add_(1)

    def load(self, epoch: EpochSteps, stream: Callable[[str, int], Stream], first: int) -> int:
        """Takes an epoch; see ``train.step.CapturedStep``."""
        k = self.size if self.kept is None else self.kept
        whole = [(stop - start, kept) == (self.size, k) for start, stop, kept in epoch.batches]
        count = (*whole[first:], False).index(False)
        if epoch.weights is not None and epoch.weights.dtype != torch.float32:
            count = 0
        if epoch.unmixed is not None:  # a replay averages no weights over what it chooses
            count = 0
        if count:
            self.buffers.begin(epoch, stream, first, count)
        return count

    def step(self) -> None:
        """Replays one step."""
        self.buffers.advance()
        self.capture.replay()

    def choices(self) -> Tensor | None:
        """Positions trained since the last call, of batch-level methods; None where there are
        none."""
        chosen = self.buffers.choices()
        return chosen if len(chosen) else None

    def release(self) -> None:
        """Called when the run is over; another may then take the step."""
        self.buffers.end()
        owner, self.owner = self.owner, None
        if owner is None:
            self.drop()
        else:
            owner.give(self)

    def drop(self) -> None:
        """Frees the graph, the buffers and the gradients at once; the step is of no further use."""
        vars(self).clear()

    @torch.no_grad()
    def bind(self, run: CapturableRun) -> bool:
        """Copies a run's state in and gives the run what the captured step works on.

        Returns:
            False where the criterion's state cannot be copied in place.
        """
        own = self.stepper
        if own is not run.stepper:
            places = _places(own.criterion.state_dict())
            own.criterion.load_state_dict(run.criterion.state_dict())
            if _places(own.criterion.state_dict()) != places:
                return False
            states = own.model.state_dict(), run.model.state_dict()
            for mine, new in zip(*(state.values() for state in states), strict=True):
                mine.copy_(new)
            self.optimizer.load_state_dict(run.optimizer.state_dict())
            run.sample_tables.rebind(own.tables.floats())
            if self.kept is not None:
                self._take_irreducible(cast(BatchPruner, run.setup.pruner))
        run.stepper, run.model = own, own.model
        run.optimizer, run.criterion = own.optimizer, own.criterion
        return True

    def _take_irreducible(self, pruner: BatchPruner) -> None:
        """The losses that the captured method reads become those of another run's method."""
        mine, new = self.pruner.view.irreducible, pruner.view.irreducible
        if mine is not None and new is not None:
            mine.copy_(new)


def _places(state: Mapping[str, Tensor]) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in state.items()}
