"""KAKURENBO (Nguyen et al., NeurIPS 2023): hides samples of low loss and confident prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    DynamicPruner,
    Plan,
    Progress,
    Tables,
    register_method,
)
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["confidence", "hide", "lr_factor", "stage_fraction"]

#: Shares of the run at which a stage ends, and the factor of each stage on the fraction.
_MILESTONES = (0.3, 0.6, 0.8)
_FACTORS = (1.0, 0.8, 0.6, 0.4)


def confidence(logits: Tensor, over: str = "classes") -> Tensor:
    """Largest softmax probability of each sample.

    Args:
        logits: float [B, C].
        over: ``classes``, or ``batch`` as the official scripts have it: a softmax over the samples
            of each class, whose value depends on which samples share the batch.

    Returns:
        float [B].

    Raises:
        ValueError: ``over`` is neither.
    """
    if over not in ("classes", "batch"):
        raise ValueError(f"over {over!r} is not classes or batch")
    return logits.softmax(1 if over == "classes" else 0).amax(1)


def stage_fraction(
    fraction: float,
    progress: float,
    milestones: Sequence[float] = _MILESTONES,
    factors: Sequence[float] = _FACTORS,
) -> float:
    """The largest share of the samples that may be hidden at this point of a run.

    Args:
        fraction: F, that of the first stage.
        progress: Share of the run that is done, 0..1.
        milestones: Where each stage but the last ends; the next one holds from there on.
        factors: Of every stage, one more than milestones.
    """
    return fraction * factors[sum(progress >= end for end in milestones)]


def lr_factor(fraction: float, epoch: int, warmup: int = 1) -> float:
    """Factor on the learning rate: 1 / (1 - fraction) once the warm-up is over, else 1.

    It follows from the largest share that may be hidden, not from how many samples are.

    Args:
        fraction: That share, of ``stage_fraction``, below 1.
        epoch: Epochs done.
        warmup: Epochs of warm-up.
    """
    return 1.0 if epoch < warmup else 1 / (1 - fraction)


def hide(
    losses: Tensor,
    correct: Tensor,
    confidence: Tensor,
    fraction: float,
    threshold: float = 0.7,
    rng: Stream | None = None,
) -> Tensor:
    """Samples to hide: of the lowest losses those whose prediction is correct and confident.

    Args:
        losses: float [N]; NaN is never hidden.
        correct: bool [N], whether the last prediction was right.
        confidence: float [N], its largest probability; NaN is never hidden.
        fraction: Share of the samples that may be hidden: the floor(fraction N) of least loss.
        threshold: Least confidence.
        rng: Decides between losses tied at the cut; None decides by index.

    Returns:
        bool [N].
    """
    cut = math.floor(fraction * len(losses) + 1e-9)
    if cut == 0:
        return torch.zeros_like(correct)
    known = losses.nan_to_num(torch.inf, posinf=torch.inf, neginf=-torch.inf)
    # kthvalue has no deterministic form on a card.
    edge = known.topk(cut, largest=False, sorted=False).values.amax()
    lowest = known < edge
    tied = (known == edge).nonzero().squeeze(1)
    if rng is not None:
        tied = tied[rng.child("ties").permutation(len(tied), losses.device)]
    lowest[tied[: cut - int(lowest.sum())]] = True
    return lowest & correct & (confidence >= threshold) & ~losses.isnan()


@register_method("kakurenbo")
class Kakurenbo(DynamicPruner):
    """Hides confident, correct samples of low loss for an epoch, and re-scores them after it.

    It decides by itself how many samples are hidden, at most the stage's fraction. The learning
    rate is raised by 1 / (1 - that fraction). No weights and no annealing.
    """

    options = {
        "fraction": Option(
            0.3, "largest share of the samples that is hidden", 0.0, 0.99, search=(0.1, 0.6)
        ),
        "threshold": Option(
            0.7, "least confidence of a hidden sample", 0.0, 1.0, search=(0.5, 0.95)
        ),
        "warmup": Option(1, "epochs before the learning rate is raised", 0, 10_000),
        "lr_factor": Option(True, "raise the learning rate by 1 / (1 - fraction of the stage)"),
    }  # fmt: skip
    card = Card(
        "KAKURENBO",
        "Nguyen et al., KAKURENBO: Adaptively Hiding Samples in Deep Neural Network Training, "
        "NeurIPS 2023",
        "https://github.com/TruongThaoNguyen/kakurenbo",
        "nguyen2023kakurenbo",
        cost="one forward pass per hidden sample and epoch",
        side="high",
    )
    reads_loss = True
    signals = frozenset({"correct", "confidence"})
    zero_is_full = False
    full_at = {"fraction": 0.0}
    fraction: float
    threshold: float
    warmup: int
    lr_factor: bool

    def pruned_share(self, ratio: float) -> float:
        """The most that can be hidden, averaged over the stages. Data decide how much of it is:
        prefer a pilot's figure."""
        ends = (0.0, *_MILESTONES, 1.0)
        lengths = (end - start for start, end in pairwise(ends))
        return self.fraction * sum(f * n for f, n in zip(_FACTORS, lengths, strict=True))

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """All but the hidden; these are re-scored."""
        fraction = stage_fraction(self.fraction, progress.fraction)
        factor = lr_factor(fraction, progress.epoch, self.warmup) if self.lr_factor else 1.0
        self.last_scores = tables.loss
        hidden = hide(
            tables.loss, tables.signal("correct") > 0, tables.signal("confidence"),
            fraction, self.threshold, rng,
        )  # fmt: skip
        left_out = hidden.nonzero().squeeze(1)
        trained = (~hidden).nonzero().squeeze(1)
        return Plan(trained, None, left_out if len(left_out) else None, factor)
