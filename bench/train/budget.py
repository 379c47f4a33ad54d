"""How long a run lasts: the three budgets as one clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from prunebench.errors import SkipCell
from prunebench.methods.base import Progress, kept_count

#: A run that has not met its target after this many times the recipe's epochs cannot meet it.
MAX_STRETCH = 3


def budget_in_force(budget: str, params: Mapping[str, Any]) -> str:
    """The budget that a run's clock follows.

    Args:
        budget: Of the run.
        params: Options of its method; ``shorten`` (of ``short-full``) gives the run fewer epochs
            where the budget would give it all of the recipe's.
    """
    return "paper" if budget == "epochs" and params.get("shorten") else budget


@dataclass(frozen=True)
class Clock:
    """Progress and end of a run.

    Attributes:
        num_samples: N, the size of the common training split.
        full_epochs: E of the recipe.
        ratio: Share p of training to save.
        budget: ``samples``: exactly round((1-p) N E) trained samples. ``paper``: a fixed number
            of epochs round((1-p) E / (1-q)). ``epochs``: the recipe's epochs.
        share: q, the method's average pruned share per epoch (``paper`` only).
    """

    num_samples: int
    full_epochs: int
    ratio: float
    budget: str = "samples"
    share: float = 0.0

    @cached_property
    def target(self) -> int:
        """Trained samples that the ratio means: round-half-even of (1-p) N E."""
        return kept_count(self.num_samples * self.full_epochs, self.ratio)

    def nothing_left(self, static: bool) -> str:
        """Why no sample would ever be trained, for a static method or another; else empty."""
        keeps = kept_count(self.num_samples, self.ratio)
        if (self.budget == "samples" and self.target == 0) or (static and keeps == 0):
            return (
                f"nothing left to train: ratio {self.ratio:g} leaves "
                f"{keeps if static else self.target} of {self.num_samples} samples"
                + ("" if static else f" in {self.full_epochs} epochs")
            )
        return ""

    @property
    def epochs(self) -> int | None:
        """Number of epochs where it is fixed in advance."""
        if self.budget == "samples":
            return None
        if self.budget == "epochs":
            return self.full_epochs
        kept = (1 - Fraction(str(self.ratio))) * self.full_epochs
        return max(1, round(kept / (1 - Fraction(str(self.share)))))

    @property
    def max_epochs(self) -> int:
        """Upper bound of epochs, for tables."""
        return self.epochs or MAX_STRETCH * self.full_epochs

    def progress(self, epoch: int, trained: int) -> Progress:
        """How far a run is after ``epoch`` epochs and ``trained`` samples."""
        total = self.epochs
        if total is not None:
            left = float(total - epoch)
            return Progress(epoch / total, epoch, trained, self.target, left, total)
        left = (self.target - trained) / self.num_samples
        return Progress(trained / self.target, epoch, trained, self.target, left)

    def finished(self, epoch: int, trained: int) -> bool:
        """Whether the run is over.

        Raises:
            SkipCell: The target cannot be reached.
        """
        if self.epochs is not None:
            return epoch >= self.epochs
        if trained < self.target and epoch >= self.max_epochs:
            raise SkipCell(
                f"budget unreachable: {trained} of {self.target} samples after {epoch} epochs"
            )
        return trained >= self.target

    def room(self, trained: int) -> int | None:
        """Samples that may still be trained; None where epochs decide."""
        return None if self.epochs is not None else self.target - trained

    def fraction(self, epoch: int, share: float, trained: int) -> float:
        """Progress of one step in [0, 1], which drives the learning rate.

        Args:
            epoch: Epochs done.
            share: Share of the present epoch that is done.
            trained: Samples trained before this step.
        """
        if self.epochs is not None:
            return (epoch + share) / self.epochs
        return trained / self.target


def batch_bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    """Cuts n samples into batches; the tail is kept, and a tail of one joins its neighbour
    (batch statistics of a single sample are undefined)."""
    bounds = [(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    if len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] == 1:
        bounds[-2:] = [(bounds[-2][0], n)]
    return bounds


def whole_batches(n: int, batch_size: int) -> int:
    """Samples that whole batches hold (``drop_last``); all n where there is no whole batch."""
    return n // batch_size * batch_size or n


def selected_counts(
    bounds: Sequence[tuple[int, int]],
    ratio: float,
    room: int | None,
    shares: Sequence[float | None] = (),
) -> list[tuple[int, int, int]]:
    """(start, stop, k) per batch for batch-level methods: k = max(1, floor((1-p) B)), cut so
    that the sum never passes ``room``; batches beyond it are dropped.

    Args:
        bounds: (start, stop) of each batch.
        ratio: Share p of training to save.
        room: Samples that may still be trained; None for any number.
        shares: Of each batch, what stands for 1 - p; None, or none given: 1 - p.
    """
    keep = 1 - Fraction(str(ratio))
    result: list[tuple[int, int, int]] = []
    for number, (start, stop) in enumerate(bounds):
        share = shares[number] if shares else None
        # 1 - 0.9 is a little below 0.1 in floats.
        own = keep if share is None else Fraction(str(round(share, 12)))
        k = max(1, int(own * (stop - start)))
        if room is not None:
            k = min(k, room)
            room -= k
        if k == 0:
            break
        result.append((start, stop, k))
    return result
