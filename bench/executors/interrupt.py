"""Ctrl-C and SIGTERM as something a loop can wait for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from prunebench.bench.train.stopping import Stopped, ask


class Interrupt:
    """While entered, the first signal only sets ``pending``; a second one raises at once.

    Signals that were ignored before (``nohup``) stay so. Outside the main thread, where Python
    allows no handlers, it never fires.
    """

    def __init__(self) -> None:
        self.pending = False
        self._old: dict[int, Any] = {}

    def fileno(self) -> int:
        """Readable once a signal is pending."""
        return self._reader

    def __enter__(self) -> Interrupt:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._old[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.close(self._reader)
        os.close(self._writer)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True
        os.write(self._writer, b"!")


@contextmanager
def leaving() -> Iterator[None]:
    """Around a cell that runs in this process: the first Ctrl-C or SIGTERM lets it save itself.

    Handlers as in ``Interrupt``.

    Raises:
        KeyboardInterrupt: A signal came, and the cell is saved or has nothing to save.
    """
    heard = False

    def receive(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        if heard or not ask():
            raise KeyboardInterrupt
        heard = True

    old: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                old[number] = signal.signal(number, receive)
    try:
        yield
    except Stopped:
        raise KeyboardInterrupt from None
    finally:
        for held, handler in old.items():
            signal.signal(held, signal.SIG_DFL if handler is None else handler)
