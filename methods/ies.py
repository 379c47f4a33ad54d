"""IES (Yuan et al., ICLR 2025): instance-dependent early stopping by loss curvature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    Plan,
    Progress,
    ScoreBasedPruner,
    Scorer,
    Tables,
    TrainView,
    register_method,
)
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["mastered"]

#: Midpoint of the 10 to 50 % of backward passes that the paper's abstract reports as saved.
_PUBLISHED_SHARE = 0.3


def visits_needed(window: int, last: int) -> int:
    """Losses a sample needs before it can be mastered: window + last second differences."""
    return window + last + 2


def curvature(losses: Tensor, window: int = 3, last: int = 1) -> Tensor:
    """Sum of the last ``last`` moving averages of the absolute second difference of the loss.

    Args:
        losses: float [t, N], visits in time order.
        window: Length ma of each moving average.
        last: Number k of averages, each one visit after the other.

    Returns:
        float64 [N]; NaN everywhere while t < window + last + 2 (the official code asks for
        window + last differences although it uses one fewer).
    """
    t, n = losses.shape
    if t < visits_needed(window, last):
        return torch.full((n,), torch.nan, dtype=torch.float64, device=losses.device)
    return _bending(losses[t - (window + last + 1) :], window, last)


def _bending(tail: Tensor, window: int, last: int) -> Tensor:
    tail = tail.double()
    bend = (tail[2:] - 2 * tail[1:-1] + tail[:-2]).abs_()
    if last == 1:
        return bend.mean(0)
    return bend.unfold(0, window, 1).mean(2).sum(0)


def mastered(losses: Tensor, threshold: float, window: int = 3, last: int = 1) -> Tensor:
    """Samples whose loss has stopped moving: curvature strictly below the threshold.

    The level of the loss plays no part: a wrong label with a flat, high loss is mastered too.

    Args:
        losses: float [t, N], every sample observed t times.
        threshold: Cut on the criterion.
        window: Length of the moving average.
        last: Number of averages summed.

    Returns:
        bool [N]; all False while t < window + last + 2.
    """
    return curvature(losses, window, last) < threshold


class Curvature(Scorer):
    """The criterion of IES from the visits in the tables; NaN until there are enough."""

    def __init__(self, window: int, last: int) -> None:
        self.average, self.last = window, last
        self.window = visits_needed(window, last)

    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float64 [N]."""
        seen, ring = tables.seen, len(tables.losses)
        used = self.average + self.last + 1
        least, most = (int(v) for v in seen.aminmax())
        if least == most:
            recent = torch.arange(least - used, least, device=seen.device) % ring
            recent_losses = tables.losses[recent]
        else:
            back = torch.arange(used, 0, -1, device=seen.device)
            recent_losses = tables.losses.gather(0, (seen - back[:, None]) % ring)
        score = _bending(recent_losses, self.average, self.last)
        if least >= self.window:
            return score
        return score.masked_fill(seen < self.window, torch.nan)


@register_method("ies")
class IES(ScoreBasedPruner):
    """Stops training on mastered samples; they are re-scored and return when their loss moves.

    Only backward passes are saved: every sample is forwarded every epoch. No rescaling and no
    annealing. The set is recomputed from scratch each epoch. Under ``+align`` the fixed threshold
    applies to the alignment score (``align.threshold``); the excluded are still re-scored, so
    that their alignment can recover. Under ``+bls`` it applies to the batch-loss score, which only
    training renews: what is excluded does not return.
    """

    options = {
        "threshold": Option(
            None, "cut on the criterion; none: 1e-3, or 2e-3 above 10 classes", 0.0,
            optional=True, kind=float, search=(1e-5, 1e-1), log=True,
        ),
        "ma": Option(3, "length of the moving average", 1, 100),
        "last": Option(1, "number of averages summed", 1, 100),
        "sticky_empty": Option(
            False, "keep the old exclusions where the new set is empty, as the released code does"
        ),
    }  # fmt: skip
    card = Card(
        "IES",
        "Yuan et al., Instance-dependent Early Stopping, ICLR 2025",
        "https://github.com/tmllab/2025_ICLR_IES",
        "yuan2025ies",
        cost="one forward pass per excluded sample and epoch",
        side="high",
    )
    zero_is_full = False
    full_at = {"threshold": 0.0}
    threshold: float | None
    ma: int
    last: int
    sticky_empty: bool
    previous: Tensor | None = None

    def own_scorer(self) -> Scorer:
        """Loss curvature."""
        return Curvature(self.ma, self.last)

    def begin(self, view: TrainView) -> None:
        """Settles the threshold, which the official code doubles on CIFAR-100."""
        super().begin(view)
        standard = 1e-3 if view.num_classes <= 10 else 2e-3
        self.cut = standard if self.threshold is None else self.threshold
        self.previous = None

    def pruned_share(self, ratio: float) -> float:
        """Counted in backward passes. Data decide it: prefer a pilot's figure."""
        return 0.0 if self.threshold == 0.0 else _PUBLISHED_SHARE

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """Excludes the mastered; with ``sticky_empty``, the last ones where there are none."""
        plan = super().plan(progress, tables, rng)
        if not self.sticky_empty:
            return plan
        if plan.forward_only is not None:
            self.previous = plan.forward_only
        if self.previous is None:
            return plan
        out = torch.zeros(tables.num_samples, dtype=torch.bool, device=self.view.device)
        out[self.previous] = True
        return self.settled(Plan((~out).nonzero().squeeze(1), None, self.previous))

    def prune(self, scores: Tensor, progress: Progress, rng: Stream) -> Plan:
        """One epoch over the scored samples; see ``ScoreBasedPruner.prune``."""
        cut = self.cut if self.scorer.threshold is None else self.scorer.threshold
        done = scores < cut
        everything = torch.arange(len(scores), device=scores.device)
        excluded = everything[done]
        return Plan(everything[~done], None, excluded if len(excluded) else None)

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """The scorer's state and, with ``sticky_empty``, the exclusions in force."""
        state = super().state_dict()
        return state if self.previous is None else {**state, "previous": self.previous}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        super().load_state_dict(state)
        previous = state.get("previous")
        self.previous = None if previous is None else previous.to(self.view.device)
