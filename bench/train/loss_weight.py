"""Means over batches, and the weight that each trained sample's loss had."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prunebench.bench.train.evaluate import sent
from prunebench.methods.base import Plan


def batch_means(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Every sample's batch mean, summed in float64; nobody waits for the device.

    Args:
        values: float [n], batch after batch.
        sizes: Samples of each batch; they add up to n.

    Returns:
        As ``values``, of its type.
    """
    count = sent(sizes, values.device)
    batch = torch.repeat_interleave(count, output_size=len(values))
    sums = torch.zeros(len(sizes), dtype=torch.float64, device=values.device)
    sums.index_add_(0, batch, values.double())
    return (sums / count)[batch].to(values.dtype)


def loss_weights(plan: Plan, visited: Tensor, sizes: Sequence[int], size: int) -> Tensor | None:
    """The factor on the loss of each trained sample: its own weight, or the mean of its batch's
    under ``Plan.batch_weights``. That batches divide by their size, and factors of a criterion,
    are not in it.

    Args:
        plan: Of the epoch.
        visited: int64 [n], positions that were trained, batch after batch.
        sizes: Samples trained in each batch.
        size: N.

    Returns:
        float [n], or None for 1.
    """
    if plan.weights is None:
        return None
    weights = plan.weights.new_ones(size)
    weights[plan.indices] = plan.weights
    own = weights[visited]
    return batch_means(own, sizes) if plan.batch_weights and len(own) else own
