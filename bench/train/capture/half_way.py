"""Whether a capture that was refused has left this process half-way between capturing and not.

torch 2.11 then keeps the stream that it captured on as the current one, and keeps its allocator and
its generator set up for the capture. Stream and generator are set back (``graph``); for the rest,
the process should take no further job once its present ones have ended.
"""

from __future__ import annotations


class _State:
    noted = False


def note() -> None:
    """Says that one has."""
    _State.noted = True


def noted() -> bool:
    """Whether one has, at any time of this process."""
    return _State.noted
