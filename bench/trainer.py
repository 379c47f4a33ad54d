"""The one training loop: static, dynamic and batch-level pruners, any criterion, CPU and CUDA.

Top to bottom: plan the epoch, order it, cut it to the budget, step through it, book the visits,
measure the reference, evaluate. Nothing is read back to the host inside the step loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from prunebench.bench.budget import batch_bounds, selected_counts, whole_batches
from prunebench.bench.compat import schedule_point
from prunebench.bench.diagnostics import epoch_diagnostics
from prunebench.bench.optim import schedule, set_schedule
from prunebench.bench.plans import check_plan, ordered_choice
from prunebench.bench.state import RunState
from prunebench.bench.stopping import Stopped
from prunebench.bench.strong import strong_view
from prunebench.bench.training import Diverged, Epoch
from prunebench.methods.base import Batch, BatchPruner, DynamicPruner


class Trainer(RunState):
    """One run; ``fit`` trains it to the end of its budget."""

    def fit(
        self,
        after_epoch: Callable[[Trainer], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Trains to the end of the budget, from wherever the state stands.

        Args:
            after_epoch: Called after every epoch (checkpoints, progress).
            stop: Asked after every step; True leaves the state fit for a checkpoint.

        Raises:
            Diverged: The training loss is not finite.
            SkipCell: The budget cannot be reached.
            Stopped: ``stop`` said so.
        """
        clock, self.stop = self.setup.clock, stop
        cuda = [self.setup.device] if self.setup.device.type == "cuda" else []
        if self.reducer is not None:
            self.reducer.begin(self.epoch)
        with torch.random.fork_rng(devices=cuda):
            while not clock.finished(self.epoch, self.ledger.trained):
                start = time.perf_counter()
                now, self.now = self.now or self._begin(), None
                try:
                    self._epoch(now)
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
        check_plan(plan, len(self.rows), setup.pruner.name)
        return Epoch(plan, self.ledger.trained)

    def _epoch(self, now: Epoch) -> None:
        setup, clock, plan = self.setup, self.setup.clock, now.plan
        visited, lr = self._steps(now)
        if self.reducer is not None:
            self.reducer.end_epoch()
        self.tables.close_epoch(visited, self.epoch)
        self.kept_visits.index_add_(0, visited, torch.ones_like(visited))
        self.ledger.epochs += 1
        if plan.forward_only is not None and len(plan.forward_only):
            self._rescore(plan.forward_only)
        if setup.pruner.reference and not _at_start(setup.pruner):
            self._measure_reference()
        row: dict[str, float | int | None] = {
            "epoch": self.epoch,
            "trained": self.ledger.trained - now.started,
            "lr": lr,
            **epoch_diagnostics(
                self.tables.loss, visited, setup.pruner.last_scores, setup.task.flipped
            ),
        }
        self.epoch += 1
        for observer in setup.observers:
            observer.epoch_end(self)
        every = setup.recipe.eval_every
        done = clock.finished(self.epoch, self.ledger.trained)
        row["test_accuracy"] = self.test_accuracy() if every and (
            self.epoch % every == 0 and not done
        ) else None  # fmt: skip
        self.table.append(row)
        loss = row["train_loss"]
        if loss is not None and not math.isfinite(loss):
            raise Diverged(f"training loss is not finite in epoch {self.epoch - 1}")

    def _steps(self, now: Epoch) -> tuple[Tensor, float]:
        """Runs the optimiser over a plan; returns the positions visited and the last lr."""
        setup, clock, ledger, plan = self.setup, self.setup.clock, self.ledger, now.plan
        recipe, started = setup.recipe, now.started
        room = clock.room(started)
        order = self.stream("order").bits(self.rows[plan.indices]).argsort(stable=True)
        if recipe.drop_last:
            order = order[: whole_batches(len(order), recipe.batch_size)]
        index = plan.indices[order]
        weights = None if plan.weights is None else plan.weights[order]
        pruner, world = setup.pruner, self.world
        selecting = isinstance(pruner, BatchPruner) and clock.ratio > 0
        if room is not None and not selecting:
            index = index[:room]
            weights = None if weights is None else weights[:room]
        world.agree(f"the plan of epoch {self.epoch}", (index, weights, plan.forward_only))
        bounds = batch_bounds(len(index), recipe.batch_size)
        batches = (
            selected_counts(bounds, clock.ratio, room)
            if selecting
            else [(start, stop, stop - start) for start, stop in bounds]
        )
        bounds = [(start, stop) for start, stop, _ in batches]
        local, local_weights = index[: bounds[-1][1]] if bounds else index, weights
        if not world.alone:
            mine, bounds = world.shares(bounds)
            mine = mine.to(index.device)
            local, local_weights = index[mine], None if weights is None else weights[mine]
        rows, labels = self.rows[local], self.labels[local]
        done = bounds[now.step - 1][1] if now.step else 0
        inputs = self.inputs.epoch(rows[done:], self.stream("augment"))
        rate = schedule(recipe)
        visited, trained = now.visited, now.trained
        lr = now.lr
        now.resume(self.setup.device)
        self.model.train()
        for step, ((start, stop, k), (a, b)) in enumerate(zip(batches, bounds, strict=True)):
            if step < now.step:
                continue
            point = schedule_point(
                recipe, step, len(batches), started, ledger.trained, clock.num_samples
            )
            lr, momentum = rate(clock.fraction(self.epoch, *point))
            set_schedule(self.optimizer, lr, momentum)
            x = inputs.batch(a - done, b - done)
            stored = inputs.pixels(a - done, b - done) if self.criterion.views == 2 else None
            part: Any = slice(a, b)
            if selecting:
                chosen = self._select(x, index[start:stop], k, step)
                visited.append(index[start:stop][chosen])
                own = world.owned(chosen)
                x, stored, part = x[own], None if stored is None else stored[own], own + a
                trained.append(local[part])
            self._step(x, stored, local[part], rows[part], labels[part],
                       None if local_weights is None else local_weights[part], k)  # fmt: skip
            ledger.trained += k
            if world.alone and self.stop():
                now.pause(step + 1, lr, setup.device)
                self.now = now
                raise Stopped
        ledger.steps += len(batches)
        index = torch.cat(visited) if visited else index
        world.merge(self.tables.floats(), index, torch.cat(trained) if visited else local)
        return index, lr

    def _step(
        self, x: Tensor, stored: Tensor | None, index: Tensor, rows: Tensor, labels: Tensor,
        weights: Tensor | None, k: int,
    ) -> None:  # fmt: skip
        """One optimiser step; of its k samples this process has those given."""
        if len(x):
            self._backward(x, stored, index, rows, labels, weights, k)
        else:
            self.optimizer.zero_grad(set_to_none=True)
        if self.reducer is not None:
            self.reducer.reduce()
        self.optimizer.step()
        self.criterion.step()

    def _backward(
        self, x: Tensor, stored: Tensor | None, index: Tensor, rows: Tensor, labels: Tensor,
        weights: Tensor | None, k: int,
    ) -> None:  # fmt: skip
        criterion = self.criterion
        if len(x) == 1:
            self.model.eval()  # one sample has no batch statistics
        strong = None
        with self.autocast():
            if criterion.views == 2:
                second = strong_view(self.inputs, rows, self.stream("strong"), stored)
                logits, strong = self.model(torch.cat([x, second])).float().split(len(x))
                self.ledger.strong += k
            else:
                logits = self.model(x).float()
        losses = criterion.per_sample(logits, labels, rows, strong)
        self.tables.write(index, losses.detach(), logits.detach(), labels)
        loss = losses.mean() if weights is None else (losses * weights).mean()
        if not self.world.alone:
            loss = (losses if weights is None else losses * weights).sum() / k
        extra = criterion.batch_term(logits, labels, rows, strong)
        if extra is not None:
            loss = loss + extra
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if len(x) == 1:
            self.model.train()

    @torch.no_grad()
    def _select(self, x: Tensor, index: Tensor, k: int, step: int) -> Tensor:
        """Scores a batch in eval mode and lets a batch-level method choose k of it.

        Args:
            x: Inputs of this process's share.
            index: int64 [B], positions of the whole batch.
            k: How many.
            step: Number of the batch.

        Returns:
            int64 [k], places in the batch, ascending.
        """
        pruner = cast(BatchPruner, self.setup.pruner)
        self.model.eval()
        with self.autocast():
            features = cast(Any, self.model).features(x)
            logits = cast(Any, self.model).head(features)
        self.model.train()
        n = len(index)
        self.ledger.scoring_forward += n
        logits, features = (self.world.weave(part.float(), n) for part in (logits, features))
        batch = Batch(logits, features, self.labels[index], index)
        chosen = pruner.select(batch, k, self.stream("select", step))
        return ordered_choice(chosen, k, n, pruner.name)

    def _rescore(self, index: Tensor) -> None:
        """Forward pass in eval mode on the augmented view; losses enter the tables (IES)."""
        rows, labels = self.rows[index], self.labels[index]
        stream = self.stream("augment")
        logits, _ = self.forward(self.inputs, lambda r: self.inputs.epoch(r, stream).batch, rows)
        losses = self.criterion.per_sample(logits, labels, rows, None).detach()
        self.tables.write(index, losses, logits, labels)
        self.tables.close_epoch(index, self.epoch)
        self.ledger.forward_only += len(index)

    def _measure_reference(self) -> None:
        """Mean loss of the reference set in eval mode on the clean view, in float64."""
        reference = self.setup.reference
        if reference is None:
            return
        rows = reference.rows.to(self.setup.device)
        labels = reference.labels.to(self.setup.device)
        logits, _ = self.forward(self.inputs, lambda r: self.inputs.plain(r).batch, rows)
        self.tables.reference_loss[self.epoch] = self._plain_loss(logits, labels).double().mean()
        self.ledger.reference_forward += len(rows)

    def _plain_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.criterion.plain:
            return self.criterion.per_sample(logits, labels, labels)
        return nn.functional.cross_entropy(logits, labels, reduction="none")


def _at_start(pruner: DynamicPruner) -> bool:
    scorer = getattr(pruner, "scorer", None)
    return getattr(scorer, "reference_at", "epoch_end") == "epoch_start"
