"""InfoBatch (Qin et al., ICLR 2024): drops well-learned samples, rescales those that stay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    LastLoss,
    Plan,
    Progress,
    ScoreBasedPruner,
    Scorer,
    Tables,
    TrainView,
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


def keep_share(r: float, clamp: float = 0.1) -> Fraction:
    """The share 1 - r of the prunable samples that stays, clipped to [clamp, 1].

    The clip at 0.1 is the official code's: r above 0.9 acts as 0.9, with weight 10. Exact, so
    that floor(share * n) has no float error.
    """
    return max(Fraction(str(clamp)), min(Fraction(1), 1 - Fraction(str(r))))


@register_method("infobatch")
class InfoBatch(ScoreBasedPruner):
    """Drops a random share r of the samples below the mean score, weights the kept ones up.

    The number kept is floor((1 - r) |low|), not a coin per sample, and their weight 1 / (1 - r),
    as in the official code; with ``exact_weights`` it is |low| / kept, so that the weights of
    the low side sum to its size exactly. The annealing phase trains on everything with weight 1,
    for every number of epochs: so do the paper and the research code. The released package
    leaves the last factors on where delta * T is no integer; ``legacy_anneal_weights`` does so
    too, and always where the number of epochs is open.
    """

    options = {
        "r": Option(0.5, "share of the low-score samples dropped", 0.0, 1.0, search=(0.2, 0.9)),
        "delta": Option(0.875, "share of the epochs that prune", 0.0, 1.0, search=(0.7, 1.0)),
        "rescale": Option(True, "weight the kept low-score samples by 1 / (1 - r)"),
        "exact_weights": Option(False, "weight by |low| / kept instead of 1 / (1 - r)"),
        "unseen_score": Option(3.0, "score before the first visit; none keeps", optional=True),
        "clamp": Option(
            0.1, "least share kept of the low side; 0 lets r = 1 drop it whole", 0.0, 1.0,
            later=True,
        ),
        "legacy_anneal_weights": Option(
            False,
            "keep the last pruning epoch's weights to the end where delta T is no whole number, as "
            "the released package does",
            later=True,
        ),
    }  # fmt: skip
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
    clamp: float
    legacy_anneal_weights: bool
    factors: Tensor | None = None

    @property
    def share(self) -> Fraction:
        """Share of the low side that stays."""
        return keep_share(self.r, self.clamp)

    def begin(self, view: TrainView) -> None:
        """Forgets the weights of earlier epochs."""
        super().begin(view)
        self.factors = None

    def own_scorer(self) -> Scorer:
        """The last training loss."""
        return LastLoss(self.unseen_score)

    def cautions(self) -> list[str]:
        """A weight above 4 can outweigh everything else in a batch."""
        share = float(self.share)
        if share == 0:
            return ["the low side is dropped whole, so nothing stands for it while epochs prune"]
        if share < 0.25 and self.rescale:
            return [f"kept low-score samples weigh {1 / share:g}; training may collapse"]
        return []

    def pruned_share(self, ratio: float) -> float:
        """The published average at the default r and delta, in proportion elsewhere."""
        scale = float(1 - self.share) / 0.5 * self.delta / 0.875
        return _PUBLISHED_SHARE * scale

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """One epoch; with ``legacy_anneal_weights``, annealing has the last factors."""
        plan = super().plan(progress, tables, rng)
        if not self.legacy_anneal_weights:
            return plan
        if not progress.annealing(self.delta):
            self.factors = torch.ones(tables.num_samples, device=plan.indices.device)
            if plan.weights is not None:
                self.factors[plan.indices] = plan.weights
        elif self.factors is not None and not _whole(self.delta, progress.total_epochs):
            return self.settled(replace(plan, weights=self.factors[plan.indices]))
        return plan

    def prune(self, scores: Tensor, progress: Progress, rng: Stream) -> Plan:
        """One epoch over the scored samples; see ``ScoreBasedPruner.prune``."""
        everything = torch.arange(len(scores), device=scores.device)
        share = self.share
        if share == 1 or progress.annealing(self.delta):
            return Plan(everything)
        split = self.scorer.split
        low = prunable(scores) if split is None else scores < split
        candidates = everything[low]
        if share == 0 and bool(low.all()):  # equal scores can lie an ulp below their mean
            return Plan(everything)
        kept = math.floor(share * len(candidates))
        if self.exact_weights and share and len(candidates):
            kept = max(1, kept)
        drawn = candidates[rng.sample(len(candidates), kept, scores.device)]
        indices = torch.cat([everything[~low], drawn])
        if not self.rescale or not share or len(candidates) == 0:
            return Plan(indices)
        weights = torch.ones(len(indices), dtype=torch.float32, device=scores.device)
        factor = len(candidates) / kept if self.exact_weights else float(1 / share)
        weights[len(indices) - kept :] = factor
        return Plan(indices, weights)

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """The scorer's state and, with ``legacy_anneal_weights``, the last epoch's weights."""
        state = super().state_dict()
        return state if self.factors is None else {**state, "factors": self.factors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        super().load_state_dict(state)
        factors = state.get("factors")
        self.factors = None if factors is None else factors.to(self.view.device)


def _whole(delta: float, epochs: int | None) -> bool:
    """Whether annealing begins after a whole number delta T of epochs."""
    return epochs is not None and (Fraction(str(delta)) * epochs).denominator == 1
