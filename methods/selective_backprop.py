"""Selective Backprop (Jiang et al., 2019): samples of each batch by the rank of their loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Batch, BatchPruner, Card, Progress, register_method
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = [
    "histogram_probabilities",
    "history_probabilities",
    "rank_probabilities",
    "select_by_rank",
    "selects",
]


def _log_weights(size: int, keep: float, device: torch.device | str = "cpu") -> Tensor:
    """Logarithms of ((rank + 0.5) / size)^(1 / keep - 1): finite where the powers underflow."""
    rank = torch.arange(size, dtype=torch.float64, device=device)
    return (1 / keep - 1) * ((rank + 0.5) / size).log()


def rank_probabilities(size: int, keep: float) -> Tensor:
    """Probability that the first draw takes each rank: in proportion to
    ((rank + 0.5) / size)^(1 / keep - 1).

    Args:
        size: Samples of the batch.
        keep: Share of a batch that is trained, in (0, 1].

    Returns:
        float64 [size], by ascending loss; sums to 1.

    Raises:
        ValueError: ``keep`` is not in (0, 1].
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep {keep} is not in (0, 1]")
    return _log_weights(size, keep).softmax(0)


def select_by_rank(losses: Tensor, k: int, keep: float, rng: Stream) -> Tensor:
    """Draws k of a batch without replacement, each in proportion to the weight of its rank.

    Only the order of the losses counts. Equal losses share their ranks at random.

    Args:
        losses: float [B]; NaN counts as largest.
        k: Number to choose, 0..B.
        keep: Share that sets the exponent, in (0, 1].
        rng: The draws.

    Returns:
        int64 [k], distinct places in the order drawn. Nothing is read back to the host.

    Raises:
        ValueError: k is not in 0..B, or ``keep`` not in (0, 1].
    """
    size, device = len(losses), losses.device
    if not 0 <= k <= size or not 0 < keep <= 1:
        raise ValueError(f"cannot select {k} of {size} with keep {keep}")
    order = rng.child("ties").permutation(size, device)
    by_loss = order[losses[order].argsort(stable=True)]
    # The order of log weight + Gumbel noise is that of successive draws in proportion to weight.
    tiny = torch.finfo(torch.float64).tiny
    waits = torch.log1p(-rng.child("picks").uniform(size, device)).neg_().clamp_min_(tiny)
    merit = _log_weights(size, keep, device) - waits.log()
    return by_loss[merit.argsort(descending=True, stable=True)[:k]]


def history_probabilities(
    losses: Tensor, history: Tensor, beta: float, length: int = 1024, floor: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The authors' rule: each sample has a coin of its own, max(floor, F(loss)^beta).

    F is the share of the last ``length`` losses, this batch included, that lie strictly below.

    Args:
        losses: float [B].
        history: float [H], earlier losses, oldest first.
        beta: Exponent; about 1 / (beta + 1) of the samples are selected.
        length: Losses that are remembered.
        floor: Least probability.

    Returns:
        float64 [B], and the new history, at most ``length`` long.
    """
    history = torch.cat([history, losses.to(history.dtype)])[-length:]
    below = torch.searchsorted(history.sort().values, losses.to(history.dtype))
    return (below.double() / len(history)).pow(beta).clamp_min(floor), history


def histogram_probabilities(losses: Tensor, beta: float, slots: int = 1000) -> Tensor:
    """The form of KAKURENBO's baseline: one coin per sample and epoch, F(loss)^beta.

    F is the inclusive distribution function of a histogram of the losses, scaled to 0..1.

    Args:
        losses: float [N], all finite.
        beta: Exponent.
        slots: Of the histogram.

    Returns:
        float64 [N]; all 1 where all losses are equal.
    """
    exact = losses.double()
    low, high = exact.aminmax()
    spread = (high - low).clamp_min(torch.finfo(torch.float64).tiny)
    slot = ((exact - low) / spread * slots).long().clamp_max(slots - 1)
    below = torch.bincount(slot, minlength=slots).cumsum(0)
    return (below[slot].double() / len(exact)).pow(beta)


def selects(
    progress: float, batch: int, start: float = 0.5, end: float = 0.9, interrupt: int = 2
) -> bool:
    """Whether a batch is selected from; otherwise it is trained whole.

    Args:
        progress: Share of the run that is done.
        batch: Number of the batch.
        start: Progress at which selection begins.
        end: Progress at which it is over.
        interrupt: Every so manyth batch is whole; 0 for none.
    """
    return start <= progress < end and not (interrupt > 0 and (batch + 1) % interrupt == 0)


@register_method("selective-backprop")
class SelectiveBackprop(BatchPruner):
    """Draws a part of each batch, large losses first in expectation; weights stay 1.

    Losses are cross-entropies of an eval-mode pass. By default every batch is selected from, in
    every epoch; a schedule trains the other batches whole.
    """

    options = {
        "start": Option(0.0, "progress at which selection begins", 0.0, 1.0),
        "end": Option(1.0, "progress at which selection ends", 0.0, 1.0),
        "interrupt": Option(
            0, "every so manyth batch of an epoch is trained whole; 0: none", 0, 1_000_000
        ),
    }  # fmt: skip
    card = Card(
        "Selective Backprop",
        "Jiang et al., Accelerating Deep Learning by Focusing on the Biggest Losers, "
        "arXiv 1910.00762, 2019",
        "https://github.com/angelajiang/SelectiveBackprop",
        "jiang2019accelerating",
        cost="one forward pass per sample and epoch",
        side="high, by chance",
    )
    randomised = True
    draws = ("ties", "picks")
    start: float
    end: float
    interrupt: int

    def __init__(self, **params: Any) -> None:
        """Checks the options.

        Raises:
            InputError: As for every method, or a schedule that never selects.
        """
        super().__init__(**params)
        if self.start >= self.end or self.interrupt == 1:
            raise InputError(
                f"start {self.start:g}, end {self.end:g}, interrupt {self.interrupt} select from "
                "no batch",
                where=self.name,
                accepted="start below end, and interrupt 0 or at least 2",
            )

    def pruned_share(self, ratio: float) -> float:
        """That of the batches that are selected from, over the whole run."""
        whole = 1 / self.interrupt if self.interrupt else 0.0
        return ratio * (self.end - self.start) * (1 - whole)

    def share(self, progress: Progress, step: int) -> float | None:
        """1 where the schedule trains the batch whole; progress is that of the epoch's start."""
        if selects(progress.fraction, step, self.start, self.end, self.interrupt):
            return None
        return 1.0

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """int64 [k], see ``select_by_rank``."""
        losses = F.cross_entropy(batch.logits, batch.labels, reduction="none")
        return select_by_rank(losses, k, 1 - self.view.ratio, rng)
