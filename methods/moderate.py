"""Moderate coreset: keep samples at a middling distance from the centre of their class."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.keep_k import PRUNE4REL_PROXY, check_count, real, window_start

__all__ = ["moderate_distances", "moderate_window"]


def _median(x: Tensor) -> Tensor:
    """Coordinate-wise median [D] of [n, D]; an even count averages the two middle values."""
    ranked = x.sort(0).values
    return (ranked[(len(x) - 1) // 2] + ranked[len(x) // 2]) / 2


def moderate_distances(features: Tensor, labels: Tensor) -> Tensor:
    """Euclidean distance to the coordinate-wise median of the sample's own class.

    The official code (Moderate-DS: selection.py) takes medians; the paper's text has means.

    Args:
        features: [N, D].
        labels: int64 [N], noisy; classes may be empty or hold one sample (distance 0).

    Returns:
        [N], at least float32. A row that is not finite gets NaN and is left out of the median.
    """
    x = real(features)
    finite = x.isfinite().all(1)
    distances = x.new_full((len(x),), float("nan"))
    for cls in torch.unique(labels[finite]):
        members = ((labels == cls) & finite).nonzero().squeeze(1)
        own = x[members].double()
        distances[members] = (own - _median(own)).norm(dim=1).to(x.dtype)
    return distances


def moderate_window(distances: Tensor, k: int) -> Tensor:
    """One run of exactly k ranks around the median distance.

    The first rank is round-half-even((N - k) / 2). Official cut points are round(N (0.5 ± f/2)),
    whose difference misses round(N f) by one now and then.

    Args:
        distances: [N]. Undefined ones (NaN) survive, before the window. Equal ones rank by index:
            shuffle the samples first for a random order among ties.
        k: 0..N.

    Returns:
        Kept indices int64 [k], ascending; nested in k.

    Raises:
        InputError: k is outside 0..N.
    """
    check_count(k, len(distances))
    missing = distances.isnan().nonzero().squeeze(1)[:k]
    order = distances.argsort(stable=True)[: len(distances) - int(distances.isnan().sum())]
    k -= len(missing)
    first = window_start(len(order), k) if k else 0
    return torch.cat([missing, order[first : first + k]]).sort().values


@register_method("moderate")
class Moderate(ScorePruner):
    """Keeps the ranks around the median distance, over all classes together, in eval mode.

    Official code leaves the network in train mode while scoring, so its features depend on the
    composition of the batches.
    """

    own_proxy = PRUNE4REL_PROXY
    side, sampler = "window", "window"

    card = Card(
        title="Moderate",
        paper="Xia, Liu, Yu, Shen, Han, Liu: Moderate Coreset: A Universal Method of Data "
        "Selection for Real-world Data-efficient Deep Learning, ICLR 2023",
        repository="https://github.com/tmllab/2023_ICLR_Moderate-DS",
        bibtex_key="xia2023moderate",
        cost="the warm-up epochs of one full-data run and one forward pass",
        side="window",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Features after the warm-up."""
        return EvidenceSpec(snapshots=(warmup,), until=warmup)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], distances."""
        features = evidence.snapshot(evidence.warmup).features
        return moderate_distances(features, evidence.labels)
