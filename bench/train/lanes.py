"""Several runs on one card: each on its own stream, in turns, from one thread of one process.

A lane gives way after every step. Its stream, its captured steps and the state of torch's
generators are its own, so a run gives the bits that it gives alone; only the time is shared.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from prunebench.bench.train.capture import pool
from prunebench.bench.train.capture.pool import CapturedStepPool
from prunebench.bench.train.step import StepGenerator, Wait

T = TypeVar("T")


@dataclass(frozen=True)
class Finished:
    """A run that ended.

    Attributes:
        name: What it was added as.
        value: What it returned.
        error: What it raised, or None.
    """

    name: Any
    value: Any = None
    error: BaseException | None = None


class Lane:
    """A place for one run at a time; what it holds stays for the next one.

    Args:
        device: Where its runs are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.captures = device, CapturedStepPool()
        self.name: Any = None
        self.steps: StepGenerator[Any] | None = None
        self.waiting: Wait | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.stream.wait_stream(torch.cuda.default_stream(device))
            self.generator = torch.Generator(device)
        else:
            self.state = torch.get_rng_state()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Its stream, generators and captured steps are the current ones."""
        with ExitStack() as stack:
            stack.callback(pool.use, pool.use(self.captures))
            if self.device.type == "cuda":
                stack.enter_context(torch.cuda.stream(self.stream))
                shared = torch.cuda.default_generators[self.stream.device_index]
                stack.callback(shared.graphsafe_set_state, shared.graphsafe_get_state())
                shared.graphsafe_set_state(self.generator)
            else:
                stack.callback(torch.set_rng_state, torch.get_rng_state())
                stack.callback(self._note)
                torch.set_rng_state(self.state)
            yield

    def _note(self) -> None:
        self.state = torch.get_rng_state()

    def turn(self) -> Finished | None:
        """One step of its run; what became of it, if that was the last."""
        assert self.steps is not None
        try:
            with self.entered():
                self.waiting = next(self.steps)
            return None
        except StopIteration as end:
            finished = Finished(self.name, value=end.value)
        except BaseException as error:
            finished = Finished(self.name, error=error)
        self.steps = self.waiting = None
        return finished

    def drop(self) -> None:
        """Breaks its run off, which lets go of what it holds."""
        turns, self.steps, self.waiting = self.steps, None, None
        if turns is not None:
            with self.entered():
                turns.close()


class Lanes:
    """Lanes that take turns.

    Args:
        device: One device.
        count: Runs at once.
    """

    def __init__(self, device: torch.device, count: int) -> None:
        self.device = device
        self.lanes = [Lane(device) for _ in range(count)]

    @property
    def running(self) -> list[Any]:
        """Names of the runs under way."""
        return [lane.name for lane in self.lanes if lane.steps is not None]

    def add(self, name: Any, turns: StepGenerator[Any]) -> None:
        """Starts a run on a free lane.

        Raises:
            ValueError: All are taken.
        """
        for lane in self.lanes:
            if lane.steps is None:
                lane.name, lane.steps = name, turns
                return
        raise ValueError(f"all {len(self.lanes)} lanes are taken")

    def turn(self) -> list[Finished]:
        """One step of every run that need not wait for the device; where all must, of the first
        that is served."""
        active = [lane for lane in self.lanes if lane.steps is not None]
        able = [lane for lane in active if lane.waiting is None or lane.waiting.query()]
        if active and not able:
            assert active[0].waiting is not None
            active[0].waiting.synchronize()
            able = active[:1]
        return [end for lane in able if (end := lane.turn()) is not None]

    def drop(self, name: Any) -> None:
        """Breaks a run off."""
        for lane in self.lanes:
            if lane.steps is not None and lane.name == name:
                lane.drop()

    def free(self) -> None:
        """Lets go of what idle lanes keep for a next run."""
        for lane in self.lanes:
            if lane.steps is None:
                lane.captures.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Breaks all runs off."""
        for lane in self.lanes:
            lane.drop()
        self.free()


def run_all(
    makers: Sequence[Callable[[], StepGenerator[T]]],
    device: torch.device,
    count: int,
    note: Callable[[int], None] = lambda limit: None,
) -> list[T]:
    """Runs everything, ``count`` runs at once.

    Where memory runs out, the run that met it is begun anew later, and from then on there is one
    lane fewer.

    Args:
        makers: Each begins one run from its start.
        device: One device.
        count: Runs at once.
        note: Told a new, lower limit.

    Returns:
        What each returned, in order.

    Raises:
        torch.OutOfMemoryError: A run alone does not fit.
    """
    lanes, limit = Lanes(device, count), count
    waiting, results = deque(range(len(makers))), dict[int, T]()
    try:
        while len(results) < len(makers):
            while waiting and len(lanes.running) < limit:
                number = waiting.popleft()
                lanes.add(number, makers[number]())
            ends = lanes.turn()
            for place, end in enumerate(ends):
                if end.error is None:
                    results[end.name] = end.value
                elif isinstance(end.error, torch.OutOfMemoryError) and limit > 1:
                    beside = len(lanes.running) + len(ends) - place
                    limit = max(1, min(limit, beside) - 1)
                    waiting.append(end.name)
                    end.error.with_traceback(None)  # its frames hold tensors
                    lanes.free()
                    note(limit)
                else:
                    raise end.error
    finally:
        lanes.close()
    return [results[number] for number in range(len(makers))]
