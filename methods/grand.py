"""GraNd and EL2N: norms of the gradient and of the error at an early snapshot."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.keep_k import PRUNE4REL_PROXY, real
from prunebench.options import Option

__all__ = ["el2n_scores", "grand_scores"]

_PAPER = (
    "Paul, Ganguli, Dziugaite: Deep Learning on a Data Diet: Finding Important Examples Early in "
    "Training, NeurIPS 2021"
)
_REPOSITORY = "https://github.com/mansheej/data_diet"


def el2n_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Euclidean norm of softmax minus one-hot label.

    The label's own entry, 1 - p_y, is summed from the other probabilities, so that confident
    samples keep distinct scores instead of rounding to 0.

    Args:
        logits: [N, C].
        labels: int64 [N], noisy.

    Returns:
        [N] in 0..sqrt(2), at least float32.
    """
    others = torch.softmax(real(logits), dim=1).scatter(1, labels[:, None], 0.0)
    wrong = others.sum(1)
    share = others / wrong.clamp_min(torch.finfo(wrong.dtype).tiny)[:, None]
    return wrong * (1 + share.square().sum(1)).sqrt()


def grand_scores(logits: Tensor, labels: Tensor, features: Tensor) -> Tensor:
    """Norm of the cross-entropy gradient in the last linear layer, weights and bias.

    Closed form of the quantity in DeepCore: deepcore/methods/grand.py:
    ||p - onehot(y)|| sqrt(1 + ||h||^2). The official code takes the gradient of the batch mean and
    so divides by the batch size, which favours samples of a short last batch; not done here.

    Args:
        logits: [N, C].
        labels: int64 [N], noisy.
        features: [N, D], input h of the last linear layer.

    Returns:
        [N], at least float32.
    """
    length = real(features).norm(dim=1)
    return el2n_scores(logits, labels) * torch.hypot(length, torch.ones_like(length))


_REPEATS = Option(1, "independent runs averaged over (10 in the paper)", low=1, high=100)


class _MeanOverRuns(ScorePruner):
    """Keeps the largest scores at the warm-up snapshot, averaged over runs."""

    own_proxy = PRUNE4REL_PROXY

    repeats: int
    options = {"repeats": _REPEATS}

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Logits and features after the warm-up of every run."""
        return EvidenceSpec(snapshots=(warmup,), repeats=self.repeats, until=warmup)

    @abstractmethod
    def score(self, evidence: Evidence, repeat: int) -> Tensor:
        """[N], the score of one run."""

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], mean scores."""
        runs = [self.score(evidence, repeat) for repeat in range(self.repeats)]
        return torch.stack(runs).mean(0)


@register_method("grand")
class GraNd(_MeanOverRuns):
    """Last-layer gradient norm on a briefly trained network (useless at initialisation)."""

    card = Card(
        title="GraNd",
        paper=_PAPER,
        repository=_REPOSITORY,
        bibtex_key="paul2021deep",
        cost="the warm-up epochs of one full-data run per repeat and one forward pass each",
        side="high",
    )

    def score(self, evidence: Evidence, repeat: int) -> Tensor:
        """[N], gradient norms of one run."""
        shot = evidence.snapshot(evidence.warmup, repeat)
        return grand_scores(shot.logits, evidence.labels, shot.features)


@register_method("el2n")
class EL2N(_MeanOverRuns):
    """Error norm at the warm-up snapshot, eval mode and unaugmented view as in data_diet.

    Variants elsewhere: dual-pruning reads the train-mode logits of epoch index 20, CCS sums
    train-mode scores over the first 10 epochs.
    """

    card = Card(
        title="EL2N",
        paper=_PAPER,
        repository=_REPOSITORY,
        bibtex_key="paul2021deep",
        cost="the warm-up epochs of one full-data run per repeat and one forward pass each",
        side="high",
    )

    def score(self, evidence: Evidence, repeat: int) -> Tensor:
        """[N], error norms of one run."""
        return el2n_scores(evidence.snapshot(evidence.warmup, repeat).logits, evidence.labels)
