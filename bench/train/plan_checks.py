"""Plans: checking what a pruner said, and the plan of a static subset."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from prunebench.methods.base import (
    BatchPruner,
    DynamicPruner,
    Plan,
    Progress,
    Subset,
    Tables,
)
from prunebench.rng import Stream


class PlanError(ValueError):
    """A pruner returned a plan that breaks its contract."""


def check_indices(indices: Tensor, num_samples: int, who: str, what: str = "indices") -> None:
    """Checks int64 positions in range, each at most once; the host waits once.

    Raises:
        PlanError: One line that names the method and the breach.
    """
    if not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.dim() != 1:
        raise PlanError(f"{who}: {what} must be an int64 vector")
    if len(indices) == 0:
        return
    times = torch.zeros(num_samples, dtype=torch.int64, device=indices.device)
    times.index_add_(0, indices.clamp(0, num_samples - 1), torch.ones_like(indices))
    low, high, most = torch.stack([indices.min(), indices.max(), times.max()]).tolist()
    if low < 0 or high >= num_samples:
        raise PlanError(f"{who}: {what} outside 0..{num_samples - 1}")
    if most > 1:
        raise PlanError(f"{who}: {what} hold a sample twice")


def check_plan(plan: Plan, num_samples: int, who: str) -> None:
    """Checks one epoch's plan; costs one pass over N.

    Raises:
        PlanError: Wrong type, range, duplicates, weights that are not finite or below 0, or a
            factor on the learning rate that is not finite or not above 0.
    """
    if not isinstance(plan, Plan):
        raise PlanError(f"{who}: plan() returned {type(plan).__name__}, not a Plan")
    check_indices(plan.indices, num_samples, who)
    if plan.forward_only is not None:
        check_indices(plan.forward_only, num_samples, who, "forward_only")
    if len(plan.indices) == 0 and (plan.forward_only is None or len(plan.forward_only) == 0):
        raise PlanError(f"{who}: the plan is empty")
    if plan.weights is not None:
        if plan.weights.shape != plan.indices.shape or not plan.weights.is_floating_point():
            raise PlanError(f"{who}: weights must be a float vector as long as indices")
        _check_factors(plan.weights, who)
    if not _is_number(plan.lr_factor) or not 0 < plan.lr_factor < math.inf:
        raise PlanError(f"{who}: lr_factor must be a finite number above 0, not {plan.lr_factor!r}")
    if not isinstance(plan.batch_weights, bool):
        raise PlanError(f"{who}: batch_weights must be True or False")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_share(share: object, who: str) -> None:
    """Checks what ``BatchPruner.share`` returned.

    Raises:
        PlanError: Neither None nor a number above 0 and at most 1.
    """
    if share is not None and not (_is_number(share) and 0 < share <= 1):  # type: ignore[operator]
        raise PlanError(f"{who}: share() must return a number above 0 and at most 1, or None")


def shares_of(pruner: BatchPruner, progress: Progress, steps: range) -> list[float | None]:
    """The share that is trained of each batch; None where it is the run's.

    Args:
        pruner: The method.
        progress: At the start of the epoch.
        steps: Numbers of the batches in the epoch.

    Raises:
        PlanError: See ``check_share``.
    """
    shares = [pruner.share(progress, step) for step in steps]
    for share in shares:
        check_share(share, pruner.name)
    return shares


def _check_factors(weights: Tensor, who: str) -> None:
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise PlanError(f"{who}: weights must be finite and not negative")


def check_weights(weights: Tensor, k: int, who: str) -> None:
    """Checks the weights of a static subset.

    Raises:
        PlanError: Not float32 [k], a number that is not finite or below 0, or none above 0.
    """
    if not isinstance(weights, Tensor) or weights.dtype != torch.float32:
        raise PlanError(f"{who}: weights must be a float32 vector")
    if weights.shape != (k,):
        raise PlanError(f"{who}: weights of shape {tuple(weights.shape)} for {k} kept samples")
    _check_factors(weights, who)
    if k and not bool((weights > 0).any()):
        raise PlanError(f"{who}: all weights are 0")


def check_subset(subset: Subset, k: int, num_samples: int, who: str) -> None:
    """Checks what a static method kept.

    Raises:
        PlanError: Not k positions, each once and in range, scores that are not one number per
            sample (NaN where ``info["undefined"]`` says of how many samples), or weights that are
            not one number >= 0 per position and above 0 somewhere.
    """
    if not isinstance(subset, Subset):
        raise PlanError(f"{who}: keep() returned {type(subset).__name__}, not a Subset")
    check_indices(subset.indices, num_samples, who)
    if len(subset.indices) != k:
        raise PlanError(f"{who}: keep() kept {len(subset.indices)} samples where {k} were asked")
    weights, scores = subset.weights, subset.scores
    if weights is not None:
        check_weights(weights, k, who)
    if scores is None:
        return
    if not isinstance(scores, Tensor) or scores.shape != (num_samples,):
        raise PlanError(f"{who}: scores must be a vector of {num_samples} numbers")
    undefined = int(scores.isnan().sum()) if scores.is_floating_point() else 0
    if undefined not in (0, subset.info.get("undefined")):
        raise PlanError(f"{who}: scores hold NaN for {undefined} samples")


def ordered_choice(chosen: Tensor, k: int, size: int, who: str) -> Tensor:
    """Checks what a batch-level method chose of a batch, and sorts it.

    Nothing is read back from an accelerator: there a breach of values ends the process.

    Args:
        chosen: As ``BatchPruner.select`` returned it.
        k: How many were asked.
        size: Size B of the batch.
        who: The method, for the message.

    Returns:
        int64 [k], ascending.

    Raises:
        PlanError: Not k positions 0..B-1, each once.
    """
    if not isinstance(chosen, Tensor) or chosen.dtype != torch.int64 or chosen.shape != (k,):
        raise PlanError(f"{who}: select() must return int64 [{k}]")
    order = chosen.sort().values
    fine = (order[:1] >= 0).all() & (order[-1:] < size).all() & (order[1:] > order[:-1]).all()
    what = f"{who}: select() must return positions 0..{size - 1}, each once"
    try:
        torch._assert_async(fine, what)
    except RuntimeError:  # on the CPU, at once
        raise PlanError(what) from None
    return order


class ConstantPlan(DynamicPruner):
    """A static subset as a plan: the same samples every epoch.

    Args:
        name: The method's.
        indices: int64 [k], positions.
        weights: float [k] as the method gave them, or None for 1. They are scaled to mean 1, so
            that the learning rate keeps its meaning.
    """

    def __init__(self, name: str, indices: Tensor, weights: Tensor | None = None) -> None:
        super().__init__()
        self.name = name  # type: ignore[misc]
        self.indices = indices
        if weights is not None:
            exact = weights.double()
            weights = (exact * (len(exact) / exact.sum())).float()
        self.weights = weights

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """The subset."""
        device = self.view.device
        weights = None if self.weights is None else self.weights.to(device)
        return Plan(self.indices.to(device), weights)
