"""One decision of a method, and the setting it was asked in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prunebench.bench.checks.guard import Notes

BATCH = 32
SHARES = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Choice:
    """One decision of a method, with indices checked and in ascending order.

    Attributes:
        where: ``k = 36``, ``epoch 3`` or ``epoch 3, batch 0``.
        indices: int64 [n], positions.
        pool: int64 [m], positions it was chosen from.
        weights: float32 [n] or None.
        forward_only: int64 [m] or None.
        wanted: Size that was asked for, or None where the method decides.
        scores: [N] or None.
    """

    where: str
    indices: Tensor
    pool: Tensor
    weights: Tensor | None = None
    forward_only: Tensor | None = None
    wanted: int | None = None
    scores: Tensor | None = None

    def same_as(self, other: Choice) -> bool:
        """Whether both train on the same samples with the same weights."""
        mine = (self.indices, self.weights, self.forward_only)
        theirs = (other.indices, other.weights, other.forward_only)
        return all(
            a is b or (a is not None and b is not None and torch.equal(a, b))
            for a, b in zip(mine, theirs, strict=True)
        )


@dataclass(frozen=True)
class Setting:
    """How a method is asked.

    Attributes:
        seed: Of the streams.
        guard: Notes of forbidden reads; None leaves the inputs open.
        declared: Whether only declared evidence and signals are served.
        restart: Whether a dynamic method is stored and rebuilt after every epoch.
        touched: Receives one line per input that was written to; the input is put back.
    """

    seed: int = 0
    guard: Notes | None = None
    declared: bool = False
    restart: bool = False
    touched: Notes = field(default_factory=list)


def batches_of(n: int) -> int:
    """Batches that n positions are dealt out to; position i goes to batch i mod their number."""
    return max(1, n // BATCH)


def warmup_of(epochs: int) -> int:
    """Tw of a recipe of E epochs."""
    return min(epochs, max(2, round(0.15 * epochs)))


def note_writes(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], touched: Notes, where: str
) -> None:
    """Notes every tensor that is no longer what it was."""
    for name, value in before.items():
        if not torch.equal(value.nan_to_num(-7.0), after[name].nan_to_num(-7.0)):
            touched.append(f"{where}.{name} was written to")
