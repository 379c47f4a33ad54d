"""An epoch laid out: the plan in order, cut to the budget and into batches, each with its rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from prunebench.bench.inputs.view import Batches
from prunebench.bench.spec.recipe import Recipe, schedule_point
from prunebench.bench.train.budget import Clock, batch_bounds, selected_counts, whole_batches
from prunebench.bench.train.loss_weight import batch_means
from prunebench.bench.train.plan_checks import shares_of
from prunebench.bench.train.schedules import schedule
from prunebench.bench.train.setup import Epoch, RunView
from prunebench.methods.base import BatchPruner, Plan
from prunebench.rng import Stream


@dataclass(frozen=True)
class EpochSteps:
    """One epoch as the step loop sees it.

    Attributes:
        batches: (start, stop, k) of each batch in ``order``; k of its samples are trained.
        bounds: (start, stop) of each batch among this process's own samples.
        order: int64 [n], positions in the training split.
        positions: int64 [m], those of this process; ``sample_ids``, ``labels`` and ``weights``
            likewise.
        sample_ids: int64 [m].
        labels: int64 [m].
        weights: float [m], or None for 1; means of batches, where the plan asks for them.
        unmixed: float [n], weights by place in ``order`` that are still to be averaged over what
            is chosen of a batch; None where nothing is.
        inputs: Network input of those from ``done`` on.
        done: How many of them an earlier part of the epoch has trained.
        rates: (learning rate, momentum) of each step.
        planned: Samples that the whole epoch would train; the budget may cut the last epoch.
    """

    batches: list[tuple[int, int, int]]
    bounds: list[tuple[int, int]]
    order: Tensor
    positions: Tensor
    sample_ids: Tensor
    labels: Tensor
    weights: Tensor | None
    unmixed: Tensor | None
    inputs: Batches
    done: int
    rates: list[tuple[float, float]]
    planned: int


def in_order(plan: Plan, sample_ids: Tensor, stream: Stream) -> tuple[Tensor, Tensor | None]:
    """A plan's samples in the order in which they are trained, drawn for each sample by itself.

    Args:
        plan: The plan.
        sample_ids: int64 [N], by which the order is drawn.
        stream: Of the epoch's order.

    Returns:
        Positions int64 [n], and their weights or None.
    """
    order = stream.bits(sample_ids[plan.indices]).argsort(stable=True)
    return plan.indices[order], None if plan.weights is None else plan.weights[order]


def lay_out(run: RunView, epoch: Epoch) -> EpochSteps:
    """The steps of an epoch.

    Args:
        run: At the begin of the epoch, or where it was paused.
        epoch: Its plan, and the steps that are done.

    Raises:
        Lost: Another process of the run has another plan.
    """
    plan, recipe, clock = epoch.plan, run.setup.recipe, run.setup.clock
    positions, weights = in_order(plan, run.sample_ids, run.stream("order"))
    if recipe.drop_last:
        whole = whole_batches(len(positions), recipe.batch_size)
        positions, weights = positions[:whole], None if weights is None else weights[:whole]

    planned, room = len(positions), clock.room(epoch.started)
    if room is not None and not run.selecting:
        positions = positions[:room]
        weights = None if weights is None else weights[:room]
    said = (positions, weights, plan.forward_only, plan.lr_factor, plan.batch_weights)
    run.world.agree(f"the plan of epoch {run.epoch}", said)
    bounds, unmixed = batch_bounds(len(positions), recipe.batch_size), None
    if run.selecting:
        progress = clock.progress(run.epoch, epoch.started)
        shares = shares_of(cast(BatchPruner, run.setup.pruner), progress, range(len(bounds)))
        planned = sum(k for _, _, k in selected_counts(bounds, clock.ratio, None, shares))
        batches = selected_counts(bounds, clock.ratio, room, shares)
        unmixed = weights if plan.batch_weights else None
    else:
        batches = [(start, stop, stop - start) for start, stop in bounds]
        if plan.batch_weights and weights is not None and bounds:
            weights = batch_means(weights, [k for _, _, k in batches])

    bounds = [(start, stop) for start, stop, _ in batches]
    own = positions[: bounds[-1][1]] if bounds else positions
    if not run.world.is_single:
        mine, bounds = run.world.shares(bounds)
        mine = mine.to(positions.device)
        own, weights = positions[mine], None if weights is None else weights[mine]
    sample_ids = run.sample_ids[own]
    done = bounds[epoch.step - 1][1] if epoch.step else 0
    return EpochSteps(
        batches,
        bounds,
        positions,
        own,
        sample_ids,
        run.labels[own],
        weights,
        unmixed,
        run.inputs.augmented_batches(sample_ids[done:], run.stream("augment")),
        done,
        rates(recipe, clock, run.epoch, epoch.started, [k for _, _, k in batches], plan.lr_factor),
        planned,
    )


def rates(
    recipe: Recipe,
    clock: Clock,
    epoch: int,
    started: int,
    sizes: list[int],
    factor: float = 1.0,
) -> list[tuple[float, float]]:
    """(learning rate, momentum) of every step of an epoch.

    Args:
        recipe: Its schedule.
        clock: Of the run.
        epoch: Epochs done.
        started: Samples trained before the epoch.
        sizes: Samples that each step trains.
        factor: On the learning rate.
    """
    rate, found, trained = schedule(recipe), [], started
    for step, k in enumerate(sizes):
        point = schedule_point(recipe, step, len(sizes), started, trained, clock.num_samples)
        scheduled, momentum = rate(clock.fraction(epoch, *point))
        found.append((scheduled * factor, momentum))
        trained += k
    return found


def end_rates(recipe: Recipe, num_samples: int) -> list[float]:
    """The learning rate of the last step of each epoch of full training.

    Args:
        recipe: How it trains.
        num_samples: N.
    """
    clock, started, found = Clock(num_samples, recipe.epochs, 0.0), 0, list[float]()
    whole = whole_batches(num_samples, recipe.batch_size) if recipe.drop_last else num_samples
    for epoch in range(recipe.epochs):
        bounds = batch_bounds(min(whole, clock.target - started), recipe.batch_size)
        sizes = [stop - start for start, stop in bounds]
        found.append(rates(recipe, clock, epoch, started, sizes)[-1][0])
        started += sum(sizes)
    return found


def batch_numbers(recipe: Recipe, sample_ids: Tensor, order: Stream) -> Tensor:
    """int64 [N]: the batch that trains each sample in an epoch of full training; -1 for none.

    Args:
        recipe: How it trains.
        sample_ids: int64 [N].
        order: The stream of the epoch's order.
    """
    numbers = torch.full_like(sample_ids, -1)
    positions, _ = in_order(Plan(torch.arange(len(sample_ids))), sample_ids, order)
    if recipe.drop_last:
        positions = positions[: whole_batches(len(positions), recipe.batch_size)]
    for number, (start, stop) in enumerate(batch_bounds(len(positions), recipe.batch_size)):
        numbers[positions[start:stop]] = number
    return numbers
