"""Interleaved runs (``--lanes``): several on one card, a step of each after the other, from one
thread of one process.

Every run has a stream, captured steps and a state of torch's
generators of its own, so it gives the bits that it gives without others; only the time is shared.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from prunebench.bench.train.capture import pool
from prunebench.bench.train.capture.pool import CapturedStepPool
from prunebench.bench.train.step import StepGenerator, Wait

#: Pause between two looks at what all runs wait for: share of the time waited, and its limit.
_PAUSE, _LONGEST_PAUSE_S = 0.05, 0.001


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


class StreamContext:
    """Stream, generators and captured steps of one run at a time; they stay for the next one.

    Args:
        device: Where its runs are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.captured_steps = device, CapturedStepPool()
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
            stack.callback(pool.use, pool.use(self.captured_steps))
            if self.device.type == "cuda":
                stack.enter_context(torch.cuda.stream(self.stream))
                shared = torch.cuda.default_generators[self.stream.device_index]
                stack.callback(shared.graphsafe_set_state, shared.graphsafe_get_state())
                shared.graphsafe_set_state(self.generator)
                stack.callback(self._note_generator, shared)  # a refused capture exchanges it
            else:
                stack.callback(torch.set_rng_state, torch.get_rng_state())
                stack.callback(self._note)
                torch.set_rng_state(self.state)
            yield

    def _note(self) -> None:
        self.state = torch.get_rng_state()

    def _note_generator(self, shared: torch.Generator) -> None:
        self.generator = shared.graphsafe_get_state()

    def step(self) -> Finished | None:
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

    def cancel(self) -> None:
        """Breaks its run off, which frees what it holds."""
        steps, self.steps, self.waiting = self.steps, None, None
        if steps is not None:
            with self.entered():
                steps.close()


def _first_served(contexts: Sequence[StreamContext]) -> list[StreamContext]:
    """Waits until at least one context, all of which wait, can go on; returns those that can.

    CUDA has no way to wait for the first of several events, so they are asked in turn. The pauses
    between two rounds are a share of the time waited so far: a wait of a few milliseconds is
    prolonged by microseconds, and a long one burns no core.
    """
    waits = [(context, context.waiting) for context in contexts if context.waiting is not None]
    if len(waits) == 1:
        waits[0][1].synchronize()
        return [waits[0][0]]
    begin = time.perf_counter()
    while not (served := [context for context, wait in waits if wait.query()]):
        time.sleep(min(_LONGEST_PAUSE_S, _PAUSE * (time.perf_counter() - begin)))
    return served


class InterleavedRuns:
    """Runs that make a step each, one after the other.

    Args:
        device: One device.
        count: Runs at once.
    """

    def __init__(self, device: torch.device, count: int) -> None:
        self.device = device
        self.contexts = [StreamContext(device) for _ in range(count)]

    @property
    def running(self) -> list[Any]:
        """Names of the runs under way."""
        return [context.name for context in self.contexts if context.steps is not None]

    def add(self, name: Any, steps: StepGenerator[Any]) -> None:
        """Starts a run on a free context.

        Raises:
            ValueError: All are taken.
        """
        for context in self.contexts:
            if context.steps is None:
                context.name, context.steps = name, steps
                return
        raise ValueError(f"all {len(self.contexts)} runs are under way")

    def step(self) -> list[Finished]:
        """One step of every run that need not wait for the device; where all must, of those that
        are served first. No run gets a second step before all that could go on have had one."""
        active = [context for context in self.contexts if context.steps is not None]
        able = [context for context in active if context.waiting is None or context.waiting.query()]
        if active and not able:
            able = _first_served(active)
        return [end for context in able if (end := context.step()) is not None]

    def cancel(self, name: Any) -> None:
        """Breaks a run off."""
        for context in self.contexts:
            if context.steps is not None and context.name == name:
                context.cancel()

    def free(self) -> None:
        """Frees what is kept for a next run."""
        for context in self.contexts:
            if context.steps is None:
                context.captured_steps.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Breaks all runs off."""
        for context in self.contexts:
            context.cancel()
        self.free()
