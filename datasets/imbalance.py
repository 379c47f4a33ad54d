"""Class imbalance of the training split: long tails and steps, with exact class sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from prunebench.datasets.kind_and_number import kind_and_number
from prunebench.errors import InputError, nearest
from prunebench.record import NONE
from prunebench.rng import Stream

KINDS = ("exp", "step")
_ACCEPTED = "none, exp:RATIO or step:RATIO"


@dataclass(frozen=True)
class Imbalance:
    """How class sizes differ.

    Attributes:
        kind: ``exp`` (long tail: sizes fall by a constant factor from class to class; Cui et al.
            2019) or ``step`` (the second half of the classes is small; Buda et al. 2018).
        ratio: Largest class over smallest, 1 or more.

    Raises:
        InputError: An unknown kind, or a ratio below 1 or not finite.
    """

    kind: str
    ratio: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"unknown imbalance {self.kind!r}",
                where="imbalance",
                accepted=f"{_ACCEPTED}; {nearest(self.kind, (NONE, *KINDS))}",
            )
        if not 1 <= self.ratio < math.inf:
            raise InputError(
                f"ratio {self.ratio:g} is out of range",
                where=f"imbalance {self.kind}",
                accepted=f"a number from 1, as in {self.kind}:50",
            )
        object.__setattr__(self, "ratio", float(self.ratio))

    @property
    def name(self) -> str:
        """Canonical text, which ``parse_imbalance`` reads back: ``exp:50``."""
        return f"{self.kind}:{repr(self.ratio).removesuffix('.0')}"

    def sizes(self, largest: int, num_classes: int) -> list[int]:
        """Samples of each class: floor(largest / r_c + 0.5), where r_c is
        ratio^(c / (C - 1)) for ``exp``, and for ``step`` 1 in the first ceil(C / 2) classes and
        the ratio in the others.

        Args:
            largest: Samples of the largest class.
            num_classes: C.

        Raises:
            InputError: A class would be empty.
        """
        if self.kind == "exp":
            last = max(1, num_classes - 1)
            shares = [self.ratio ** (-c / last) for c in range(num_classes)]
        else:
            shares = [1.0 if 2 * c < num_classes else 1 / self.ratio for c in range(num_classes)]
        # Rounded first, so that halves do not hang on the last digit of a power.
        sizes = [math.floor(round(largest * share, 6) + 0.5) for share in shares]
        if min(sizes) == 0:
            raise InputError(
                f"class {sizes.index(0)} would be empty: the largest class has {largest} samples",
                where=f"imbalance {self.name}",
                accepted=f"a ratio of at most {2 * largest:,}",
            )
        return sizes


def parse_imbalance(text: str) -> Imbalance | None:
    """Reads ``none``, ``exp:RATIO`` or ``step:RATIO``; None for none.

    Raises:
        InputError: An unknown kind, a missing ratio, or one that is no number from 1.
    """
    if text.strip() == NONE:
        return None
    accepted = "a number from 1, as in KIND:50"
    return Imbalance(
        *kind_and_number(text, KINDS, where="imbalance", number="ratio", accepted=accepted)
    )


def keep_imbalanced(
    imbalance: Imbalance, sample_ids: Tensor, labels: Tensor, num_classes: int, stream: Stream
) -> Tensor:
    """The samples that an imbalanced training split keeps: of every class the first ones in the
    order of the stream, so that a larger ratio of one kind keeps a part of what a smaller keeps.

    Args:
        imbalance: Sizes come from the smallest class there is, so that every class has enough.
        sample_ids: int64 [n], candidates; draws are by sample id.
        labels: int64 [n], their clean labels.
        num_classes: C.
        stream: Gives the order.

    Returns:
        int64 [m], ascending sample ids.

    Raises:
        InputError: A class is empty, or would be.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    if counts.min() == 0:
        raise InputError(
            f"class {int(counts.argmin())} has no training sample",
            where=f"imbalance {imbalance.name}",
            accepted="a data set with samples of every class beside reference and validation",
        )
    sizes = torch.tensor(imbalance.sizes(int(counts.min()), num_classes))
    order = stream.bits(sample_ids).argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]  # class by class, each in its order
    place = torch.arange(len(order)) - (counts.cumsum(0) - counts)[labels[order]]
    return sample_ids[order[place < sizes[labels[order]]]].sort().values
