"""Work that makes many objects and no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without the cyclic garbage collector: hundreds of thousands of small objects that stay would
    start it again and again in vain."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if gc.get_freeze_count() == 0:
                # What was made goes to the oldest generation, instead of being visited at once.
                gc.freeze()
                gc.unfreeze()
            gc.enable()
