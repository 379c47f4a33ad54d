"""SeTa (Zhou et al., 2025): groups samples by score and slides a window over the groups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import (
    Card,
    LastLoss,
    Plan,
    Progress,
    ScoreBasedPruner,
    Scorer,
    TrainView,
    register_method,
)
from prunebench.methods.infobatch import keep_share
from prunebench.methods.kmeans1d import lloyd_cuts, optimal_cuts
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["group_by_score", "window_groups"]

Floats = npt.NDArray[Any]


def window_groups(k: int, alpha: float | Fraction, iteration: int) -> list[int]:
    """Ranks of the groups that train at a prune call, 0 = lowest score.

    The window holds W = round-half-even(k alpha) groups. The first call takes all groups;
    call c then starts at c mod (k - W + 1).

    Args:
        k: Number of groups.
        alpha: Window size as a share of the groups.
        iteration: Prune calls so far.

    Raises:
        ValueError: The window is empty (never at iteration 0, which has no window).
    """
    if iteration == 0:
        return list(range(k))
    size = min(k, round(k * alpha))
    if size < 1:
        raise ValueError(f"window of round({k} x {alpha}) groups is empty")
    start = iteration % (k - size + 1)
    return list(range(start, start + size))


def group_by_score(scores: Tensor, k: int, grouping: str = "kmeans") -> Tensor:
    """Groups scores by one-dimensional k-means, ordered by their means.

    Args:
        scores: float [n], finite.
        k: Number of groups wanted.
        grouping: ``kmeans`` gives the groups of scikit-learn's
            ``KMeans(k, random_state=0, n_init=1)``, as the official code does, bit for bit on
            float64 scores. On float32 scores its sums depend on its threads: a few scores at a
            border may differ at 50,000, and its start, and so whole groups, at 1,000,000.
            ``exact`` gives the optimum, which one start often misses.

    Returns:
        int64 [n], rank of the group, 0 = lowest. Empty groups have no rank. Equal scores are
        split in order into chunks of ceil(n / k).

    Raises:
        ValueError: k is below 1, or a score is not finite.
    """
    n = len(scores)
    values, cuts = _cuts(scores, k, grouping)
    if cuts is None:
        return torch.arange(n, device=scores.device) // math.ceil(n / k)
    ranks = np.zeros(n, dtype=np.int64)
    for cut in cuts:
        ranks += values >= cut
    return torch.from_numpy(ranks).to(scores.device)


def _cuts(scores: Tensor, k: int, grouping: str) -> tuple[Floats, Floats | None]:
    """The scores, and the ascending lowest ones of the second and later groups; None where
    all are equal."""
    if k < 1:
        raise ValueError(f"cannot form {k} groups")
    wide = scores.dtype in (torch.float32, torch.float64)
    values: Floats = (scores if wide else scores.double()).detach().cpu().numpy()
    if len(values) == 0 or k == 1:
        return values, values[:0]
    least, most = values.min(), values.max()
    if not (np.isfinite(least) and np.isfinite(most)):
        raise ValueError("scores must be finite")
    if least == most:
        return values, None
    exact = grouping == "exact" or len(values) < k
    return values, optimal_cuts(values, k) if exact else lloyd_cuts(values, k)


@register_method("seta")
class SeTa(ScoreBasedPruner):
    """Trains on a random (1 - r) of the samples, less the groups outside a sliding window.

    Never rescales. After ``delta`` of the epochs only the random part remains. With k = 1 and
    alpha = 1 this is Dynamic Random at p = r. Full training needs r = 0 and alpha = 1.
    """

    options = {
        "r": Option(0.1, "share dropped at random each epoch", 0.0, 1.0, search=(0.0, 0.5)),
        "k": Option(5, "number of groups", 1, 1000, search=(2, 10)),
        "alpha": Option(0.9, "window, as a share of the groups", 0.0, 1.0, search=(0.4, 0.9)),
        "delta": Option(0.875, "share of the epochs with windows", 0.0, 1.0, search=(0.7, 1.0)),
        "grouping": Option(
            "kmeans", "one k-means++ start as published, or optimal", choices=("kmeans", "exact")
        ),
        "orientation": Option(
            "literal", "slide over ascending or negated scores, or drop the lowest groups always",
            choices=("literal", "negated", "fixed_high"),
        ),
        "unseen_score": Option(3.0, "score before the first visit; none keeps", optional=True),
    }  # fmt: skip
    card = Card(
        "SeTa",
        "Zhou et al., Scale Efficient Training for Large Datasets, CVPR 2025",
        "https://github.com/mrazhou/SeTa",
        "zhou2025seta",
        cost="one-dimensional k-means per epoch",
        side="window",
    )
    randomised = True
    zero_is_full = False
    full_at = {"r": 0.0, "alpha": 1.0}
    r: float
    k: int
    alpha: float
    delta: float
    grouping: str
    orientation: str
    unseen_score: float | None

    calls: int = 0

    def __init__(self, scorer: Scorer | None = None, **params: Any) -> None:
        super().__init__(scorer, **params)
        if round(self.k * self.alpha) < 1:
            raise InputError(
                f"a window of {self.alpha:g} x {self.k} groups is empty",
                where=f"{self.name}.alpha",
                accepted=f"above {0.5 / self.k:g}",
            )

    def begin(self, view: TrainView) -> None:
        """Starts with the first prune call."""
        super().begin(view)
        self.calls = 0

    def own_scorer(self) -> Scorer:
        """The last training loss."""
        return LastLoss(self.unseen_score)

    def pruned_share(self, ratio: float) -> float:
        """Random part throughout; in the window phase as if all groups were of one size.

        Group sizes are very unequal in practice: a pilot's figure is better
        (``budget_share`` of the run).
        """
        window = max(1, round(self.k * self.alpha)) / self.k
        keep = float(keep_share(self.r))
        return 1 - keep * (1 - self.delta * (1 - window))

    def prune(self, scores: Tensor, progress: Progress, rng: Stream) -> Plan:
        """One epoch over the scored samples; see ``ScoreBasedPruner.prune``."""
        n, device = len(scores), scores.device
        share = keep_share(self.r)
        drawn = rng.sample(n, max(1, math.floor(share * n)), device)
        if progress.annealing(self.delta):
            return Plan(drawn)
        call, self.calls = self.calls, self.calls + 1
        if len(drawn) <= self.k:
            return Plan(torch.arange(n, device=device))
        if call == 0:
            return Plan(drawn)
        part = scores.index_select(0, drawn)
        part = part.neg_() if self.orientation == "negated" else part
        values, cuts = _cuts(part, self.k, self.grouping)
        if cuts is None:
            # Equal scores are cut into consecutive chunks, which must not follow the data's order.
            drawn = drawn[rng.child("ties").permutation(len(drawn), device)]
            ranks = np.arange(len(drawn)) // math.ceil(len(drawn) / self.k)
            groups = int(ranks[-1]) + 1
        else:
            groups = len(cuts) + 1
        # Coinciding scores leave fewer than k groups; the window keeps its size where it fits.
        size = min(groups, round(self.k * self.alpha))
        window = window_groups(groups, Fraction(size, groups), call)
        start = groups - size if self.orientation == "fixed_high" else window[0]
        stop = start + size
        if cuts is None:
            inside = (ranks >= start) & (ranks < stop)
        else:
            inside = np.ones(len(values), dtype=np.bool_)
            if start:
                inside = values >= cuts[start - 1]
            if stop < groups:
                inside &= values < cuts[stop - 1]
        return Plan(drawn.index_select(0, torch.from_numpy(inside.nonzero()[0]).to(device)))

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """The scorer's state and the number of prune calls."""
        return {**super().state_dict(), "calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        super().load_state_dict(state)
        self.calls = int(state["calls"])
