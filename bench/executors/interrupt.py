"""SIGINT and SIGTERM in the driver's process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from prunebench.bench.train.stopping import Stopped, ask


@contextmanager
def stop_signals(handler: Callable[[], None]) -> Iterator[None]:
    """While entered, SIGINT and SIGTERM call a handler.

    Signals that were ignored before (``nohup``) stay so. Outside the main thread, where Python
    allows no handlers, nothing changes.
    """

    def receive(number: int, frame: FrameType | None) -> None:
        handler()

    old: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                old[number] = signal.signal(number, receive)
    try:
        yield
    finally:
        for changed, previous in old.items():
            signal.signal(changed, signal.SIG_DFL if previous is None else previous)


class Interrupt:
    """The first signal only sets ``pending``; a second one raises ``KeyboardInterrupt``."""

    def __init__(self) -> None:
        self.pending = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def fileno(self) -> int:
        """Readable once a signal is pending."""
        return self._reader

    def receive(self) -> None:
        """Handles a signal."""
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True
        os.write(self._writer, b"!")

    def close(self) -> None:
        """Frees the handles."""
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def waiting_for_signals() -> Iterator[Interrupt]:
    """While entered, a loop can wait for signals beside its workers."""
    interrupt = Interrupt()
    try:
        with stop_signals(interrupt.receive):
            yield interrupt
    finally:
        interrupt.close()


@contextmanager
def saving_on_signal() -> Iterator[None]:
    """Around a cell that runs in this process: the first signal lets it save itself at its next
    step, a second one ends it at once.

    Raises:
        KeyboardInterrupt: A signal came, and the cell is saved or has nothing to save.
    """
    saving = False

    def receive() -> None:
        nonlocal saving
        if saving or not ask():
            raise KeyboardInterrupt
        saving = True

    try:
        with stop_signals(receive):
            yield
    except Stopped:
        raise KeyboardInterrupt from None
