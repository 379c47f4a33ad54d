"""UCB and epsilon-greedy pruning (Raju et al., 2021): smoothed losses as rewards of a bandit.

No official code exists and only the abstract was available: the defaults are those of a third
party's two classes and are unverified.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    DynamicPruner,
    Plan,
    Progress,
    Tables,
    TrainView,
    kept_count,
    register_method,
)
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["ema_score", "greedy_random", "ucb_score", "ucb_update"]


def ucb_update(
    mean: Tensor, variance: Tensor, values: Tensor, updated: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Moving mean of the losses, and moving square of their distance from the mean before.

    Args:
        mean: float [N].
        variance: float [N].
        values: float [N], new losses.
        updated: bool [N], samples that have one; the others keep mean and variance.
        alpha: Weight of the new loss.

    Returns:
        The new mean and variance.
    """
    apart = (values - mean).square()
    spread = (1 - alpha) * variance + alpha * apart
    return ema_score(mean, values, updated, alpha), torch.where(updated, spread, variance)


def ucb_score(mean: Tensor, variance: Tensor, confidence: float) -> Tensor:
    """mean + confidence * variance (the variance, not its root).

    Args:
        mean: float [N].
        variance: float [N].
        confidence: Weight c of the variance.
    """
    return mean + confidence * variance


def ema_score(score: Tensor, values: Tensor, updated: Tensor, alpha: float) -> Tensor:
    """(1 - alpha) * score + alpha * value where updated, else the score.

    Args:
        score: float [N].
        values: float [N], new losses.
        updated: bool [N].
        alpha: Weight of the new loss.
    """
    return torch.where(updated, (1 - alpha) * score + alpha * values, score)


def greedy_random(scores: Tensor, kept: int, epsilon: float, rng: Stream) -> tuple[Tensor, Tensor]:
    """The largest scores, and floor(epsilon * kept) samples drawn from the others.

    Args:
        scores: float [N]; NaN comes before every number.
        kept: Samples kept in all, 0 to N.
        epsilon: Share of them that is drawn uniformly.
        rng: Order among equal scores, and the draw.

    Returns:
        int64 [kept - floor(epsilon * kept)], largest score first, and int64 of the rest, ascending.
    """
    drawn = math.floor(Fraction(str(epsilon)) * kept)
    order = rng.child("ties").permutation(len(scores), scores.device)
    order = order[scores[order].argsort(stable=True, descending=True)]
    greedy, others = order[: kept - drawn], order[kept - drawn :].sort().values
    return greedy, others[rng.child("epsilon").sample(len(others), drawn, scores.device)]


class _Bandit(DynamicPruner):
    """Keeps exactly round-half-even((1 - p) N) samples, chosen anew every ``period`` epochs.

    All samples are trained until each has a loss. Scores are renewed from the losses of training,
    without a pass of their own; the third party scores every sample in eval mode before a choice.
    """

    reads_loss = True
    alpha: float
    period: int
    #: Share of the kept samples that is drawn uniformly.
    epsilon: float = 0.0
    epoch: int = 0
    since: int = -1
    chosen: Tensor | None = None

    def begin(self, view: TrainView) -> None:
        """Starts every score."""
        super().begin(view)
        self.epoch, self.since, self.chosen = 0, -1, None

    @abstractmethod
    def renew(self, losses: Tensor, updated: Tensor) -> None:
        """Takes in the losses, float64 [N], of the samples that were just trained."""

    @abstractmethod
    def scores(self) -> Tensor:
        """float64 [N]."""

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """The set in force, chosen anew where its time is over."""
        done = progress.epoch
        if done > self.epoch:
            self.renew(tables.loss.double(), tables.last_seen == done - 1)
            self.epoch = done
        if bool((tables.seen == 0).any()):
            return self.everything()
        if self.chosen is None or not 0 <= done - self.since < self.period:
            kept = max(1, kept_count(self.view.num_samples, self.view.ratio))
            self.last_scores = self.scores()
            parts = greedy_random(self.last_scores, kept, self.epsilon, rng)
            self.chosen, self.since = torch.cat(parts).sort().values, done
        return Plan(self.chosen)

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """Epochs taken in, and the set in force with the epoch of its choice."""
        state: dict[str, Tensor | int | float | str] = {"epoch": self.epoch, "since": self.since}
        return state if self.chosen is None else {**state, "chosen": self.chosen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self.epoch, self.since = int(state["epoch"]), int(state["since"])
        chosen = state.get("chosen")
        self.chosen = None if chosen is None else chosen.to(self.view.device)


_PAPER = (
    "Raju, Daruwalla, Lipasti, Accelerating Deep Learning with Dynamic Data Pruning, "
    "arXiv 2111.12621, 2021"
)
_OPTIONS: Mapping[str, Option] = {
    "alpha": Option(0.8, "weight of the new loss in the moving averages", 0.0, 1.0,
                    search=(0.2, 1.0)),
    "period": Option(1, "epochs for which a chosen set is kept", 1, 1000, search=(1, 10),
                     scales=True),
}  # fmt: skip


@register_method("ucb")
class UCB(_Bandit):
    """Keeps the largest sums of moving mean and moving variance of the loss.

    The defaults are a third party's; none of them could be checked against the paper.
    """

    options = {
        **_OPTIONS,
        "confidence": Option(1.0, "weight of the variance", 0.0, search=(0.0, 4.0)),
    }
    card = Card("UCB", _PAPER, bibtex_key="raju2021dynamic", side="high")
    confidence: float

    def begin(self, view: TrainView) -> None:
        """Starts mean and variance at 0."""
        super().begin(view)
        zeros = torch.zeros(view.num_samples, dtype=torch.float64, device=view.device)
        self.mean, self.variance = zeros, zeros.clone()

    def renew(self, losses: Tensor, updated: Tensor) -> None:
        """One step of both averages."""
        self.mean, self.variance = ucb_update(self.mean, self.variance, losses, updated, self.alpha)

    def scores(self) -> Tensor:
        """The upper confidence bound, float64 [N]."""
        return ucb_score(self.mean, self.variance, self.confidence)

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """Both averages beside the set in force."""
        return {**super().state_dict(), "mean": self.mean, "variance": self.variance}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        super().load_state_dict(state)
        self.mean.copy_(state["mean"])
        self.variance.copy_(state["variance"])


@register_method("eps-greedy")
class EpsilonGreedy(_Bandit):
    """Keeps the largest moving averages of the loss, and a share epsilon at random.

    The defaults are a third party's; none of them could be checked against the paper.
    """

    options = {
        **_OPTIONS,
        "epsilon": Option(0.1, "share of the kept samples drawn uniformly", 0.0, 1.0,
                          search=(0.0, 0.5)),
    }  # fmt: skip
    card = Card("Epsilon-greedy", _PAPER, bibtex_key="raju2021dynamic",
                side="high, and a uniform share")  # fmt: skip
    randomised = True

    def begin(self, view: TrainView) -> None:
        """Starts every score at 1."""
        super().begin(view)
        self.score = torch.ones(view.num_samples, dtype=torch.float64, device=view.device)

    def renew(self, losses: Tensor, updated: Tensor) -> None:
        """One step of the average."""
        self.score = ema_score(self.score, losses, updated, self.alpha)

    def scores(self) -> Tensor:
        """The moving average, float64 [N]."""
        return self.score

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """The average beside the set in force."""
        return {**super().state_dict(), "score": self.score}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        super().load_state_dict(state)
        self.score.copy_(state["score"])
