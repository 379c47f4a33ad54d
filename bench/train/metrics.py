"""What a run kept: noise among the kept, AUROC of the score, per-class shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from prunebench.bench.train.evaluate import Readback


def rank_sum(scores: Tensor, positive: Tensor) -> Tensor:
    """What an AUROC is made of; nothing is read back to the host.

    Args:
        scores: float [N]; entries that are not finite are left out.
        positive: bool [N], on the same device.

    Returns:
        float64 [3]: the sum of the ranks of the positives (from 1, ties at their mean), the number
        of positives, and that of all. Each is a whole number or half of one, so that the order of
        the sums does not matter.
    """
    valid = scores.isfinite()
    positive = positive & valid
    values = torch.where(valid, scores.double(), math.inf)
    ordered = values.sort().values
    below = torch.searchsorted(ordered, values)
    ranks = (below + torch.searchsorted(ordered, values, right=True) + 1).double() / 2
    counts = torch.stack([positive.sum(), valid.sum()]).double()
    return torch.cat([torch.where(positive, ranks, 0.0).sum()[None], counts])


def _share_above(ranks: float, n_pos: float, n: float) -> float | None:
    """AUROC of a ``rank_sum``."""
    n_neg = n - n_pos
    if n_pos == 0 or n_neg == 0:
        return None
    return (ranks - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)


def auroc(scores: Tensor, positive: Tensor) -> float | None:
    """Probability that a positive scores above a negative, ties counted half.

    Args:
        scores: float [N]; entries that are not finite are left out.
        positive: bool [N].

    Returns:
        A share in [0, 1], or None where one side is empty.
    """
    return _share_above(*rank_sum(scores, positive.to(scores.device)).tolist())


def weight_sums(visited: Tensor, flipped: Tensor | None, weights: Tensor | None) -> Tensor:
    """float64 [2]: the loss weight of what was trained, and the part of it on wrong labels.

    Args:
        visited: int64 [n], samples trained.
        flipped: bool [N], wrong labels, or None for none.
        weights: float [n], the factor on the loss of each, or None for 1.
    """
    factors = torch.ones_like(visited, dtype=torch.float64) if weights is None else weights.double()
    wrong = torch.zeros_like(factors) if flipped is None else factors * flipped[visited]
    return torch.stack([factors.sum(), wrong.sum()])


class EpochFigures:
    """What the per-epoch table says of losses and noise, on its way to the host in one transfer.

    Args:
        loss: float32 [N], the loss table after the epoch.
        visited: int64 [n], samples trained in it.
        scores: float [N] that led to the plan, or None.
        flipped: bool [N], wrong labels (diagnostics only); None where there are none.
        weights: float [n], the factor on the loss of each of ``visited``, or None for 1.
    """

    def __init__(
        self,
        loss: Tensor,
        visited: Tensor,
        scores: Tensor | None,
        flipped: Tensor | None,
        weights: Tensor | None = None,
    ) -> None:
        self._trained, self._all = len(visited), len(loss)
        self._noisy, self._scored = flipped is not None, False
        parts = [loss[visited].double().mean()[None]]
        if flipped is not None:
            parts.append(flipped[visited].double().mean()[None])
            whole, wrong = weight_sums(visited, flipped, weights)
            parts.append((wrong / whole)[None])
            if scores is not None:
                parts.append(rank_sum(scores, flipped))
                self._scored = True
        self._values = Readback(torch.cat(parts))

    def row(self) -> dict[str, float | None]:
        """The figures by the name of their column, waited for."""
        loss, *noise = self._values.values()
        return {
            "kept_fraction": self._trained / self._all,
            "train_loss": loss if self._trained else None,
            "kept_noise_rate": noise[0] if self._trained and self._noisy else None,
            "kept_noise_weight": noise[1] if self._noisy and math.isfinite(noise[1]) else None,
            "score_auroc": _share_above(*noise[2:]) if self._scored else None,
        }


def whole_epochs(rows: Iterable[Mapping[str, float | int | None]]) -> Fraction:
    """Epochs of a run, one that the budget cut short counted by the share of its plan.

    Args:
        rows: The per-epoch table, with the samples ``trained`` and ``planned`` in each epoch.
    """
    total = Fraction(0)
    for row in rows:
        trained, planned = int(row["trained"] or 0), int(row["planned"] or 0)
        total += Fraction(trained, planned) if planned else 1
    return total


def end_loss(rows: Sequence[Mapping[str, float | int | None]]) -> float | None:
    """Mean training loss of the last epoch, with the one before it where the budget cut the last.

    Args:
        rows: The per-epoch table.

    Returns:
        A mean over samples, or None where nothing was trained in these epochs.
    """
    cut = (rows[-1]["trained"] or 0) < (rows[-1]["planned"] or 0)
    known = [(row["train_loss"], row["trained"] or 0) for row in rows[-2 if cut else -1 :]]
    total = sum(n for loss, n in known if loss is not None)
    return sum(loss * n for loss, n in known if loss is not None) / total if total else None


def class_shares(visits: Tensor, labels: Tensor, num_classes: int, epochs: float) -> Tensor:
    """Average share of each (noisy) class that was trained per epoch; NaN for empty classes.

    Args:
        visits: int64 [N], epochs in which each sample was trained.
        labels: int64 [N].
        num_classes: C.
        epochs: Number of epochs, above 0.

    Returns:
        float64 [C].
    """
    total = torch.zeros(num_classes, dtype=torch.float64, device=visits.device)
    total.index_add_(0, labels, visits.double())
    size = torch.bincount(labels, minlength=num_classes).double() * epochs
    return total / size


def class_accuracy(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """float64 [C]: share of each class that is classified right; NaN for empty classes."""
    right = torch.bincount(labels[predicted == labels], minlength=num_classes).double()
    return right / torch.bincount(labels, minlength=num_classes).double()
