"""What one run holds: network, optimiser, inputs, tables, costs; and its forward passes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prunebench.bench.inputs.statistics import with_statistics
from prunebench.bench.inputs.streaming import Source, open_inputs
from prunebench.bench.networks.build import build_model
from prunebench.bench.networks.weights import start_from
from prunebench.bench.spec.recipe import head_classes
from prunebench.bench.train.device_optimizers import make_device_optimizer
from prunebench.bench.train.distributed.gradients import Reducer
from prunebench.bench.train.distributed.world import current
from prunebench.bench.train.evaluate import Readback, forward_all
from prunebench.bench.train.ledger import Ledger
from prunebench.bench.train.optimizers import make_optimizer
from prunebench.bench.train.sample_tables import SampleTables
from prunebench.bench.train.setup import Epoch, Setup, settle_algorithms
from prunebench.bench.train.step import Stepper, autocast
from prunebench.methods.base import BatchPruner, TrainView
from prunebench.rng import Stream

if TYPE_CHECKING:
    from prunebench.bench.train.capture.step import CapturedStep


class RunState:
    """State of one run at the end of an epoch, or between two steps of one."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.world = setup, current()
        task, recipe, device = setup.task, setup.recipe, setup.device
        settle_algorithms(setup.execution, device)
        raw = with_statistics(task.raw, recipe.normalise)
        self.half = recipe.precision == "bf16"
        channels_last = device.type == "cuda" or self.half
        augment = raw.augment if recipe.augment == "dataset" else recipe.augment
        shared = setup.on_device
        self.inputs = open_inputs(
            raw.train_x, raw, shared, augment=augment, pad=recipe.pad, device=device,
            channels_last=channels_last,
        )  # fmt: skip
        self.test_inputs = open_inputs(
            raw.test_x, raw, shared, device=device, channels_last=channels_last
        )
        self.test_sample_ids, self.test_labels = (
            part.to(device) for part in (task.test.sample_ids, task.test.labels)
        )
        self.sample_ids = task.train.sample_ids.to(device)
        self.labels = task.train.labels.to(device)
        if setup.reference is not None:
            self.reference_sample_ids, self.reference_labels = (
                part.to(device) for part in (setup.reference.sample_ids, setup.reference.labels)
            )
        self.model = self._build_model().to(device)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        make = make_device_optimizer if setup.on_device else make_optimizer
        self.optimizer: Optimizer = make(recipe, self.model.parameters())
        self.criterion = setup.criterion
        self.reducer = None if self.world.alone else Reducer(self.world, self.model, self.criterion)
        init = setup.streams.get("criterion")
        outputs = head_classes(recipe, raw.num_classes)
        self.criterion.begin(len(raw.train_x), outputs, device, init)
        view = TrainView(
            len(self.sample_ids),
            raw.num_classes,
            self.labels,
            recipe.epochs,
            setup.clock.ratio,
            device,
        )
        setup.pruner.begin(view)  # settles which tables are wanted
        wanted = setup.pruner.signals.union(*(o.signals for o in setup.callbacks))
        self.tables = SampleTables(
            len(self.sample_ids), setup.clock.max_epochs + 1, window=setup.pruner.window,
            signals=wanted, is_cross_entropy=self.criterion.is_cross_entropy,
            history=setup.pruner.history, device=device,
        )  # fmt: skip
        self.ledger = Ledger(
            target=setup.clock.target,
            num_samples=setup.clock.num_samples,
            full_epochs=recipe.epochs,
        )
        self.stepper = Stepper(
            self.model, self.optimizer, self.criterion, self.tables, self.inputs, self.half,
            self.world, self.reducer,
        )  # fmt: skip
        #: Whether samples are chosen within batches.
        self.selecting = isinstance(setup.pruner, BatchPruner) and setup.clock.ratio > 0
        self.epoch = 0
        self.now: Epoch | None = None  # set where a run was stopped between two steps
        self.stop: Callable[[], bool] = lambda: False
        self.graph: CapturedStep | None = None
        #: Why steps are not captured, on a device that could; empty where they are.
        self.not_captured_because = ""
        self.pending: list[tuple[dict[str, float | int | None], str, Readback]] = []
        self.table: list[dict[str, float | int | None]] = []
        self.kept_visits = torch.zeros(len(self.sample_ids), dtype=torch.int64, device=device)
        self.seconds: list[float] = []

    def _build_model(self) -> nn.Module:
        setup = self.setup
        stream = setup.streams.get("init")
        if setup.replica:
            stream = stream.child("replica", setup.replica)
        raw = setup.task.raw
        model = build_model(setup.recipe, raw.input_shape, raw.num_classes, stream)
        start_from(model, setup.recipe, setup.weights)
        return model

    def stream(self, name: str, step: int = 0) -> Stream:
        """The run's stream for a purpose in the present epoch."""
        stream = self.setup.streams.get(name, self.epoch, step)
        return stream.child("replica", self.setup.replica) if self.setup.replica else stream

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 where the recipe asks for it."""
        return autocast(self.half, self.setup.device)

    def test_logits(self) -> Tensor:
        """float32 [M, C] on the test split, eval mode, unaugmented view."""
        self.ledger.eval_forward += len(self.test_sample_ids)
        return self.forward(
            self.test_inputs,
            lambda ids: self.test_inputs.unaugmented_batches(ids).batch,
            self.test_sample_ids,
        )[0]

    def forward(
        self,
        inputs: Source,
        batches: Callable[[Tensor], Callable[[int, int], Tensor]],
        sample_ids: Tensor,
        features: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Logits and features of samples in eval mode, each process computing its part.

        Args:
            inputs: Where the samples lie.
            batches: Gives the batches of some samples, as a function of (start, stop).
            sample_ids: int64 [n].
            features: Whether the features are wanted too.

        Returns:
            float32 [n, C], and float32 [n, D] or None.
        """
        own = sample_ids[self.world.part(len(sample_ids))]
        logits, vectors = forward_all(
            self.model, len(own), batches(own), self.autocast(),
            features=features, size=inputs.eval_batch,
        )  # fmt: skip
        n = len(sample_ids)
        both = self.world.join(logits, n), None if vectors is None else self.world.join(vectors, n)
        return both

    def close(self) -> None:
        """Ends decoding processes and lets go of a captured step; the figures stay."""
        self.inputs.close()
        self.test_inputs.close()
        if self.graph is not None:
            self.graph.release()
            self.graph = None

    def test_accuracy(self) -> float:
        """Share of the test split that is classified right."""
        return self.test_readback().get()

    def test_readback(self) -> Readback:
        """The same, without waiting for it."""
        return Readback((self.test_logits().argmax(1) == self.test_labels).double().mean())

    def settle(self) -> None:
        """Fills in the figures of the per-epoch table that were on their way."""
        for row, name, figure in self.pending:
            row[name] = figure.get()
        self.pending.clear()
