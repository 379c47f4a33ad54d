"""InfoBatch (Qin et al., ICLR 2024): drops well-learned samples, rescales those that stay."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    LastLoss,
    Plan,
    Progress,
    ScoreBasedPruner,
    Scorer,
    pruning_epochs,
    register_method,
)
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["prunable", "pruning_epochs"]

#: Average share of samples skipped over a whole run at r = 0.5, delta = 0.875, annealing
#: included (AlignPrune, Table F: CIFAR-100N, ResNet-18).
_PUBLISHED_SHARE = 0.2877


def prunable(scores: Tensor) -> Tensor:
    """Samples that may be dropped: score strictly below the mean.

    Args:
        scores: float [N]; NaN (no score) stays out of the mean and is never prunable.

    Returns:
        bool [N]. The mean is taken in the dtype of ``scores``, as the official code does.
    """
    known = ~scores.isnan()
    mean = scores.mean() if bool(known.all()) else scores[known].mean()
    return scores < mean


def keep_share(r: float) -> Fraction:
    """The share 1 - r of the prunable samples that stays, clipped to [0.1, 1].

    The clip is the official code's: r above 0.9 acts as 0.9, with weight 10. Exact, so that
    floor(share * n) has no float error.
    """
    return max(Fraction(1, 10), min(Fraction(1), 1 - Fraction(str(r))))


@register_method("infobatch")
class InfoBatch(ScoreBasedPruner):
    """Drops a random share r of the samples below the mean score, weights the kept ones up.

    The number kept is floor((1 - r) |low|), not a coin per sample, and their weight 1 / (1 - r),
    as in the official code; with ``exact_weights`` it is |low| / kept, so that the weights of
    the low side sum to its size exactly. The annealing phase trains on everything with weight 1,
    for every number of epochs: so do the paper and the research code; the released package
    leaves the last factors on where delta * T is no integer.
    """

    options = {
        "r": Option(0.5, "share of the low-score samples dropped", 0.0, 1.0, search=(0.2, 0.9)),
        "delta": Option(0.875, "share of the epochs that prune", 0.0, 1.0, search=(0.7, 1.0)),
        "rescale": Option(True, "weight the kept low-score samples by 1 / (1 - r)"),
        "exact_weights": Option(False, "weight by |low| / kept instead of 1 / (1 - r)"),
        "unseen_score": Option(3.0, "score before the first visit; none keeps", optional=True),
    }
    card = Card(
        "InfoBatch",
        "Qin et al., InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning, "
        "ICLR 2024",
        "https://github.com/NUS-HPC-AI-Lab/InfoBatch",
        "qin2024infobatch",
        side="high, and a weighted share of low",
    )
    randomised = True
    zero_is_full = False
    full_at = {"r": 0.0}
    r: float
    delta: float
    rescale: bool
    exact_weights: bool
    unseen_score: float | None

    def own_scorer(self) -> Scorer:
        """The last training loss."""
        return LastLoss(self.unseen_score)

    def cautions(self) -> list[str]:
        """A weight above 4 can outweigh everything else in a batch."""
        share = float(keep_share(self.r))
        if share < 0.25 and self.rescale:
            return [f"kept low-score samples weigh {1 / share:g}; training may collapse"]
        return []

    def pruned_share(self, ratio: float) -> float:
        """The published average at the default r and delta, in proportion elsewhere."""
        scale = float(1 - keep_share(self.r)) / 0.5 * self.delta / 0.875
        return _PUBLISHED_SHARE * scale

    def prune(self, scores: Tensor, progress: Progress, rng: Stream) -> Plan:
        """One epoch over the scored samples; see ``ScoreBasedPruner.prune``."""
        everything = torch.arange(len(scores), device=scores.device)
        share = keep_share(self.r)
        if share == 1 or progress.annealing(self.delta):
            return Plan(everything)
        split = self.scorer.split
        low = prunable(scores) if split is None else scores < split
        candidates = everything[low]
        kept = math.floor(share * len(candidates))
        if self.exact_weights and len(candidates):
            kept = max(1, kept)
        drawn = candidates[rng.sample(len(candidates), kept, scores.device)]
        indices = torch.cat([everything[~low], drawn])
        if not self.rescale or len(candidates) == 0:
            return Plan(indices)
        weights = torch.ones(len(indices), dtype=torch.float32, device=scores.device)
        factor = len(candidates) / kept if self.exact_weights else float(1 / share)
        weights[len(indices) - kept :] = factor
        return Plan(indices, weights)
