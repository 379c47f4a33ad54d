"""Being asked to end: what can be finished or saved first is, then the process leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """This process was asked to end, and what it was doing is saved as far as it can be."""


class _State:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.depth, self.asked = 0, False


_STATE = _State()
# A forked child has no run of its own to save.
os.register_at_fork(after_in_child=_STATE.reset)


def ask() -> bool:
    """Asks this process to end; made for signal handlers.

    Returns:
        Whether a run is under way that will see it at its next step. False: nothing waits for
        it; see ``ask_or_stop``.
    """
    _STATE.asked = _STATE.depth > 0
    return _STATE.asked


def ask_or_stop() -> None:
    """As ``ask``, where nobody else handles a process that has no run under way.

    Raises:
        Stopped: There is none.
    """
    if not ask():
        raise Stopped


def asked() -> bool:
    """Whether the run under way should save its state and leave; cheap enough for every step."""
    return _STATE.asked


@contextmanager
def deferred() -> Iterator[None]:
    """While entered, ``ask`` waits for this run, which looks at ``asked`` after every step.

    Raises:
        Stopped: At the end, when it was asked meanwhile.
    """
    _STATE.depth += 1
    try:
        yield
    finally:
        _STATE.depth -= 1
        waiting = _STATE.asked
        if not _STATE.depth:
            _STATE.asked = False
    if waiting:
        raise Stopped
