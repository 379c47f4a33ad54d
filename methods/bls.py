"""BLS (Zhou et al., 2026): a sample's score is the smoothed mean loss of the batches it was in.

As a scorer it replaces the own score of any score-based pruner (``base+bls``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Card, Plan, Progress, Scorer, Tables, TrainView
from prunebench.options import Option, Value, resolve

__all__ = ["ema", "joint_loss"]

BLS_VERSION = 1


def ema(score: Tensor, batch_loss: Tensor, visited: Tensor, alpha: float) -> Tensor:
    """Moving average of the batch losses of each sample, one epoch further.

    Args:
        score: float [N]; NaN has no past and takes the batch loss whole.
        batch_loss: float [N], mean unweighted loss of the batch that held the sample.
        visited: bool [N], samples trained in the epoch; the others keep their score.
        alpha: Share of the old score that stays.

    Returns:
        [N], in the dtype of ``score``.
    """
    fresh = batch_loss.to(score.dtype)
    mixed = torch.where(score.isnan(), fresh, alpha * score + (1 - alpha) * fresh)
    return torch.where(visited, mixed, score)


def joint_loss(losses: Tensor, weights: Tensor) -> Tensor:
    """mean(weights) * mean(losses): the loss of a batch whose samples have no loss of their own.

    It differs from mean(weights * losses) by the covariance of both within the batch.

    Args:
        losses: float [B].
        weights: float [B].

    Returns:
        A scalar.
    """
    return weights.mean() * losses.mean()


BLS_OPTIONS: Mapping[str, Option] = {
    "bls.alpha": Option(
        0.7, "share of the old score that stays at each visit, below 1", 0.0, 1.0,
        search=(0.5, 0.95),
    ),
    "bls.start": Option(
        "zero", "score before the first visit: zero, or none, so that the first batch loss is "
        "taken whole", choices=("zero", "first"),
    ),
}  # fmt: skip

BLS_CARD = Card(
    "BLS",
    "Zhou et al., Batch Loss Score for Dynamic Data Pruning, CVPR 2026",
    "https://github.com/mrazhou/BLS",
    year=2026,
    side="high",
)


class BatchLoss(Scorer):
    """Moving average of the batch losses of every sample; the base method's rule is untouched.

    A pruner that cuts at a fixed threshold (ies) keeps everything until each sample was trained:
    a zero that nothing was measured for says nothing about the sample.

    Args:
        base: The pruner's own scorer, which is not used.
        params: Options of ``BLS_OPTIONS``.

    Raises:
        InputError: An unknown option or a value out of range.
    """

    signals = frozenset({"batch_loss"})
    reads_loss = False
    batch_weights = True

    def __init__(self, base: Scorer, **params: Any) -> None:
        self.params: dict[str, Value] = resolve(BLS_OPTIONS, params, "bls")
        self.alpha = float(str(self.params["bls.alpha"]))
        if self.alpha >= 1:
            raise InputError(
                "1 would never change a score", where="bls.alpha", accepted="0 to below 1"
            )
        self.start = 0.0 if self.params["bls.start"] == "zero" else math.nan
        self.epoch = 0
        self.score: Tensor | None = None
        self.forwarded: Tensor | None = None

    def begin(self, view: TrainView) -> None:
        """Starts every score."""
        self.epoch, self.forwarded = 0, None
        self.score = torch.full((view.num_samples,), self.start, device=view.device)

    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float32 [N]; NaN before the first visit where ``bls.start`` is ``first``."""
        assert self.score is not None
        if progress.epoch > self.epoch:
            visited = tables.last_seen == progress.epoch - 1
            if self.forwarded is not None:
                visited[self.forwarded] = False
            self.score = ema(self.score, tables.signal("batch_loss"), visited, self.alpha)
            self.epoch = progress.epoch
        unseen = self.start == 0.0 and bool((tables.seen == 0).any())
        self.threshold = -math.inf if unseen else None
        return self.score.clone()

    def planned(self, plan: Plan) -> None:
        """Remembers which samples the epoch re-scores without training them."""
        self.forwarded = plan.forward_only

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """Scores, the epochs that are in them, and the samples that the present one re-scores."""
        state: dict[str, Tensor | int | float | str] = {"epoch": self.epoch}
        if self.score is not None:
            state["score"] = self.score
        return state if self.forwarded is None else {**state, "forwarded": self.forwarded}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        assert self.score is not None
        self.epoch = int(state["epoch"])
        self.score.copy_(state["score"])
        forwarded = state.get("forwarded")
        self.forwarded = None if forwarded is None else forwarded.to(self.score.device)
