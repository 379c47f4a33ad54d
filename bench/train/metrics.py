"""What a run kept: noise among the kept, AUROC of the score, per-class shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor


def auroc(scores: Tensor, positive: Tensor) -> float | None:
    """Probability that a positive scores above a negative, ties counted half.

    Args:
        scores: float [N]; entries that are not finite are left out.
        positive: bool [N].

    Returns:
        A share in [0, 1], or None where one side is empty.
    """
    positive = positive.to(scores.device)
    valid = scores.isfinite()
    scores, positive = scores[valid].double(), positive[valid]
    n_pos = int(positive.sum())
    n_neg = len(scores) - n_pos
    if n_pos == 0 or n_neg == 0:
        return None
    _, inverse, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks = (ends - (counts.double() - 1) / 2)[inverse]
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def epoch_diagnostics(
    loss: Tensor, visited: Tensor, scores: Tensor | None, flipped: Tensor
) -> dict[str, float | None]:
    """One row of the per-epoch table.

    Args:
        loss: float32 [N], the loss table after the epoch.
        visited: int64 [n], samples trained in it.
        scores: float [N] that led to the plan, or None.
        flipped: bool [N], wrong labels (diagnostics only).
    """
    n = len(visited)
    flipped = flipped.to(loss.device)
    noisy = bool(flipped.any())
    return {
        "kept_fraction": n / len(loss),
        "train_loss": float(loss[visited].double().mean()) if n else None,
        "kept_noise_rate": float(flipped[visited].double().mean()) if n and noisy else None,
        "score_auroc": auroc(scores, flipped) if scores is not None and noisy else None,
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
