"""The shape of a time ratio; a leaf, so that tables and costs can both use it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TimeRatio:
    """Training time over that of full training, paired by (noise, seed).

    Attributes:
        ratio: Geometric mean.
        low, high: 95 % t interval on the log scale; None below three pairs.
        n: Pairs.
        machine: Device class and threads they were measured on.
    """

    ratio: float
    low: float | None
    high: float | None
    n: int
    machine: str
