"""Training time of a row over that of full training, on the same kind of machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.stats import mean_interval
from prunebench.leaderboard.stats.special import rounded

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


def time_ratio(
    slots: Mapping[tuple[str, int], Run], baseline: Mapping[tuple[str, int], Run]
) -> TimeRatio | None:
    """Geometric mean of training seconds over full training's, by (noise, seed).

    Scoring runs are not in it: the ledger's compute ratio counts them. Times are compared
    within one device class and thread count only; a row measured on several has no ratio.
    """
    logs: list[float] = []
    machines: set[str] = set()
    epochs: list[tuple[float | None, float | None]] = []
    for slot, run in slots.items():
        other = baseline.get(slot)
        seconds = _seconds(run)
        if other is None or seconds is None or (theirs := _seconds(other)) is None:
            continue
        if machine_of(run) != machine_of(other):
            return None
        machines.add(machine_of(run))
        logs.append(math.log(seconds / theirs))
        epochs.append((run.record.timing.get("epoch_s"), other.record.timing.get("epoch_s")))
    if not logs or len(machines) > 1:
        return None
    found = mean_interval(logs)
    half = found.half_width
    return TimeRatio(
        ratio=rounded(math.exp(found.mean)),
        low=None if half is None else rounded(math.exp(found.mean - half)),
        high=None if half is None else rounded(math.exp(found.mean + half)),
        n=found.n,
        machine=machines.pop(),
        spread=_spread(epochs),
    )


def _spread(epochs: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Longest over shortest median epoch, of one row's runs or of full training's."""
    found: list[float] = []
    for times in zip(*epochs, strict=True):
        known = [time for time in times if time]
        if len(known) < len(times):
            return None
        found.append(max(known) / min(known))
    return max(found)


def _seconds(run: Run) -> float | None:
    value = run.record.timing.get("train_s")
    return float(value) if value and run.accuracy is not None and not run.diverged else None


def machine_of(run: Run) -> str:
    """Device class and threads that a run was timed on."""
    environment = run.record.environment
    threads = environment.get("threads")
    name = str(environment.get("device_class", "unknown"))
    return f"{name}, {threads} thread{'s' * (threads != 1)}" if threads else name
