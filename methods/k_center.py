"""k-center greedy: each pick is the sample farthest from all picks before it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    StaticPruner,
    Subset,
    register_method,
)
from prunebench.methods.feature_space import (
    InnerProducts,
    choose,
    first_of_best,
    float64_rows,
    tie_order,
)
from prunebench.methods.keep_k import check_count
from prunebench.options import Option
from prunebench.progress import counted
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
        return torch.empty(0, dtype=torch.int64, device=features.device)
    tie = tie_order(total, rng)
    rows = rows[tie]
    products = InnerProducts(rows - rows.mean(0))
    squares = products.squares
    picks = np.empty(k, dtype=np.int64)
    pick = int((tie == first).argmax())
    nearest = np.full(total, np.inf)
    for step in counted(range(k)):
        if step:
            pick = first_of_best(nearest, squares)
        picks[step] = pick
        distances = squares + squares[pick] - 2 * products.of(pick)
        np.minimum(nearest, np.maximum(distances, 0.0, out=distances), out=nearest)
        nearest[pick] = -np.inf
    return torch.from_numpy(tie[picks]).to(features.device)


@register_method("k-center")
class KCenter(StaticPruner):
    """Covers the features of each (noisy) class, from a sample drawn at random.

    Outliers are farthest, so wrong labels, which lie outside the class they are in, are kept.
    """

    randomised = True
    balance: bool
    options = {"balance": Option(True, "within each (noisy) class; false: over all samples")}
    card = Card(
        title="k-center",
        paper="Sener, Savarese: Active Learning for Convolutional Neural Networks: A Core-Set "
        "Approach, ICLR 2018",
        repository="https://github.com/ozansener/active_learning_coreset",
        bibtex_key="sener2018active",
        cost="the warm-up epochs of one full-data run and one forward pass",
        side="greedy, farthest first",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Features after the warm-up."""
        return EvidenceSpec(snapshots=(warmup,), until=warmup)

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps the first picks; nested in k up to one sample per class."""
        features = evidence.snapshot(evidence.warmup).features
        return choose(features, evidence.labels if self.balance else None, k, rng, _from_random)


def _from_random(features: Tensor, k: int, rng: Stream) -> Tensor:
    total = len(features)
    first = int(rng.child("first").permutation(total)[0]) if k else 0
    return k_center_order(features, k, first, rng)
