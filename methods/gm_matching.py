"""GM Matching: herding on the unit sphere towards the geometric median of the samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    StaticPruner,
    Subset,
    register_method,
)
from prunebench.methods.feature_space import (
    Floats,
    choose,
    float64_rows,
    float64_vector,
    tie_order,
)
from prunebench.methods.herding import follow
from prunebench.methods.keep_k import check_count
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["geometric_median", "gm_matching_order"]

#: Stands in for a distance of 0 in a weight.
_NEAREST = 1e-8


def geometric_median(features: Tensor, eps: float = 1e-5, max_iter: int = 5000) -> Tensor:
    """The point of least summed distance, by Weiszfeld's iteration from the mean.

    As in GM-Matching: sampling/mean_estimate.py; weights are 1 / distance, a distance of 0 counts
    as 1e-8.

    Args:
        features: [n, D], finite, n >= 1.
        eps: The iteration ends after a step of at most this length.
        max_iter: Most iterations.

    Returns:
        float64 [D].

    Raises:
        InputError: Features that are not finite.
    """
    median = _median(float64_rows(features), eps, max_iter)
    return torch.from_numpy(median).to(features.device)


def _median(rows: Floats, eps: float, max_iter: int) -> Floats:
    origin = rows.mean(0)
    offset = rows - origin
    centre = np.zeros(rows.shape[1])
    for _ in range(max_iter):
        gap = offset - centre
        distances = np.sqrt(np.einsum("nd,nd->n", gap, gap))
        weights = 1 / np.where(distances == 0, _NEAREST, distances)
        moved = weights @ offset / weights.sum()
        step = float(np.linalg.norm(moved - centre))
        centre = moved
        if step <= eps:
            break
    median: Floats = origin + centre
    return median


def _unit(rows: Floats) -> Floats:
    """Rows at unit length; zero rows stay."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(lengths == 0, 1.0, lengths)


def gm_matching_order(
    features: Tensor,
    k: int,
    centre: Tensor | None = None,
    start: Tensor | None = None,
    rng: Stream | None = None,
) -> Tensor:
    """Kernel herding of unit rows towards a unit centre.

    The paper starts at the centre; the code (GM-Matching: sampling/algos.py) at a random sample by
    default, and where it is told to start at the centre, start and centre are one tensor there, so
    that each update also moves the centre. Here they are two.

    Args:
        features: [n, D], raw; scaled to unit length inside. A zero row stays zero.
        k: Number of picks, 0..n.
        centre: [D], raw, scaled inside; None: the geometric median of the raw rows.
        start: [D], used as given; None: the unit centre.
        rng: Random order among equal samples; None: the lowest index.

    Returns:
        int64 [k] in pick order, each once; the orders are nested in k.

    Raises:
        InputError: k out of range, or input that is not finite.
    """
    rows = float64_rows(features)
    check_count(k, len(rows))
    if k == 0:
        return torch.empty(0, dtype=torch.int64, device=features.device)
    width = rows.shape[1]
    if centre is None:
        goal = _unit(_median(rows, 1e-5, 5000))
    else:
        goal = _unit(float64_vector(centre, width, "centre"))
    begin = goal if start is None else float64_vector(start, width, "start")
    tie = tie_order(len(rows), rng)
    picks = tie[follow(_unit(rows)[tie], k, goal, begin, "inner")]
    return torch.from_numpy(picks).to(features.device)


@register_method("gm-matching")
class GMMatching(StaticPruner):
    """Follows the geometric median of each (noisy) class on the sphere of features."""

    features: str
    balance: bool
    options = {
        "features": Option(
            "ssl",
            "self-supervised features, or those of the full-data run after the warm-up",
            choices=("ssl", "snapshot"),
            search=("ssl", "snapshot"),
        ),
        "balance": Option(True, "within each (noisy) class; false: over all samples"),
    }
    card = Card(
        title="GM Matching",
        paper="Acharya et al.: Geometric Median Matching for Robust k-Subset Selection "
        "from Noisy Data, ICML 2025",
        repository="https://github.com/anishacharya/GM-Matching",
        bibtex_key="acharya2025geometric",
        cost="one self-supervised training per data set, shared by all noise types and seeds, and "
        "one forward pass; with features=snapshot the warm-up epochs of one full-data run",
        side="greedy, towards the geometric median",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Self-supervised features, or those after the warm-up."""
        if self.features == "ssl":
            return EvidenceSpec(ssl=True)
        return EvidenceSpec(snapshots=(warmup,), until=warmup)

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps the first picks; nested in k up to one sample per class."""
        if self.features == "ssl":
            features = evidence.ssl_features
        else:
            features = evidence.snapshot(evidence.warmup).features
        labels = evidence.labels if self.balance else None
        return choose(features, labels, k, rng, lambda x, n, own: gm_matching_order(x, n, rng=own))
