"""What a loop of one's own hands over, checked before anything of it is written."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prunebench.errors import InputError


def check_batch(
    losses: object,
    sample: object,
    logits: Tensor | None,
    labels: Tensor | None,
    reader: str,
    where: str,
) -> None:
    """Checks a batch; no value of it is read but labels on the CPU.

    Args:
        losses: float [B].
        sample: int64 [B].
        logits: float [B, C], or None.
        labels: int64 [B], or None.
        reader: The method, where it reads logits and labels; else empty.
        where: The call, for messages.

    Raises:
        InputError: They are something else.
    """
    if not isinstance(losses, Tensor) or not isinstance(sample, Tensor):
        odd = sample if isinstance(losses, Tensor) else losses
        raise InputError(f"a {type(odd).__name__} in place of a tensor", where=where,
                         accepted="losses [B] and the samples' numbers [B]")  # fmt: skip
    if losses.dim() != 1 or losses.shape != sample.shape or not losses.is_floating_point():
        raise InputError(
            f"losses {losses.dtype} of shape {tuple(losses.shape)} for samples of shape "
            f"{tuple(sample.shape)}", where=where,
            accepted='one loss for each sample of the batch (reduction="none")',
        )  # fmt: skip
    if not reader:
        return
    if logits is None or labels is None:
        raise InputError(f"{reader} reads more than the loss here", where=where,
                         accepted="logits=... and labels=... of the batch")  # fmt: skip
    if logits.dim() != 2 or len(logits) != len(sample) or labels.shape != sample.shape:
        raise InputError(
            f"logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)} for "
            f"{len(sample)} samples", where=where, accepted="[B, C] and [B]",
        )  # fmt: skip
    check_targets(labels, logits.shape[1], where)


def check_targets(labels: Tensor, num_classes: int, where: str) -> None:
    """Checks labels beside logits; their values only on the CPU, where nobody waits for them.

    Args:
        labels: [B].
        num_classes: C of the logits.
        where: For the message.

    Raises:
        InputError: They are no whole numbers 0 to C - 1.
    """
    found = str(labels.dtype)
    wrong = labels.is_floating_point() or labels.dtype == torch.bool
    if not wrong and labels.device.type == "cpu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        found, wrong = f"{low} to {high}", low < 0 or high >= num_classes
    if wrong:
        raise InputError(f"labels {found} beside {num_classes} logits", where=where,
                         accepted=f"whole numbers 0 to {num_classes - 1}")  # fmt: skip


def check_choice(
    logits: Tensor | None, features: Tensor | None, labels: Tensor, size: int, scores: str
) -> tuple[Tensor, Tensor]:
    """Checks the shapes of what a batch-level method chooses from.

    Args:
        logits: float [B, C], or None.
        features: float [B, D], or None.
        labels: int64 [B].
        size: B.
        scores: The method, where it reads logits and features; else empty.

    Returns:
        Logits and features; [B, 0] where the method reads none.

    Raises:
        InputError: They are others.
    """
    if not scores:
        logits = features = torch.empty((size, 0), dtype=torch.float32, device=labels.device)
    if logits is None or features is None:
        raise InputError(f"{scores} chooses by scores of the batch", where="Pruning.choose",
                         accepted="logits and features of the batch, in eval mode")  # fmt: skip
    dims = (logits.dim(), features.dim(), labels.dim())
    if dims != (2, 2, 1) or not len(logits) == len(features) == len(labels) == size:
        raise InputError(
            f"logits {[*logits.shape]}, features {[*features.shape]} and labels {[*labels.shape]} "
            f"for {size} samples", where="Pruning.choose", accepted="[B, C], [B, D] and [B]",
        )  # fmt: skip
    return logits, features


def different_ids(ids: Any, size: int) -> Tensor:
    """Sample ids that were given: int64 [N] on the host.

    Raises:
        InputError: Other numbers, another count, or one twice.
    """
    found = torch.as_tensor(ids).cpu()
    different = len(set(found.flatten().tolist()))
    if found.shape != (size,) or different != size or found.dtype != torch.int64:
        raise InputError(
            f"{found.dtype} ids of shape {tuple(found.shape)}, {different} different, for {size} "
            "samples", where="ids", accepted="int64, one for each, none twice",
        )  # fmt: skip
    return found


def one_number(reference_loss: Any) -> float:
    """The loss of the reference samples as a number.

    Raises:
        InputError: It is none.
    """
    try:
        return float(reference_loss)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(reference_loss, "shape", None)
        what = type(reference_loss).__name__ + ("" if shape is None else f" of shape {[*shape]}")
        raise InputError(
            f"a {what}", where="Pruning.end_epoch: reference_loss",
            accepted="one number, the mean over the reference samples",
        ) from None  # fmt: skip
