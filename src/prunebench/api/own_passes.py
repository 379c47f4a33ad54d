"""Passes in eval mode over samples of one's own: those that are scored, and the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from prunebench.api.own_checks import check_targets
from prunebench.api.own_samples import Numbered, size_of
from prunebench.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]


def per_sample_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """float [B], cross-entropy of each sample.

    Raises:
        InputError: The network's output is not [B, C], or a label is none of its classes.
    """
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(labels):
        raise InputError(
            f"an output of {shape} for {len(labels)} samples", where="the network",
            accepted="logits [B, C], or a loss= that reads what it gives",
        )  # fmt: skip
    check_targets(labels, logits.shape[1], "the network")
    return F.cross_entropy(logits.float(), labels, reduction="none")


def passes(
    model: nn.Module, data: Any, device: torch.device, loading: Mapping[str, Any]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Logits, labels and numbers of all samples in eval mode; the mode is put back."""
    place = next((p.device for p in model.parameters()), device)
    before = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in DataLoader(data, **{"batch_size": 512, **loading}):
                x, y, sample = _parts(batch)
                yield model(x.to(place)), y.to(place), sample
    finally:
        model.train(before)


def irreducible_losses(
    model: nn.Module, train_set: Any, loss: Loss = per_sample_cross_entropy, **loading: Any
) -> Tensor:
    """Losses of training samples under a model that never trained on them, for
    ``Pruning(..., irreducible=...)``.

    Args:
        model: Trained on other samples: a clean reference set, say. It is not changed.
        train_set: Map-style data set of (input, label), without random augmentation.
        loss: Losses [B] of logits and labels.
        loading: Further arguments of the loader.

    Returns:
        float32 [N], on the CPU.

    Raises:
        InputError: Samples or outputs that are not of these forms.
    """
    size_of(train_set, "train_set")
    found = passes(model, Numbered(train_set), torch.device("cpu"), loading)
    return torch.cat([loss(logits, labels).float().cpu() for logits, labels, _ in found])


def _parts(batch: Any) -> Sequence[Tensor]:
    if isinstance(batch, dict) or len(batch) != 3:
        raise InputError(
            "samples are not (input, label)", where="Pruning",
            accepted="losses of your own, handed to record() or end_epoch()",
        )  # fmt: skip
    return cast(Sequence[Tensor], batch)
