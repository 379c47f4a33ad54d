"""The one training loop: static, dynamic and batch-level pruners, any criterion, CPU and CUDA.

What happens, in order, with every hook of a ``Callback`` (marked >)::

    while the budget is not used up:
        measure the reference set, where the pruner wants it at the start of an epoch
        plan, check and lay out the epoch: order it, cut it to the budget and into batches, average
            weights over batches and put a factor on the learning rates, where the plan asks for it
        for every batch:
            set the learning rate and the momentum
            score the batch and choose samples of it (batch-level pruners; not where it is trained
                whole, and no scores where the pruner reads none)
            forward, losses into the per-sample tables, backward, optimiser, criterion
          > callback.step_end(run)
            if a callback said so: pause the epoch
          >     callback.asked_to_stop(run), then Stopped is raised
        note mean losses of batches, visits and loss weights
        re-score what the plan wants scored without training (IES)
        measure the reference set, where the pruner wants it at the end of an epoch
        evaluate on the test split, and on training labels, where the recipe says so
        add the epoch to the log
      > callback.epoch_end(run)
        if the loss is not finite: Diverged is raised
        if a callback said so:
      >     callback.asked_to_stop(run), then Stopped is raised

Nothing is read back to the host between two steps of an epoch. A step may be replayed as a whole
instead of launched operation by operation (``capture``), and several processes may
share a run (``distributed``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prunebench.bench.inputs.statistics import with_statistics
from prunebench.bench.inputs.streaming import Source, open_inputs
from prunebench.bench.inputs.strong import strong_draws
from prunebench.bench.networks.build import build_model, freeze_body
from prunebench.bench.networks.weights import start_from
from prunebench.bench.spec.recipe import head_classes
from prunebench.bench.train.capture.compile import compiled
from prunebench.bench.train.capture.pool import acquire_captured_step
from prunebench.bench.train.device_optimizers import make_device_optimizer
from prunebench.bench.train.distributed.gradients import Reducer
from prunebench.bench.train.distributed.world import current
from prunebench.bench.train.epoch_steps import EpochSteps, lay_out
from prunebench.bench.train.evaluate import Readback, forward_all
from prunebench.bench.train.label_fit import COLUMNS, LabelFit
from prunebench.bench.train.ledger import Ledger
from prunebench.bench.train.loss_weight import batch_means, loss_weights
from prunebench.bench.train.metrics import EpochFigures, marks_of, weight_sums
from prunebench.bench.train.optimizers import make_optimizer, set_schedule
from prunebench.bench.train.plan_checks import check_plan
from prunebench.bench.train.sample_tables import SampleTables
from prunebench.bench.train.setup import Diverged, Epoch, LogRow, Setup, choose_algorithms
from prunebench.bench.train.step import (
    CapturedStep,
    RunAhead,
    StepBatch,
    StepGenerator,
    Stepper,
    autocast,
    run_to_end,
    work_so_far,
)
from prunebench.bench.train.stopping import Stopped
from prunebench.datasets.task import Split
from prunebench.methods.base import BatchPruner, DynamicPruner, TrainView
from prunebench.rng import Stream


class Trainer:
    """One run: its state at the end of an epoch or between two steps of one, and its loop.

    Callbacks and the captured step see it as a ``RunView``.

    Args:
        setup: What it is made of.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, self.world = setup, current()
        task, recipe, device = setup.task, setup.recipe, setup.device
        choose_algorithms(setup.execution, device)
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
        self.sample_ids, self.labels = _on(task.train, device)
        self.marks = marks_of(task, device)
        looked_at = setup.streams.get("label-fit")
        self.label_fit = LabelFit.of(task, recipe.label_fit, looked_at, device)
        self.test_sample_ids, self.test_labels = _on(task.test, device)
        if setup.reference is not None:
            self.reference_sample_ids, self.reference_labels = _on(setup.reference, device)

        self.model = self._build_model().to(device)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        make = make_device_optimizer if setup.on_device else make_optimizer
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer: Optimizer = make(recipe, trained)
        self.criterion = setup.criterion
        single = self.world.is_single
        self.reducer = None if single else Reducer(self.world, self.model, self.criterion)
        outputs = head_classes(recipe, raw.num_classes)
        self.criterion.begin(len(raw.train_x), outputs, device, setup.streams.get("criterion"))
        n = len(self.sample_ids)
        held = setup.irreducible
        setup.pruner.begin(  # which decides on the tables that are wanted
            TrainView(
                n, raw.num_classes, self.labels, recipe.epochs, setup.clock.ratio, device,
                None if held is None else held.clone().to(device),
            )
        )  # fmt: skip
        #: Whether samples are chosen within batches.
        self.selecting = isinstance(setup.pruner, BatchPruner) and setup.clock.ratio > 0

        self.sample_tables = SampleTables(
            n, setup.clock.max_epochs + 1, window=setup.pruner.window,
            signals=setup.pruner.signals.union(*(c.signals for c in setup.callbacks)),
            num_classes=outputs, is_cross_entropy=self.criterion.is_cross_entropy,
            history=setup.pruner.history, device=device,
        )  # fmt: skip
        self.kept_visits = torch.zeros(n, dtype=torch.int64, device=device)
        self.loss_weight = torch.zeros(1 + len(self.marks), dtype=torch.float64, device=device)
        target, num_samples = setup.clock.target, setup.clock.num_samples
        self.ledger = Ledger(target=target, num_samples=num_samples, full_epochs=recipe.epochs)
        self.epoch = 0
        self.epoch_log: list[LogRow] = []
        self.seconds: list[float] = []
        #: Figures of the log that are on their way from the device.
        self.readbacks: list[tuple[LogRow, str, Readback]] = []
        #: The epoch under way, where the run was stopped between two steps.
        self.paused: Epoch | None = None

        self.stepper = Stepper(
            self.model, self.optimizer, self.criterion, self.sample_tables, self.inputs,
            self.half, self.world, self.reducer,
        )  # fmt: skip
        self.captured_step: CapturedStep | None = None
        #: The training pass of whole batches where it is compiled and launched, not captured.
        self.network: Callable[[Tensor], Tensor] | None = None
        #: Why steps are not captured, on a device that could; empty where they are.
        self.not_captured_because = ""

    def _build_model(self) -> nn.Module:
        setup, raw = self.setup, self.setup.task.raw
        stream = setup.streams.get("init")
        if setup.replica:
            stream = stream.child("replica", setup.replica)
        model = build_model(setup.recipe, raw.input_shape, raw.num_classes, stream)
        start_from(model, setup.recipe, setup.weights)
        if setup.recipe.train == "head":
            freeze_body(model, setup.recipe)
        return model

    def fit(self) -> None:
        """Trains to the end of the budget, from wherever the state is.

        Raises:
            Diverged: The training loss is not finite.
            SkipCell: The budget cannot be reached.
            Stopped: A callback asked for it; the run can go on from its state.
        """
        with guarded(self.setup.device):
            run_to_end(self.steps())

    def steps(self) -> StepGenerator[None]:
        """As ``fit``, yielding after every step; the caller guards torch's generators."""
        if self.reducer is not None:
            self.reducer.begin(self.epoch)
        self.acquire_captured_step()
        clock = self.setup.clock
        try:
            while self.paused or not clock.finished(self.epoch, self.ledger.trained):
                yield from self.epoch_steps()
        finally:
            self.finish_readbacks()

    def acquire_captured_step(self) -> None:
        """Gets the captured step, on a device that can have one, or the compiled network."""
        if self.setup.on_device and self.captured_step is None:
            self.captured_step, self.not_captured_because = acquire_captured_step(self)
        execution = self.setup.execution
        asked = execution.compile and execution.graph != "off" and not self.setup.on_device
        if asked and self.network is None and not self.not_captured_because:
            self.network, self.not_captured_because = compiled(self)

    def epoch_steps(self) -> StepGenerator[None]:
        """One epoch, or what is left of a paused one.

        Raises:
            Diverged: The training loss is not finite.
            Stopped: A callback asked for it.
        """
        setup, start = self.setup, time.perf_counter()
        epoch, self.paused = self.paused or self.plan_epoch(), None
        visited = yield from self.train_steps(epoch)
        if visited is None:
            epoch.seconds += time.perf_counter() - start
            self.paused = epoch
            self._stop()
        if self.reducer is not None:
            self.reducer.end_epoch()
        self.sample_tables.close_epoch(visited, self.epoch)
        self.kept_visits.index_add_(0, visited, torch.ones_like(visited))
        self.loss_weight += weight_sums(visited, self.marks, epoch.weights)
        self.ledger.epochs += 1
        if epoch.plan.forward_only is not None and len(epoch.plan.forward_only):
            self._rescore(epoch.plan.forward_only)
        if setup.pruner.reference and not _reference_at_start(setup.pruner):
            self._measure_reference()
        figures = EpochFigures(
            self.sample_tables.loss, visited, setup.pruner.last_scores, self.marks,
            epoch.weights,
        )  # fmt: skip
        if setup.device.type == "cuda":
            yield work_so_far()
        self.finish_readbacks()
        row: LogRow = {
            "epoch": self.epoch,
            "trained": self.ledger.trained - epoch.started,
            "planned": epoch.planned,
            "lr": epoch.lr,
            **figures.row(),
            "test_accuracy": None,
            "spent": self.ledger.spent,
        }
        if epoch.plan.lr_factor != 1:
            row["lr_factor"] = float(epoch.plan.lr_factor)
        if self.label_fit is not None:
            row |= dict.fromkeys(COLUMNS)
        self.epoch += 1
        over = setup.clock.finished(self.epoch, self.ledger.trained)
        every = setup.recipe.eval_every
        if every and self.epoch % every == 0 and not over:
            self.readbacks.append((row, "test_accuracy", self.test_readback()))
            self.readbacks += [(row, *figure) for figure in self.label_fit_readbacks()]
            if setup.device.type == "cuda":
                yield work_so_far()  # a checkpoint and the next plan come after it
        self.epoch_log.append(row)
        self.seconds.append(epoch.seconds + time.perf_counter() - start)
        stop = [callback.epoch_end(self) for callback in setup.callbacks]
        if self.diverged:
            raise Diverged(f"training loss is not finite in epoch {self.epoch - 1}")
        if any(stop) and not over:
            self._stop()

    def plan_epoch(self) -> Epoch:
        """The next epoch, as the pruner plans it.

        Raises:
            PlanError: The plan breaks its contract.
        """
        pruner = self.setup.pruner
        # Dropout and the like read the global generator, which is forked for the run.
        torch.manual_seed(self.world.rank_stream(self.stream("torch")).key & 0x7FFFFFFFFFFFFFFF)
        if pruner.reference and _reference_at_start(pruner):
            self._measure_reference()
        progress = self.setup.clock.progress(self.epoch, self.ledger.trained)
        plan = pruner.plan(progress, self.sample_tables, self.stream("pruner"))
        check_plan(plan, len(self.sample_ids), pruner.name)
        return Epoch(plan, self.ledger.trained)

    def train_steps(self, epoch: Epoch) -> StepGenerator[Tensor | None]:
        """Runs the optimiser over a plan.

        Returns:
            int64 [n], the positions that were trained; None where a callback stopped the run
            before the last of them.
        """
        steps, ledger = lay_out(self, epoch), self.ledger
        epoch.planned = steps.planned
        epoch.resume(self.setup.device)
        self.model.train()
        captured, replays = self.captured_step, 0
        if captured is not None:
            replays = captured.load(steps, self.stream, epoch.step)
        ahead = RunAhead(self.setup.device)
        for step in range(epoch.step, len(steps.batches)):
            start, stop, k = steps.batches[step]
            if captured is not None and replays:
                captured.step()
                replays -= 1
            else:
                self._collect_choices(epoch)
                self._launch_step(steps, epoch, step)
            ledger.trained += k
            ledger.strong += k if self.criterion.views == 2 else 0
            ledger.scoring_forward += stop - start if self._scores(stop - start, k) else 0
            epoch.step, epoch.lr = step + 1, steps.rates[step][0]
            asked = [callback.step_end(self) for callback in self.setup.callbacks]
            if any(asked) and self.world.is_single:
                self._collect_choices(epoch)
                epoch.pause(self.setup.device)
                return None
            yield ahead.step()
        self._collect_choices(epoch)
        ledger.steps += len(steps.batches)
        visited = torch.cat(epoch.visited) if epoch.visited else steps.order
        own = torch.cat(epoch.trained) if epoch.visited else steps.positions
        self.world.merge(self.sample_tables.floats(), visited, own)
        sizes = [k for _, _, k in steps.batches]
        self.sample_tables.close_batches(visited, sizes)
        epoch.weights = loss_weights(epoch.plan, visited, sizes, len(self.sample_ids))
        return visited

    def _scores(self, size: int, k: int) -> bool:
        """Whether a batch is scored before k of its samples are trained."""
        pruner = self.setup.pruner
        chooses = self.selecting and k < size
        return chooses and isinstance(pruner, BatchPruner) and pruner.scoring_pass

    def _launch_step(self, steps: EpochSteps, epoch: Epoch, step: int) -> None:
        """One step, launched operation by operation."""
        (start, stop, k), (a, b) = steps.batches[step], steps.bounds[step]
        set_schedule(self.optimizer, *steps.rates[step])
        twice = self.criterion.views == 2
        x = steps.inputs.batch(a - steps.done, b - steps.done)
        stored = steps.inputs.pixels(a - steps.done, b - steps.done) if twice else None
        part, chosen = cast(Any, slice(a, b)), cast(Any, slice(None))
        positions = steps.order[start:stop]
        if self.selecting and k < stop - start:
            pruner, rng = cast(BatchPruner, self.setup.pruner), self.stream("select", step)
            chosen = self.stepper.select(pruner, x, positions, self.labels[positions], k, rng)
            own = self.world.owned(chosen)
            x, stored, part = x[own], None if stored is None else stored[own], own + a
        if self.selecting:
            epoch.visited.append(positions[chosen])
            epoch.trained.append(steps.positions[part])
        weights = None if steps.weights is None else steps.weights[part]
        if steps.unmixed is not None:
            weights = batch_means(steps.unmixed[start:stop][chosen], [k])[: len(x)]
        sample_ids, second = steps.sample_ids[part], None
        if stored is not None:
            second = stored, strong_draws(self.inputs, sample_ids, self.stream("strong"))
        batch = StepBatch(x, steps.positions[part], sample_ids, steps.labels[part], weights, second)
        whole = len(batch.x) == self.setup.recipe.batch_size
        self.stepper.train(batch, k, self.network if whole else None)

    def _collect_choices(self, epoch: Epoch) -> None:
        """Notes what replayed steps of a batch-level method have trained."""
        chosen = None if self.captured_step is None else self.captured_step.choices()
        if chosen is not None:
            epoch.visited.append(chosen)
            epoch.trained.append(chosen)

    def _stop(self) -> NoReturn:
        """Ends the run before its time; callbacks save what it can go on from."""
        for callback in self.setup.callbacks:
            callback.asked_to_stop(self)
        raise Stopped

    def _rescore(self, positions: Tensor) -> None:
        """Forward pass in eval mode on the augmented view; losses enter the tables (IES)."""
        sample_ids, labels = self.sample_ids[positions], self.labels[positions]
        stream = self.stream("augment")
        logits, _ = self.forward(
            self.inputs, lambda ids: self.inputs.augmented_batches(ids, stream).batch, sample_ids
        )
        losses = self.criterion.per_sample(logits, labels, sample_ids, None).detach()
        self.sample_tables.write(positions, losses, logits, labels)
        self.sample_tables.close_epoch(positions, self.epoch)
        self.ledger.forward_only += len(positions)

    def _measure_reference(self) -> None:
        """Mean cross-entropy of the reference set in eval mode on the unaugmented view, summed in
        float64."""
        if self.setup.reference is None:
            return
        sample_ids, labels = self.reference_sample_ids, self.reference_labels
        logits, _ = self.forward(
            self.inputs, lambda ids: self.inputs.unaugmented_batches(ids).batch, sample_ids
        )
        if self.criterion.is_cross_entropy:
            losses = self.criterion.per_sample(logits, labels, sample_ids)
        else:
            losses = nn.functional.cross_entropy(logits, labels, reduction="none")
        self.sample_tables.reference_loss[self.epoch] = losses.double().mean()
        self.ledger.reference_forward += len(sample_ids)

    def stream(self, name: str, step: int = 0) -> Stream:
        """The run's stream for a purpose in the present epoch."""
        stream = self.setup.streams.get(name, self.epoch, step)
        return stream.child("replica", self.setup.replica) if self.setup.replica else stream

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 where the recipe asks for it."""
        return autocast(self.half, self.setup.device)

    def forward(
        self,
        inputs: Source,
        batches: Callable[[Tensor], Callable[[int, int], Tensor]],
        sample_ids: Tensor,
        features: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Logits and features of samples in eval mode, each process computing its part.

        Args:
            inputs: Where the samples are stored.
            batches: Gives the batches of some samples, as a function of (start, stop).
            sample_ids: int64 [n].
            features: Whether the features are wanted too.

        Returns:
            float32 [n, C], and float32 [n, D] or None.
        """
        n = len(sample_ids)
        own = sample_ids[self.world.part(n)]
        logits, vectors = forward_all(
            self.model, len(own), batches(own), self.autocast(),
            features=features, size=inputs.eval_batch,
        )  # fmt: skip
        gathered = self.world.gather_rows(logits, n)
        return gathered, None if vectors is None else self.world.gather_rows(vectors, n)

    def test_logits(self) -> Tensor:
        """float32 [M, C] on the test split, eval mode, unaugmented view."""
        self.ledger.eval_forward += len(self.test_sample_ids)
        inputs = self.test_inputs
        return self.forward(
            inputs, lambda ids: inputs.unaugmented_batches(ids).batch, self.test_sample_ids
        )[0]

    def test_readback(self) -> Readback:
        """Share of the test split that is classified right, not waited for."""
        return Readback((self.test_logits().argmax(1) == self.test_labels).double().mean())

    def label_fit_readbacks(self) -> list[tuple[str, Readback]]:
        """What ``label_fit`` says of the network, not waited for; empty where the recipe does not
        ask for it. Eval mode, unaugmented view."""
        if self.label_fit is None:
            return []
        ids = self.label_fit.sample_ids
        self.ledger.eval_forward += len(ids)
        logits, _ = self.forward(
            self.inputs, lambda ids: self.inputs.unaugmented_batches(ids).batch, ids
        )
        return list(self.label_fit.figures(logits).items())

    def test_accuracy(self) -> float:
        """The same, waited for."""
        return self.test_readback().get()

    def finish_readbacks(self) -> None:
        """Fills in the figures of the log that were on their way."""
        for row, name, figure in self.readbacks:
            row[name] = figure.get()
        self.readbacks.clear()

    @property
    def diverged(self) -> bool:
        """Whether the training loss of the last epoch is not finite."""
        loss = self.epoch_log[-1]["train_loss"] if self.epoch_log else None
        return loss is not None and not math.isfinite(loss)

    @property
    def over(self) -> bool:
        """Whether nothing is left to train.

        Raises:
            SkipCell: The budget cannot be reached.
        """
        return self.diverged or self.setup.clock.finished(self.epoch, self.ledger.trained)

    def close(self) -> None:
        """Ends decoding processes and releases the captured step; the figures stay."""
        self.inputs.close()
        self.test_inputs.close()
        if self.captured_step is not None:
            self.captured_step.release()
            self.captured_step = None


def guarded(device: torch.device) -> AbstractContextManager[None]:
    """Leaves torch's global generators as they are, whatever a run does to them."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _on(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    return split.sample_ids.to(device), split.labels.to(device)


def _reference_at_start(pruner: DynamicPruner) -> bool:
    scorer = getattr(pruner, "scorer", None)
    return getattr(scorer, "reference_at", "epoch_end") == "epoch_start"
