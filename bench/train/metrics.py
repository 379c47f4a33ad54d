"""What a run kept: noise and corrupted images among the kept, AUROC of the score, per-class
shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from prunebench.bench.train.evaluate import Readback
from prunebench.datasets.task import Task

#: Names of what is counted of wrong labels, and of corrupted images.
WRONG = ("kept_noise_rate", "kept_noise_weight", "score_auroc")
CORRUPTED = ("kept_corrupted_rate", "kept_corrupted_weight", "score_auroc_corrupted")


@dataclass(frozen=True)
class Mark:
    """Samples that are counted among the kept; for diagnostics only, no method sees them.

    Attributes:
        of: bool [N], which; None for none of them.
        rate, weight, auroc: Names of their share of the trained samples, of their share of the
            loss weight, and of the AUROC of the score against them.
    """

    of: Tensor | None
    rate: str
    weight: str
    auroc: str

    @property
    def columns(self) -> tuple[str, str, str]:
        """All three."""
        return self.rate, self.weight, self.auroc


def marks_of(task: Task, device: torch.device | str = "cpu") -> tuple[Mark, ...]:
    """Wrong labels, and corrupted images where the setting has them."""
    flipped, corrupted = task.flipped, task.corrupted
    wrong = flipped.to(device) if bool(flipped.any()) else None
    marks = [Mark(wrong, *WRONG)]
    if corrupted is not None:
        marks.append(Mark(corrupted.to(device), *CORRUPTED))
    return tuple(marks)


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


def weight_sums(visited: Tensor, marks: Sequence[Mark], weights: Tensor | None) -> Tensor:
    """float64 [1 + marks]: the loss weight of what was trained, and the part of it on the samples
    of each mark.

    Args:
        visited: int64 [n], samples trained.
        marks: Of the run.
        weights: float [n], the factor on the loss of each, or None for 1.
    """
    factors = torch.ones_like(visited, dtype=torch.float64) if weights is None else weights.double()
    parts = [
        factors.new_zeros(()) if mark.of is None else (factors * mark.of[visited]).sum()
        for mark in marks
    ]
    return torch.stack([factors.sum(), *parts])


class EpochFigures:
    """What the per-epoch table says of losses, noise and corrupted images, on its way to the host
    in one transfer.

    Args:
        loss: float32 [N], the loss table after the epoch.
        visited: int64 [n], samples trained in it.
        scores: float [N] that led to the plan, or None.
        marks: Of the run.
        weights: float [n], the factor on the loss of each of ``visited``, or None for 1.
    """

    def __init__(
        self,
        loss: Tensor,
        visited: Tensor,
        scores: Tensor | None,
        marks: Sequence[Mark],
        weights: Tensor | None = None,
    ) -> None:
        self._trained, self._all = len(visited), len(loss)
        self._marks, self._scored = marks, scores is not None
        parts = [loss[visited].double().mean()[None]]
        whole, *own = weight_sums(visited, marks, weights)
        for mark, weight in zip(marks, own, strict=True):
            if mark.of is None:
                continue
            parts += [mark.of[visited].double().mean()[None], (weight / whole)[None]]
            if scores is not None:
                parts.append(rank_sum(scores, mark.of))
        self._values = Readback(torch.cat(parts))

    def row(self) -> dict[str, float | None]:
        """The figures by the name of their column, waited for."""
        loss, *rest = self._values.values()
        row = {
            "kept_fraction": self._trained / self._all,
            "train_loss": loss if self._trained else None,
        }
        for mark in self._marks:
            row |= dict.fromkeys(mark.columns)
            if mark.of is None:
                continue
            (rate, weight), rest = rest[:2], rest[2:]
            row[mark.rate] = rate if self._trained else None
            row[mark.weight] = weight if math.isfinite(weight) else None
            if self._scored:
                row[mark.auroc], rest = _share_above(*rest[:3]), rest[3:]
        return row


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


def balanced_accuracy(predicted: Tensor, labels: Tensor, num_classes: int) -> float:
    """Mean over the classes that have samples of the share that is classified right; added up as
    fractions and rounded once.

    Args:
        predicted: int64 [M].
        labels: int64 [M], not empty.
        num_classes: C.
    """
    right = torch.bincount(labels[predicted == labels], minlength=num_classes).tolist()
    sizes = torch.bincount(labels, minlength=num_classes).tolist()
    shares = [Fraction(hits, size) for hits, size in zip(right, sizes, strict=True) if size]
    return float(sum(shares, Fraction(0)) / len(shares))


def class_accuracy(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """float64 [C]: share of each class that is classified right; NaN for empty classes."""
    right = torch.bincount(labels[predicted == labels], minlength=num_classes).double()
    return right / torch.bincount(labels, minlength=num_classes).double()
