"""CUDA graphs of the pretended card: calls are recorded with their tensors and made again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from support.pretended_card.card import Memory, Stream, StreamContext, card

Call = tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]


class CUDAGraph:
    """``torch.cuda.CUDAGraph``.

    Attributes:
        calls: Operator, arguments and results of every recorded call; tensors are those of the
            capture, so a replay works on their storages.
        reads: Memory that the calls read.
        writes: Memory that they write.
        broken: Whether the device refused something within.
        done: Whether it can be replayed.
    """

    def __init__(self, keep_graph: bool = False) -> None:
        self.calls: list[Call] = []
        self.reads: dict[Memory, None] = {}
        self.writes: dict[Memory, None] = {}
        self.broken = self.done = False

    def replay(self) -> None:
        """Makes the calls once more, as one operation of the current stream."""
        if not self.done:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        here = card()
        here.replays += 1
        here.touch(here.stream, self.reads, self.writes, "graph replay")
        with _disable_current_modes(), torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, results in self.calls:
                made = func(*args, **kwargs)
                if results:
                    for old, new in zip(results, tensors_of(made), strict=True):
                        if old.data_ptr() != new.data_ptr():
                            old.copy_(new)

    def reset(self) -> None:
        """Forgets the calls."""
        self.calls, self.reads, self.writes, self.done = [], {}, {}, False

    def pool(self) -> tuple[int, int]:
        """A pool of memory; there is none."""
        return 0, 1


class graph:
    """``torch.cuda.graph``: what is called within is recorded.

    Where the device refused something, all ends as in torch 2.11, the worst that a version does:
    the end of the capture raises too, and the stream stays the current one.
    """

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: Any = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
        **options: Any,
    ) -> None:
        self.graph = cuda_graph
        self.context = StreamContext(stream or Stream())

    def __enter__(self) -> None:
        torch.cuda.synchronize()
        if self.context.stream is card().default:
            raise RuntimeError("CUDA graphs must be captured on a non-default stream.")
        self.context.__enter__()
        card().capturing = self.graph

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        card().capturing = None
        if self.graph.broken:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.graph.done = kind is None
        self.context.__exit__()


def tensors_of(value: Any) -> list[Tensor]:
    """All tensors of an operator's arguments or results, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in tensors_of(part)]
    return []
