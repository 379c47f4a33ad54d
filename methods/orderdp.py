"""OrderDP (Jin et al., ICLR 2026): the largest losses of a random pool."""

from __future__ import annotations

import math
from fractions import Fraction

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
    kept_count,
    register_method,
)
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["inclusion", "shares", "sizes", "top_of_pool"]

#: log(0.5) / log(0.3): the exponent at which a saving of 0.7 gives the paper's shares .5 and .6.
_EXPONENT = 0.5757166
#: A product this close below a whole number is that number.
_WHOLE = Fraction(1, 10**9)


def shares(ratio: float) -> tuple[float, float]:
    """Pool as a share of the samples and part of the pool that is kept, whose product is 1 - p.

    Args:
        ratio: Share p of the samples that is left out.
    """
    pool = (1 - ratio) ** _EXPONENT
    return pool, (1 - ratio) / pool if pool else 1.0


def sizes(num_samples: int, pool: float, top: float) -> tuple[int, int]:
    """Samples of the pool and samples kept of it, both rounded down in exact arithmetic.

    Args:
        num_samples: N.
        pool: Share of the samples.
        top: Share of the pool.
    """
    drawn = math.floor(Fraction(str(pool)) * num_samples + _WHOLE)
    return drawn, math.floor(Fraction(str(top)) * drawn + _WHOLE)


def top_of_pool(scores: Tensor, pool: Tensor, q: int, rng: Stream | None = None) -> Tensor:
    """The samples of a pool with the largest scores (OrderDP: cifar/orderDP/orderDP.py).

    Args:
        scores: float [N]; NaN comes before every number.
        pool: int64 [s], distinct positions.
        q: 0..s.
        rng: Stream of a random key among equal scores; None takes them by place in the pool.

    Returns:
        int64 [q], positions by descending score.

    Raises:
        ValueError: q is not in 0..s.
    """
    if not 0 <= q <= len(pool):
        raise ValueError(f"cannot keep {q} of a pool of {len(pool)}")
    if rng is not None:
        pool = pool[rng.permutation(len(pool), pool.device)]
    return pool[scores[pool].argsort(stable=True, descending=True)[:q]]


def inclusion(num_samples: int, s: int, q: int) -> Tensor:
    """Probability with which the sample of each rank is trained in an epoch.

    The sample of rank j (1 = largest score) is trained if it is in the pool and fewer than q of the
    j - 1 samples above it are (Theorem 1).

    Args:
        num_samples: N.
        s: Samples of the pool, 1..N.
        q: Samples kept of it, 0..s.

    Returns:
        float64 [N] by rank, largest score first; rationals, rounded once.
    """
    n = num_samples
    # Pools that hold the sample of rank j and fewer than q of those above it.
    good = math.comb(n - 1, s - 1) if q else 0
    every, found = math.comb(n, s), []
    for j in range(1, n + 1):
        found.append(good / every)
        if 1 <= q < s and j < n:
            # With rank j in the pool and exactly q - 1 above it, rank j + 1 comes too late.
            good -= math.comb(j - 1, q - 1) * math.comb(n - 1 - j, s - 1 - q)
    return torch.tensor(found, dtype=torch.float64)


@register_method("orderdp")
class OrderDP(ScoreBasedPruner):
    """Draws a uniform pool each epoch and trains on its largest losses, with weight 1.

    There is no annealing phase: the paper needs none, and the option of that name has no effect in
    the official code. Without ``pool`` and ``top`` both follow from the ratio.
    """

    options = {
        "pool": Option(
            None, "share of the samples in the pool, given with top; none: from the ratio", 0.0,
            1.0, optional=True, kind=float,
        ),
        "top": Option(
            None, "share of the pool that is kept, given with pool; none: from the ratio", 0.0,
            1.0, optional=True, kind=float,
        ),
        "unseen_score": Option(3.0, "score before the first visit; none keeps", optional=True),
    }  # fmt: skip
    card = Card(
        "OrderDP",
        "Jin et al., OrderDP, ICLR 2026",
        "https://github.com/shengze-xu/OrderDP",
        "jin2026orderdp",
        side="high within a random pool",
    )
    randomised = True
    full_at = {"pool": 1.0, "top": 1.0}  # and ratio 0 without them
    pool: float | None
    top: float | None
    unseen_score: float | None

    def __init__(self, scorer: Scorer | None = None, **params: object) -> None:
        super().__init__(scorer, **params)
        if (self.pool is None) != (self.top is None):
            given, other = ("top", "pool") if self.pool is None else ("pool", "top")
            raise InputError(
                f"{given} is given without {other}", where=f"{self.name}.{given}",
                accepted="both, or neither",
            )  # fmt: skip

    def own_scorer(self) -> Scorer:
        """The last training loss."""
        return LastLoss(self.unseen_score)

    def pruned_share(self, ratio: float) -> float:
        """As asked for, or as the options say."""
        if self.pool is None or self.top is None:
            return ratio
        return 1 - self.pool * self.top

    def _sizes(self, n: int) -> tuple[int, int]:
        if self.pool is not None and self.top is not None:
            drawn, kept = sizes(n, self.pool, self.top)
            return max(1, drawn), max(1, kept)
        ratio = self.view.ratio
        kept = max(1, kept_count(n, ratio))
        return min(n, max(kept, round(shares(ratio)[0] * n))), kept

    def prune(self, scores: Tensor, progress: Progress, rng: Stream) -> Plan:
        """One epoch over the scored samples; see ``ScoreBasedPruner.prune``."""
        drawn, kept = self._sizes(len(scores))
        pool = rng.child("pool").sample(len(scores), drawn, scores.device)
        return Plan(top_of_pool(scores, pool, kept, rng.child("ties")))
