"""How a step is recorded and replayed: as a CUDA graph, or rehearsed without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from prunebench.bench.spec.experimental import experimental

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


@experimental
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

        Raises:
            RuntimeError: The step holds something that cannot be captured.
            torch.OutOfMemoryError: There is no room for it.
        """
        with torch.cuda.device(self.device):
            current = torch.cuda.current_stream()
            stream = current
            if current == torch.cuda.default_stream():
                stream = side_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(WARM):
                    rewind()
                    step()
                rewind()
            graph = torch.cuda.CUDAGraph()
            # Other threads (pinned memory, progress) may go on calling CUDA meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                step()
            current.wait_stream(stream)
            rewind()
        self.graph = graph

    def replay(self) -> None:
        """One launch."""
        assert self.graph is not None
        self.replays += 1
        self.graph.replay()
