"""The one protocol of timing: contenders in turn, medians, and the spread of paired ratios."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

#: Share of the time that others may take from a single thread before its own time is read.
_BUSY = 1.1


@dataclass(frozen=True)
class Taken:
    """One repeat: seconds on the clock, and of this process on its processors."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Ratio:
    """Ratio of two medians, with the least and the greatest ratio of paired repeats."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Ratio:
        """In other units."""
        return Ratio(self.value * factor, self.low * factor, self.high * factor)


def paired(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """Compares repeats that were taken side by side.

    Args:
        over: Seconds of each repeat.
        under: Seconds of the repeats beside them, all above 0.
    """
    pairs = [a / b for a, b in zip(over, under, strict=True)]
    return Ratio(median(over) / median(under), min(pairs), max(pairs))


@dataclass(frozen=True)
class Times:
    """Repeats of contenders that took turns.

    Attributes:
        taken: By contender.
        clock: ``wall``, or ``cpu`` where one thread was kept waiting by other programs for more
            than a tenth of the time: then the process's own time is what an idle machine takes.
    """

    taken: Mapping[str, Sequence[Taken]]
    clock: str

    def seconds(self, name: str) -> list[float]:
        """Of each repeat of a contender."""
        return [t.wall if self.clock == "wall" else t.cpu for t in self.taken[name]]

    def median(self, name: str) -> float:
        """Seconds of a usual repeat."""
        return median(self.seconds(name))

    def ratio(self, over: str, under: str) -> Ratio:
        """How many times longer the first takes, by the turns that both have taken."""
        pairs = list(zip(self.seconds(over), self.seconds(under), strict=False))
        return paired([a for a, _ in pairs], [b for _, b in pairs])


def in_turn(
    contenders: Mapping[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    calls: Mapping[str, int] | None = None,
    before: Callable[[str], None] = lambda name: None,
    limit_s: float = math.inf,
) -> Times:
    """Times A B A B ..., after one turn each that is not counted.

    Args:
        contenders: What is timed, by name.
        repeats: Turns that count.
        device: Its work is waited for.
        calls: A turn of these contenders is the mean of so many calls in a row; others call once.
        before: Called, untimed, before each turn of a contender.
        limit_s: No repeat but the first begins after so many seconds.
    """
    sync = torch.cuda.synchronize if device.type == "cuda" else lambda _: None
    taken: dict[str, list[Taken]] = {name: [] for name in contenders}
    begin = time.perf_counter()
    for repeat in range(repeats + 1):
        if repeat > 1 and time.perf_counter() - begin > limit_s:
            break
        for name, run in contenders.items():
            count = (calls or {}).get(name, 1) if repeat else 1
            before(name)
            sync(device)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(count):
                run()
            sync(device)
            spent = Taken((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)
            if repeat:
                taken[name].append(spent)
    return Times(taken, clock_of(taken, device))


def clock_of(taken: Mapping[str, Sequence[Taken]], device: torch.device) -> str:
    """The clock to read; a process that computes on several threads has only the wall's."""
    if device.type != "cpu" or torch.get_num_threads() > 1:
        return "wall"
    every = [t for turns in taken.values() for t in turns]
    wall, cpu = sum(t.wall for t in every), sum(t.cpu for t in every)
    return "cpu" if wall > _BUSY * cpu and min(t.cpu for t in every) > 0 else "wall"
