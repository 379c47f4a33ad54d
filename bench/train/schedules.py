"""Learning rate and momentum as functions of progress in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable

from prunebench.bench.spec.recipe import Recipe


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * share))


def one_cycle(
    progress: float,
    max_lr: float,
    pct_start: float = 0.3,
    div: float = 25.0,
    final_div: float = 1e4,
) -> float:
    """Learning rate of the cosine one-cycle policy at a progress in [0, 1].

    Rises from max_lr / div to max_lr at ``pct_start``, falls to max_lr / div / final_div at 1.
    """
    low = max_lr / div
    if progress < pct_start:
        return _cosine(low, max_lr, progress / pct_start)
    return _cosine(max_lr, low / final_div, min(1.0, (progress - pct_start) / (1.0 - pct_start)))


def one_cycle_momentum(
    progress: float, base: float = 0.85, max: float = 0.95, pct_start: float = 0.3
) -> float:
    """Momentum that mirrors ``one_cycle``: max -> base -> max (torch's default cycle)."""
    if progress < pct_start:
        return _cosine(max, base, progress / pct_start)
    return _cosine(base, max, min(1.0, (progress - pct_start) / (1.0 - pct_start)))


def multi_step(
    progress: float, lr: float, milestones: tuple[float, ...], gamma: float = 0.1
) -> float:
    """lr times gamma for every milestone (share of the run) that is reached."""
    return lr * gamma ** sum(progress >= m for m in milestones)


def linear_tail(progress: float, lr: float, start: float) -> float:
    """lr up to ``start`` (a share of the run), then in a line to 0 at the end."""
    return lr if progress < start else lr * max(0.0, (1.0 - progress) / (1.0 - start))


def warm_cosine(progress: float, lr: float, warmup: float = 0.0) -> float:
    """Half a cosine from lr to 0, after a rise from 0 in a line over the share ``warmup``."""
    if progress < warmup:
        return lr * progress / warmup
    return _cosine(lr, 0.0, (progress - warmup) / (1.0 - warmup))


def schedule(recipe: Recipe) -> Callable[[float], tuple[float, float]]:
    """The recipe's (learning rate, momentum) as a function of progress in [0, 1]."""

    def at(progress: float) -> tuple[float, float]:
        lr, momentum = recipe.lr, recipe.momentum
        if recipe.schedule == "one_cycle":
            lr = one_cycle(progress, lr, recipe.pct_start, recipe.div, recipe.final_div)
            if recipe.cycle_momentum:
                momentum = one_cycle_momentum(progress, pct_start=recipe.pct_start)
        elif recipe.schedule == "multi_step":
            lr = multi_step(progress, lr, recipe.milestones, recipe.gamma)
        elif recipe.schedule == "cosine":
            lr = warm_cosine(progress, lr, recipe.lr_warmup)
        elif recipe.schedule == "linear_tail":
            start = recipe.milestones[0]
            lr = linear_tail(progress, lr, start)
            if recipe.tail_momentum is not None and progress >= start:
                momentum = recipe.tail_momentum
        return lr, momentum

    return at
