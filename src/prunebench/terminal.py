"""What reaches a terminal: signs that steer it, or turn text around, are spelled out."""

from __future__ import annotations

import sys
from typing import Any

from prunebench.errors import spelled


class SafeStream:
    """A text stream in whose output only line ends and tabs move anything.

    ``isatty`` is False, so that libraries send it no colours or movements of their own; code that
    wants those takes ``terminal(stream)`` and spells out what comes from files.

    Args:
        stream: Where the text goes.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes text, spelled out; returns its length as it was given."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes text, not {type(text).__name__}")
        self.stream.write(spelled(text, keep="\n\t"))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes several texts."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """False: see the class."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def guard_output() -> None:
    """Has standard output and standard error spell out what they are given, from here on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, SafeStream):
            setattr(sys, name, SafeStream(stream))


def terminal(stream: Any) -> Any:
    """The stream behind a guarded one, for whoever draws on a terminal."""
    return stream.stream if isinstance(stream, SafeStream) else stream
