"""How a step is recorded and replayed: as a CUDA graph, or rehearsed without one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from prunebench.bench.train.capture import half_way

#: Steps before a capture: libraries choose algorithms, compilers compile, workspaces appear.
WARM = 3
_side: dict[int, torch.cuda.Stream] = {}


class Capture(Protocol):
    """Records a step once and replays it.

    Attributes:
        replays: How often it was replayed.
    """

    replays: int

    def record(self, step: Callable[[], None], rewind: Callable[[], None]) -> None:
        """Runs the step a few times, then captures it.

        Args:
            step: The step; the same operations on the same addresses every time.
            rewind: Sets its counters back; called before each run.
        """

    def replay(self) -> None:
        """Runs the step once more."""


class Rehearsal:
    """Replays by running the step itself, on any device: what a machine without CUDA can test."""

    def __init__(self) -> None:
        self.replays = 0

    def record(self, step: Callable[[], None], rewind: Callable[[], None]) -> None:
        """One run to warm up."""
        self._step = step
        rewind()
        step()
        rewind()

    def replay(self) -> None:
        """Runs the step."""
        self.replays += 1
        self._step()


def side_stream() -> torch.cuda.Stream:
    """The stream on which this process captures what runs on the default one."""
    number = torch.cuda.current_device()
    if number not in _side:
        _side[number] = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    return _side[number]


@contextmanager
def work_on(stream: torch.cuda.Stream) -> Iterator[None]:
    """While entered, work goes to another stream, after that of the caller's stream so far.

    What the caller does afterwards comes after all of it, even where an exception ended it: state
    that is then restored is no longer written to.
    """
    current = torch.cuda.current_stream()
    stream.wait_stream(current)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        current.wait_stream(stream)


@contextmanager
def no_waits() -> Iterator[None]:
    """While entered, an operation that makes the host wait for the device raises RuntimeError."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class CudaCapture:
    """A step as one CUDA graph.

    An interleaved run captures on its own stream, so that the work spaces of the libraries, which
    go by stream, are shared with nothing that may run beside it. The default stream cannot be
    captured: there a side stream serves, and the caller's stream waits for it.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.replays = device, 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def record(self, step: Callable[[], None], rewind: Callable[[], None]) -> None:
        """Warms up and captures.

        A capture cannot wait for the device either, and one that tries can harm the process: the
        last step of the warm-up finds most of what would be refused.

        Raises:
            RuntimeError: The step holds something that cannot be captured.
            torch.OutOfMemoryError: There is no room for it.
        """
        with torch.cuda.device(self.device):
            stream = torch.cuda.current_stream()
            if stream == torch.cuda.default_stream():
                stream = side_stream()
            with work_on(stream):
                for _ in range(WARM - 1):
                    rewind()
                    step()
                rewind()
                with no_waits():
                    step()
                rewind()
            self.graph = captured(step, stream)
            rewind()

    def replay(self) -> None:
        """One launch."""
        assert self.graph is not None
        self.replays += 1
        self.graph.replay()


def captured(step: Callable[[], None], stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
    """What a step does, as a graph; nothing of it is run.

    Args:
        step: Warmed up.
        stream: Where it was.

    Raises:
        BaseException: What the step raised first; the graph is dropped, the current stream is what
            it was, and a capture that could not be ended is noted in ``half_way``.
    """
    current, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
    reason: BaseException | None = None
    try:
        # Other threads (pinned memory, progress) may go on calling CUDA meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            try:
                step()
            except BaseException as error:
                reason = error
                raise
    except BaseException as error:
        torch.cuda.set_stream(current)
        if error is not reason:  # it comes from the end of the capture
            half_way.note()
            _renew_generator()
        graph.reset()
        raise (reason or error) from None
    finally:
        del reason  # which holds this frame
    return graph


def _renew_generator() -> None:
    """Gives the default generator a state of its own with the same values: a capture that was not
    ended keeps the former one, with which nothing can be drawn outside of it."""
    shared = torch.cuda.default_generators[torch.cuda.current_device()]
    own = torch.Generator(shared.device)
    own.set_state(shared.get_state())
    shared.graphsafe_set_state(own)
