"""RePB (ICLR 2026): samples at or above the mean loss of their batch stay, others by a coin.

Provisional: no code is available and the paper's text was not; the rule is that of a reading note
and the public reviews.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.methods.base import Card, DynamicPruner, Plan, Progress, Tables, register_method
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["frequency_weights", "next_pool"]

#: A whole run cannot save more: the largest losses stay.
_LARGEST_SHARE = 0.9


def next_pool(
    losses: Tensor, window_mean: Tensor, used: Tensor, uniform: Tensor, rho: float
) -> Tensor:
    """The samples of the next epoch.

    Args:
        losses: float [N], last unweighted losses; NaN stays.
        window_mean: float [N], mean loss of the batch in which each sample was last trained.
        used: bool [N], samples of the epoch that ended.
        uniform: float [N] in [0, 1).
        rho: Chance that a used sample below the mean is dropped, and that one that was not used
            stays out.

    Returns:
        bool [N].
    """
    stays = ~(losses < window_mean) | (uniform >= rho)
    return torch.where(used, stays, uniform < 1 - rho)


def frequency_weights(counts: Tensor, epochs: int) -> Tensor:
    """epochs / counts: the inverse of how often a sample was trained; 1 where either is 0.

    Args:
        counts: [N], epochs that trained each sample.
        epochs: Epochs done.

    Returns:
        float32 [N].
    """
    weights = epochs / counts.clamp(min=1).float()
    return torch.where(counts > 0, weights, 1.0) if epochs else torch.ones_like(weights)


@register_method("repb")
class RePB(DynamicPruner):
    """Drops a share rho of the samples whose loss lies below their batch's mean, for one epoch.

    Samples are weighted by the inverse of how often they were trained. The method decides its own
    share of the samples: a budget of samples is met exactly, or the run ends as skipped.
    """

    options = {
        "rho": Option(0.5, "chance to be dropped below the mean, and to stay out for another epoch",
                      0.0, 1.0, search=(0.2, 0.8)),
        "rescale": Option(True, "weight by epochs done / epochs in which the sample was trained"),
    }  # fmt: skip
    card = Card(
        "RePB",
        "Inconsistency Biases in Dynamic Data Pruning, ICLR 2026",
        bibtex_key="repb2026",
        side="high, and a weighted share of low",
        provisional="no code and no text of the paper was available; after a note and its reviews",
    )
    signals = frozenset({"batch_loss"})
    reads_loss = True
    randomised = True
    zero_is_full = False
    full_at = {"rho": 0.0}
    rho: float
    rescale: bool

    def cautions(self) -> list[str]:
        """The rule is not checked against the paper."""
        return [f"repb is provisional: {self.card.provisional}"]

    def pruned_share(self, ratio: float) -> float:
        """In the long run, if half of the trained samples lie below the mean. Data decide it:
        prefer a pilot's figure."""
        return min(_LARGEST_SHARE, self.rho / (2 - self.rho))

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """The pool after the last epoch; where it is empty, the used sample of the largest loss."""
        done = progress.epoch
        if done == 0 or self.rho == 0:
            return self.everything()
        used = tables.last_seen == done - 1
        uniform = rng.uniform(tables.num_samples, self.view.device)
        pool = next_pool(tables.loss, tables.signal("batch_loss"), used, uniform, self.rho)
        indices = pool.nonzero().squeeze(1)
        if len(indices) == 0:
            indices = torch.where(used, tables.loss, -torch.inf).argmax(0, keepdim=True)
        if not self.rescale:
            return Plan(indices)
        return Plan(indices, frequency_weights(tables.seen[indices], done))
