"""Plans: checking what a pruner said, and the plan of a static subset."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.methods.base import BatchPruner, DynamicPruner, Plan, Progress, Pruner, Tables
from prunebench.rng import Stream


class PlanError(ValueError):
    """A pruner returned a plan that breaks its contract."""


def check_indices(indices: Tensor, num_samples: int, who: str, what: str = "indices") -> None:
    """Checks int64 positions in range, each at most once.

    Raises:
        PlanError: One line that names the method and the breach.
    """
    if not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.dim() != 1:
        raise PlanError(f"{who}: {what} must be an int64 vector")
    if len(indices) == 0:
        return
    if int(indices.min()) < 0 or int(indices.max()) >= num_samples:
        raise PlanError(f"{who}: {what} outside 0..{num_samples - 1}")
    if int(torch.bincount(indices, minlength=num_samples).max()) > 1:
        raise PlanError(f"{who}: {what} hold a sample twice")


def check_plan(plan: Plan, num_samples: int, who: str) -> None:
    """Checks one epoch's plan; costs one pass over N.

    Raises:
        PlanError: Wrong type, range, duplicates, or weights that are not finite and positive.
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
        if not bool((plan.weights.isfinite() & (plan.weights > 0)).all()):
            raise PlanError(f"{who}: weights must be finite and positive")


class ConstantPlan(DynamicPruner):
    """A static subset as a plan: the same samples every epoch."""

    def __init__(self, name: str, indices: Tensor) -> None:
        super().__init__()
        self.name = name  # type: ignore[misc]
        self.indices = indices

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """The subset."""
        return Plan(self.indices.to(self.view.device))


def epoch_level(pruner: Pruner) -> bool:
    """Whether a pruner plans whole epochs (neither static nor batch-level)."""
    return isinstance(pruner, DynamicPruner) and not isinstance(pruner, BatchPruner)
