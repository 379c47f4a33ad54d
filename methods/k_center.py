"""k-center greedy: each pick is the sample farthest from all picks before it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.feature_space import (
    InnerProducts,
    first_of_best,
    float64_rows,
    tie_order,
)
from prunebench.methods.keep_k import check_count
from prunebench.rng import Stream

__all__ = ["k_center_order"]


def k_center_order(features: Tensor, k: int, first: int, rng: Stream | None = None) -> Tensor:
    """Farthest-first traversal in euclidean distance (svp: common/selection/k_center_greedy.py).

    Squared distances come from inner products of the features minus their mean in float64, so that
    features far from the origin keep their distances.

    Args:
        features: [n, D], finite.
        k: Number of picks, 0..n.
        first: The first pick, 0..n-1.
        rng: Random order among equal distances; None: the lowest index.

    Returns:
        int64 [k] in pick order, each once; the orders are nested in k.

    Raises:
        InputError: k or first out of range, or features that are not finite.
    """
    rows = float64_rows(features)
    total = len(rows)
    check_count(k, total)
    if k and not 0 <= first < total:
        raise InputError(f"{first} is no sample", where="first", accepted=f"0 to {total - 1}")
    if k == 0:
        return torch.empty(0, dtype=torch.int64)
    tie = tie_order(total, rng)
    rows = rows[tie]
    products = InnerProducts(rows - rows.mean(0))
    squares = products.squares
    picks = np.empty(k, dtype=np.int64)
    pick = int((tie == first).argmax())
    nearest = np.full(total, np.inf)
    for step in range(k):
        if step:
            pick = first_of_best(nearest, squares)
        picks[step] = pick
        distances = squares + squares[pick] - 2 * products.of(pick)
        np.minimum(nearest, np.maximum(distances, 0.0, out=distances), out=nearest)
        nearest[pick] = -np.inf
    return torch.from_numpy(tie[picks])
