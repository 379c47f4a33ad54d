"""Long loops of pure functions say how far they are, to whoever listens; alone they are loops.

    for t in counted(range(k)):      # a greedy choice of k samples
        ...
    with stage("neighbours"):        # whose seconds are listed apart
        ...

The harness listens while a static method chooses (``bench.train.static_choice``); a test or a
notebook does with ``listening``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two reports of a loop.
_EVERY_S = 0.1


class Listener:
    """Who listens, and what was heard.

    Args:
        report: Takes the share that is done, 0 to 1, now and then.

    Attributes:
        stages: Seconds by name of a stage, those of a stage within it left out.
    """

    def __init__(self, report: Callable[[float], None]) -> None:
        self.report, self.stages = report, dict[str, float]()
        #: Share of the whole where the present item of the innermost loop begins and ends.
        self.begin, self.end = 0.0, 1.0
        #: Seconds of the stages within the present one.
        self.within = 0.0
        self.last = -_EVERY_S

    def at(self, share: float) -> None:
        """Reports a share, unless another was reported a moment ago."""
        now = time.monotonic()
        if now - self.last >= _EVERY_S:
            self.last = now
            self.report(share)


_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(report: Callable[[float], None] = lambda share: None) -> Iterator[Listener]:
    """Listens to the loops and stages of the block.

    Args:
        report: Takes the share that is done, 0 to 1, several times a second at most.
    """
    listener = Listener(report)
    token = _LISTENER.set(listener)
    try:
        yield listener
    finally:
        _LISTENER.reset(token)


def counted(items: Iterable[T], total: int | None = None) -> Iterator[T]:
    """The items one by one. A loop within a loop counts as a part of the item it belongs to.

    Args:
        items: What is looped over.
        total: How many there are; their length by default.
    """
    listener = _LISTENER.get()
    if listener is None:
        return iter(items)
    count = total if total is not None else len(items) if isinstance(items, Sized) else 0
    return _told(items, count, listener) if count else iter(items)


def _told(items: Iterable[T], total: int, listener: Listener) -> Iterator[T]:
    begin, end = listener.begin, listener.end
    width = (end - begin) / total
    try:
        for number, item in enumerate(items):
            listener.begin = begin + number * width
            listener.end = listener.begin + width
            listener.at(listener.begin)
            yield item
    finally:
        listener.begin, listener.end = begin, end


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Lists the seconds of the block under a name; those of several blocks of a name are added."""
    listener = _LISTENER.get()
    if listener is None:
        yield
        return
    before, listener.within = listener.within, 0.0
    start = time.perf_counter()
    try:
        yield
    finally:
        spent = time.perf_counter() - start
        own = spent - listener.within
        listener.stages[name] = listener.stages.get(name, 0.0) + own
        listener.within = before + spent
