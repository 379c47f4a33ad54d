"""Contenders in turn under a time limit, with what is known of them told after every turn.

A contender that fails, at whatever turn, is named with the reason and the others go on; one whose
expected time is no longer there is not begun. Turns that an earlier call took count.
"""

from __future__ import annotations

import gc
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from types import FrameType
from typing import Any, Protocol, Self

import torch

from prunebench.bench.perf.timing import Taken
from prunebench.errors import error_line


class OutOfTime(Exception):
    """The limit of a call has passed."""


class Turns(Protocol):
    """What takes turns.

    Attributes:
        how: How its steps are run; empty where that is no question.
    """

    @property
    def how(self) -> str: ...

    def epoch(self) -> int:
        """One turn; returns the images of it, 0 where they do not count."""


@dataclass(frozen=True)
class Contender:
    """Something to be timed, and what it is expected to take.

    Attributes:
        name: Its name in the report.
        make: Makes it; memory that it holds is free once it is dropped.
        making_s: Seconds to make it and to take its first turn, which does not count.
        turn_s: Seconds of a turn that does.
    """

    name: str
    make: Callable[[], Turns]
    making_s: float
    turn_s: float

    def seconds(self, turns: int) -> float:
        """Expected for so many turns that count."""
        return self.making_s + turns * self.turn_s if turns else 0.0


@dataclass
class Tally:
    """What is known of a contender.

    Attributes:
        turns: Those that count.
        images: Of one turn.
        how: See ``Turns``.
        made_s: Seconds of making it with the turn that does not count.
        peak_mib: Greatest memory on the card meanwhile, above what was taken before.
        note: Why there are fewer turns than were asked for.
    """

    turns: list[Taken] = field(default_factory=list)
    images: int = 0
    how: str = ""
    made_s: float | None = None
    peak_mib: float | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of ``as_json``.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        turns = [Taken(float(turn["wall"]), float(turn["cpu"])) for turn in value["turns"]]
        if not all(0 < turn.wall < math.inf and 0 <= turn.cpu < math.inf for turn in turns):
            raise ValueError("times that no turn takes")
        made, peak = value["made_s"], value["peak_mib"]
        return cls(
            turns, int(value["images"]), str(value["how"]),
            None if made is None else float(made), None if peak is None else float(peak),
            str(value["note"]),
        )  # fmt: skip


class Limit:
    """When a call must have ended.

    Args:
        seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Breaks the enclosed statements off when the time is over, as far as Python runs in them
        and in the main thread only, where signals arrive.

        Raises:
            OutOfTime: It is.
        """
        main = threading.current_thread() is threading.main_thread()
        if not main or not hasattr(signal, "setitimer"):
            yield
            return

        def ring(number: int, frame: FrameType | None) -> None:
            raise OutOfTime("stopped there")

        before = signal.signal(signal.SIGALRM, ring)
        try:
            # Code of a library may swallow the first one.
            signal.setitimer(signal.ITIMER_REAL, max(0.001, self.left), 5.0)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)


def take_turns(
    contenders: Sequence[Contender],
    tallies: dict[str, Tally],
    repeats: int,
    device: torch.device,
    limit: Limit,
    told: Callable[[str], None],
    before: Callable[[str], None] = lambda name: None,
) -> None:
    """Makes the contenders in order, each with a turn that does not count and one that does; then
    they take turns until each has ``repeats``.

    Args:
        contenders: What is timed.
        tallies: Of earlier calls, by name; added to.
        repeats: Turns that count.
        device: Its work is waited for.
        limit: Of this call.
        told: Called after every turn, and where a contender drops out.
        before: Called, untimed, before each turn, the one that does not count included.
    """
    alive: dict[str, Turns] = {}

    def guarded(name: str, body: Callable[[], None]) -> None:
        try:
            with limit.enforced():
                body()
        except Exception as error:  # the others can still be timed
            tallies[name].note = error_line(error)[:200]
        if tallies[name].note:
            _drop(alive, name, device)
        told(name)

    for contender in contenders:
        tally = tallies.setdefault(contender.name, Tally())
        tally.note = ""
        if len(tally.turns) >= repeats:
            continue
        if limit.left < contender.seconds(1):
            tally.note = f"about {contender.seconds(1):.0f} s do not fit into the time limit"
            told(contender.name)
            continue
        guarded(contender.name, partial(_make, contender, tallies, alive, device, before))
    while waiting := [name for name in alive if len(tallies[name].turns) < repeats]:
        for name in waiting:
            if limit.left < tallies[name].turns[-1].wall:
                tallies[name].note = "no time is left for further turns"
                _drop(alive, name, device)
                told(name)
                continue
            guarded(name, partial(_turn, name, tallies[name], alive[name], device, before))
    for name in [*alive]:
        _drop(alive, name, device)


def _make(
    contender: Contender,
    tallies: dict[str, Tally],
    alive: dict[str, Turns],
    device: torch.device,
    before: Callable[[str], None],
) -> None:
    name, cuda, begin = contender.name, device.type == "cuda", time.perf_counter()
    tally = tallies[name]
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    base = torch.cuda.memory_allocated(device) if cuda else 0
    alive[name] = made = contender.make()
    before(name)
    tally.images = made.epoch()
    _wait(device)
    tally.how, tally.made_s = made.how, time.perf_counter() - begin
    if cuda:
        tally.peak_mib = (torch.cuda.max_memory_allocated(device) - base) / 2**20
    _turn(name, tally, made, device, before)


def _turn(
    name: str, tally: Tally, made: Turns, device: torch.device, before: Callable[[str], None]
) -> None:
    before(name)
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    made.epoch()
    _wait(device)
    tally.turns.append(Taken(time.perf_counter() - wall, time.process_time() - cpu))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _drop(alive: dict[str, Turns], name: str, device: torch.device) -> None:
    """Frees what a contender holds."""
    made = alive.pop(name, None)
    with suppress(Exception):  # it may have failed half-way
        getattr(made, "close", lambda: None)()
    del made
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
