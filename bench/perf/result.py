"""What a benchmark found: times of contenders, figures made of them, goals met or missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prunebench.bench.perf.timing import Ratio, Times

SCHEMA = 1


@dataclass(frozen=True)
class Goal:
    """A bound on a figure; ``least`` says that the figure must not be below it."""

    bound: float
    least: bool = True

    def met(self, value: float) -> bool:
        """Whether a value keeps to it."""
        return value >= self.bound if self.least else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes:
        what: What it says.
        value: Of the medians.
        unit: ``x``, ``share``, ``img/s``, ``s``, ``ms``, ``min``, ``MiB``, ``GFLOP/s`` or
            ``GFLOP``.
        low: Least of the repeats, or of their pairs; None for a number that is no ratio of times.
        high: Greatest.
        goal: What was aimed at; None where nothing was.
    """

    what: str
    value: float
    unit: str = "x"
    low: float | None = None
    high: float | None = None
    goal: Goal | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.goal.met(self.value)


def figure(what: str, ratio: Ratio, unit: str = "x", goal: Goal | None = None) -> Figure:
    """A ratio as a figure."""
    return Figure(what, ratio.value, unit, ratio.low, ratio.high, goal)


@dataclass(frozen=True)
class Row:
    """Seconds of one contender: median and spread of the clock that was read, and the medians of
    both clocks."""

    name: str
    median: float
    low: float
    high: float
    wall: float
    cpu: float


@dataclass(frozen=True)
class Result:
    """What one benchmark found.

    Attributes:
        name: Of the benchmark.
        what: What was timed, sizes included.
        rows: Contenders.
        figures: Made of their times.
        clock: Which clock was read.
        notes: What a reader must know.
        variant: What distinguishes it from another result of the same benchmark.
    """

    name: str
    what: str
    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]
    clock: str = "wall"
    notes: tuple[str, ...] = ()
    variant: str = ""

    def value(self, what: str) -> float:
        """A figure's value.

        Raises:
            KeyError: There is no such figure.
        """
        return {f.what: f.value for f in self.figures}[what]

    def as_json(self) -> dict[str, Any]:
        """Plain values; each figure says whether its goal is met."""
        return {**asdict(self), "figures": [{**asdict(f), "met": f.met} for f in self.figures]}


def made(
    name: str,
    what: str,
    times: Times,
    figures: Sequence[Figure],
    notes: Sequence[str] = (),
    variant: str = "",
) -> Result:
    """A result with a row for every contender."""
    rows = []
    for contender, taken in times.taken.items():
        seconds = times.seconds(contender)
        wall, cpu = sorted(t.wall for t in taken), sorted(t.cpu for t in taken)
        middle = len(taken) // 2
        rows.append(
            Row(contender, times.median(contender), min(seconds), max(seconds), wall[middle],
                cpu[middle])
        )  # fmt: skip
    return Result(name, what, tuple(rows), tuple(figures), times.clock, tuple(notes), variant)
