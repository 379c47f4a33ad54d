"""The one training loop: static, dynamic and batch-level pruners, any criterion, CPU and CUDA.

Top to bottom: plan the epoch, order it, cut it to the budget, step through it, book the visits,
measure the reference, evaluate. Nothing is read back to the host inside the step loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn

from prunebench.bench.spec.recipe import schedule_point
from prunebench.bench.train.budget import batch_bounds, selected_counts, whole_batches
from prunebench.bench.train.capture.compile import compiled
from prunebench.bench.train.capture.pool import acquire_captured_step
from prunebench.bench.train.metrics import epoch_diagnostics
from prunebench.bench.train.optimizers import schedule, set_schedule
from prunebench.bench.train.plan_checks import check_plan
from prunebench.bench.train.setup import Diverged, Epoch
from prunebench.bench.train.state import RunState
from prunebench.bench.train.step import EpochSteps, StepBatch, StepGenerator, run_to_end
from prunebench.bench.train.stopping import Stopped
from prunebench.methods.base import BatchPruner, DynamicPruner


class Trainer(RunState):
    """One run; ``fit`` trains it to the end of its budget."""

    #: The training pass of whole batches where it is compiled and launched, not captured.
    network: Callable[[Tensor], Tensor] | None = None

    def fit(
        self,
        after_epoch: Callable[[Trainer], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Trains to the end of the budget, from wherever the state is.

        Args:
            after_epoch: Called after every epoch (checkpoints, progress).
            stop: Asked after every step; True leaves the state fit for a checkpoint.

        Raises:
            Diverged: The training loss is not finite.
            SkipCell: The budget cannot be reached.
            Stopped: ``stop`` said so.
        """
        with guarded(self.setup.device):
            run_to_end(self.steps(after_epoch, stop))

    def steps(
        self,
        after_epoch: Callable[[Trainer], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> StepGenerator[None]:
        """As ``fit``, giving way after every step; the caller guards torch's generators."""
        self.stop = stop
        if self.reducer is not None:
            self.reducer.begin(self.epoch)
        self.acquire_captured_step()
        try:
            yield from self._epochs(after_epoch)
        finally:
            self.settle()

    def acquire_captured_step(self) -> None:
        """Gets the captured step, on a device that can have one."""
        if self.setup.on_device and self.graph is None:
            self.graph, self.not_captured_because = acquire_captured_step(self)
        execution = self.setup.execution
        asked = execution.compile and execution.graph != "off" and not self.setup.on_device
        if asked and self.network is None and not self.not_captured_because:
            self.network, self.not_captured_because = compiled(self)

    def _epochs(self, after_epoch: Callable[[Trainer], None]) -> StepGenerator[None]:
        clock = self.setup.clock
        while self.now or not clock.finished(self.epoch, self.ledger.trained):
            start = time.perf_counter()
            now, self.now = self.now or self._begin(), None
            try:
                yield from self._epoch(now)
            finally:
                now.seconds += time.perf_counter() - start
            self.seconds.append(now.seconds)
            after_epoch(self)

    def _begin(self) -> Epoch:
        setup = self.setup
        # Dropout and the like read the global generator, which is forked for the run.
        torch.manual_seed(self.world.own(self.stream("torch")).key & 0x7FFFFFFFFFFFFFFF)
        if setup.pruner.reference and _at_start(setup.pruner):
            self._measure_reference()
        progress = setup.clock.progress(self.epoch, self.ledger.trained)
        plan = setup.pruner.plan(progress, self.tables, self.stream("pruner"))
        check_plan(plan, len(self.sample_ids), setup.pruner.name)
        return Epoch(plan, self.ledger.trained)

    def _epoch(self, now: Epoch) -> StepGenerator[None]:
        setup, clock, plan = self.setup, self.setup.clock, now.plan
        visited, lr = yield from self._steps_of_epoch(now)
        if self.reducer is not None:
            self.reducer.end_epoch()
        self.tables.close_epoch(visited, self.epoch)
        self.kept_visits.index_add_(0, visited, torch.ones_like(visited))
        self.ledger.epochs += 1
        if plan.forward_only is not None and len(plan.forward_only):
            self._rescore(plan.forward_only)
        if setup.pruner.reference and not _at_start(setup.pruner):
            self._measure_reference()
        if setup.device.type == "cuda":
            yield _event()
        self.settle()
        row: dict[str, float | int | None] = {
            "epoch": self.epoch,
            "trained": self.ledger.trained - now.started,
            "planned": now.planned,
            "lr": lr,
            **epoch_diagnostics(
                self.tables.loss, visited, setup.pruner.last_scores, setup.task.flipped
            ),
        }
        self.epoch += 1
        for observer in setup.callbacks:
            observer.epoch_end(self)
        every = setup.recipe.eval_every
        done = clock.finished(self.epoch, self.ledger.trained)
        row["test_accuracy"] = None
        if every and self.epoch % every == 0 and not done:
            self.pending.append((row, "test_accuracy", self.test_readback()))
        self.table.append(row)
        loss = row["train_loss"]
        if loss is not None and not math.isfinite(loss):
            raise Diverged(f"training loss is not finite in epoch {self.epoch - 1}")

    def _steps(self, now: Epoch) -> tuple[Tensor, float]:
        """Runs the optimiser over a plan; returns the positions visited and the last lr."""
        return run_to_end(self._steps_of_epoch(now))

    def _steps_of_epoch(self, now: Epoch) -> StepGenerator[tuple[Tensor, float]]:
        epoch, ledger, world = self._laid_out(now), self.ledger, self.world
        now.planned = epoch.planned
        now.resume(self.setup.device)
        self.model.train()
        replays = 0 if self.graph is None else self.graph.load(epoch, self, now.step)
        for step in range(now.step, len(epoch.batches)):
            start, stop, k = epoch.batches[step]
            if self.graph is not None and replays:
                self.graph.step()
                replays -= 1
            else:
                self._collect(now)
                self._eager(epoch, now, step)
            ledger.trained += k
            ledger.strong += k if self.criterion.views == 2 else 0
            ledger.scoring_forward += stop - start if self.selecting else 0
            now.step, now.lr = step + 1, epoch.rates[step][0]
            if world.alone and self.stop():
                self._collect(now)
                now.pause(self.setup.device)
                self.now = now
                raise Stopped
            yield None
        self._collect(now)
        ledger.steps += len(epoch.batches)
        positions = torch.cat(now.visited) if now.visited else epoch.order
        mine = torch.cat(now.trained) if now.visited else epoch.positions
        world.merge(self.tables.floats(), positions, mine)
        return positions, now.lr

    def _eager(self, epoch: EpochSteps, now: Epoch, step: int) -> None:
        """One step, launched operation by operation."""
        (start, stop, k), (a, b) = epoch.batches[step], epoch.bounds[step]
        set_schedule(self.optimizer, *epoch.rates[step])
        twice = self.criterion.views == 2
        x = epoch.inputs.batch(a - epoch.done, b - epoch.done)
        stored = epoch.inputs.pixels(a - epoch.done, b - epoch.done) if twice else None
        part: Any = slice(a, b)
        if self.selecting:
            positions = epoch.order[start:stop]
            pruner = cast(BatchPruner, self.setup.pruner)
            rng = self.stream("select", step)
            chosen = self.stepper.select(pruner, x, positions, self.labels[positions], k, rng)
            now.visited.append(positions[chosen])
            own = self.world.owned(chosen)
            x, stored, part = x[own], None if stored is None else stored[own], own + a
            now.trained.append(epoch.positions[part])
        weights = None if epoch.weights is None else epoch.weights[part]
        batch = StepBatch(
            x, epoch.positions[part], epoch.sample_ids[part], epoch.labels[part], weights, stored
        )
        whole = len(batch.x) == self.setup.recipe.batch_size
        self.stepper.train(batch, k, self.stream("strong"), self.network if whole else None)

    def _collect(self, now: Epoch) -> None:
        """Books what replayed steps of a batch-level method have trained."""
        chosen = None if self.graph is None else self.graph.choices()
        if chosen is not None:
            now.visited.append(chosen)
            now.trained.append(chosen)

    def _laid_out(self, now: Epoch) -> EpochSteps:
        """A plan in order, cut to the budget and into batches, with the rate of every step."""
        setup, clock, plan, started = self.setup, self.setup.clock, now.plan, now.started
        recipe, room = setup.recipe, clock.room(started)
        order = self.stream("order").bits(self.sample_ids[plan.indices]).argsort(stable=True)
        if recipe.drop_last:
            order = order[: whole_batches(len(order), recipe.batch_size)]
        positions = plan.indices[order]
        weights = None if plan.weights is None else plan.weights[order]
        planned = len(positions)
        if room is not None and not self.selecting:
            positions = positions[:room]
            weights = None if weights is None else weights[:room]
        self.world.agree(f"the plan of epoch {self.epoch}", (positions, weights, plan.forward_only))
        bounds = batch_bounds(len(positions), recipe.batch_size)
        if self.selecting:
            planned = sum(k for _, _, k in selected_counts(bounds, clock.ratio, None))
            batches = selected_counts(bounds, clock.ratio, room)
        else:
            batches = [(start, stop, stop - start) for start, stop in bounds]
        bounds = [(start, stop) for start, stop, _ in batches]
        local = positions[: bounds[-1][1]] if bounds else positions
        if not self.world.alone:
            mine, bounds = self.world.shares(bounds)
            mine = mine.to(positions.device)
            local, weights = positions[mine], None if weights is None else weights[mine]
        rate, rates, trained = schedule(recipe), [], started
        for step, (_, _, k) in enumerate(batches):
            point = schedule_point(recipe, step, len(batches), started, trained, clock.num_samples)
            rates.append(rate(clock.fraction(self.epoch, *point)))
            trained += k
        sample_ids, labels = self.sample_ids[local], self.labels[local]
        done = bounds[now.step - 1][1] if now.step else 0
        inputs = self.inputs.augmented_batches(sample_ids[done:], self.stream("augment"))
        return EpochSteps(
            batches, bounds, positions, local, sample_ids, labels, weights, inputs, done, rates,
            planned,
        )  # fmt: skip

    def _rescore(self, positions: Tensor) -> None:
        """Forward pass in eval mode on the augmented view; losses enter the tables (IES)."""
        sample_ids, labels = self.sample_ids[positions], self.labels[positions]
        stream = self.stream("augment")
        logits, _ = self.forward(
            self.inputs, lambda ids: self.inputs.augmented_batches(ids, stream).batch, sample_ids
        )
        losses = self.criterion.per_sample(logits, labels, sample_ids, None).detach()
        self.tables.write(positions, losses, logits, labels)
        self.tables.close_epoch(positions, self.epoch)
        self.ledger.forward_only += len(positions)

    def _measure_reference(self) -> None:
        """Mean loss of the reference set in eval mode on the unaugmented view, in float64."""
        if self.setup.reference is None:
            return
        sample_ids, labels = self.reference_sample_ids, self.reference_labels
        logits, _ = self.forward(
            self.inputs, lambda ids: self.inputs.unaugmented_batches(ids).batch, sample_ids
        )
        losses = self._cross_entropy(logits, labels, sample_ids)
        self.tables.reference_loss[self.epoch] = losses.double().mean()
        self.ledger.reference_forward += len(sample_ids)

    def _cross_entropy(self, logits: Tensor, labels: Tensor, sample_ids: Tensor) -> Tensor:
        if self.criterion.is_cross_entropy:
            return self.criterion.per_sample(logits, labels, sample_ids)
        return nn.functional.cross_entropy(logits, labels, reduction="none")


def guarded(device: torch.device) -> AbstractContextManager[None]:
    """Leaves torch's global generators as they are, whatever a run does to them."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _at_start(pruner: DynamicPruner) -> bool:
    scorer = getattr(pruner, "scorer", None)
    return getattr(scorer, "reference_at", "epoch_end") == "epoch_start"


def _event() -> torch.cuda.Event:
    """The end of what this stream has been given so far."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event
