"""The shape of a time ratio; a leaf, so that tables and costs can both use it."""

from __future__ import annotations

from dataclasses import dataclass

#: Epoch times of one row that differ by more than this factor were taken on a busy machine.
UNSTEADY = 2.0


@dataclass(frozen=True)
class TimeRatio:
    """Training time over that of full training, paired by (noise, seed).

    Attributes:
        ratio: Geometric mean.
        low, high: 95 % t interval on the log scale; None below three pairs.
        n: Pairs.
        machine: Device class and threads they were measured on.
        spread: Longest over shortest epoch time of the runs, of this row or of full training,
            whichever is larger; None where a record lacks it.
    """

    ratio: float
    low: float | None
    high: float | None
    n: int
    machine: str
    spread: float | None = None

    @property
    def unsteady(self) -> bool:
        """Whether the epoch times vary too much for the ratio to be relied on."""
        return self.spread is not None and self.spread > UNSTEADY
