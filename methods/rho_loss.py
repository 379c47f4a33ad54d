"""RHO-LOSS: of each batch, the samples whose loss a model of clean data does not share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Batch, BatchPruner, Card, register_method
from prunebench.methods.big_loss import top_losses
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["cross_fit", "reducible", "select_reducible"]


def reducible(logits: Tensor, labels: Tensor, irreducible: Tensor) -> Tensor:
    """Cross-entropy less the holdout model's (RHO-Loss: src/curricula/selection_methods.py).

    Args:
        logits: float [B, C].
        labels: int64 [B], as given.
        irreducible: [B]; NaN counts as 0.

    Returns:
        [B].
    """
    held = irreducible.masked_fill(irreducible.isnan(), 0.0)
    return F.cross_entropy(logits, labels, reduction="none") - held


def select_reducible(
    logits: Tensor, labels: Tensor, irreducible: Tensor, k: int, rng: Stream | None = None
) -> Tensor:
    """The k samples of largest reducible loss.

    Args:
        logits: float [B, C].
        labels: int64 [B], as given.
        irreducible: [B]; NaN counts as 0.
        k: Number to choose, 0..B.
        rng: Decides between equal losses; None decides by place.

    Returns:
        int64 [k], distinct places, largest first. Nothing is read back to the host.

    Raises:
        ValueError: k is not in 0..B.
    """
    return top_losses(reducible(logits, labels, irreducible), k, rng)


def cross_fit(in_first: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Each sample's loss under the model that did not train on it (RHO-Loss:
    train_double_irreducible.py).

    Args:
        in_first: bool [N], whether the first model trained on the sample.
        first: [N], losses under the first model.
        second: [N], losses under the second.

    Returns:
        [N].
    """
    return torch.where(in_first, second, first)


@register_method("rho-loss")
class RhoLoss(BatchPruner):
    """Trains on the samples of each batch whose loss is largest above that of a holdout model.

    A wrong label has a high loss under both models. Losses come from an eval-mode pass; weights
    stay 1. The number chosen is floor(B (1 - p)), at least 1.
    """

    holdout: str
    options = {
        "holdout": Option(
            "reference",
            "the holdout model trains on the clean reference set, or cross: two models train on a "
            "half of the training split each, and judge the other half",
            choices=("reference", "cross"),
        )
    }
    card = Card(
        "RHO-LOSS",
        "Mindermann et al., Prioritized Training on Points that are Learnable, Worth Learning, and "
        "Not Yet Learnt, ICML 2022",
        "https://github.com/OATML/RHO-Loss",
        "mindermann2022prioritized",
        cost="one forward pass per sample and epoch; a holdout model and one pass with it",
        side="high above the holdout model's loss",
    )
    clean_data = "reference set, trained on by the holdout model"
    holdout_model = True
    draws = ("ties",)

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        if self.holdout == "cross":
            self.clean_data = ""  # type: ignore[misc]

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """int64 [k], see ``select_reducible``.

        Raises:
            InputError: There are no irreducible losses.
        """
        irreducible = self.view.irreducible
        if irreducible is None:
            raise InputError(
                "it is missing", where=f"{self.name}: TrainView.irreducible",
                accepted="float32 [N], losses under a model that never trained on the samples",
            )  # fmt: skip
        own = irreducible.index_select(0, batch.positions)
        return select_reducible(batch.logits, batch.labels, own, k, rng)
