"""A bar and a line in a notebook's output, updated in place; needs no widgets."""

from __future__ import annotations

import html
import sys
import time
from importlib import import_module
from typing import Any

#: Seconds between two updates at least; each is a message to the browser.
_EVERY_S = 0.5


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return getattr(found, "kernel", None) is not None


class NotebookLine:
    """What a run shows in a notebook; at the end its last line is left."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown_at = 0.0

    def show(self, line: str, done: int, total: int, last: bool = False) -> None:
        """Puts a line in place of the one before.

        Args:
            line: Text.
            done: Cells that have ended.
            total: All cells.
            last: Whether it is the last one, which has no bar and is never left out.
        """
        now = time.monotonic()
        if not last and now - self._shown_at < _EVERY_S:
            return
        self._shown_at = now
        bar = "" if last else f'<progress value="{done}" max="{total}"></progress> '
        bundle = {"text/plain": line, "text/html": f"{bar}<small>{html.escape(line)}</small>"}
        if self._handle is None:
            self._handle = import_module("IPython.display").DisplayHandle()
            self._handle.display(bundle, raw=True)
        else:
            self._handle.update(bundle, raw=True)
