"""Fuzzing: strategies that spoil files, and what every reader owes them.

``PRUNEBENCH_FUZZ=10`` runs ten times the cases, freshly drawn; the plain suite draws the same ones
every time.
"""

from __future__ import annotations

import copy
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from prunebench.errors import InputError

T = TypeVar("T")

SCALE = int(os.environ.get("PRUNEBENCH_FUZZ", "1"))
_HEADROOM = 3 << 30

#: Text that breaks paths, tables, terminals and parsers.
HOSTILE = (
    "", " ", ".", "..", "../../x", "/etc/passwd", "~nobody-here/x", "a\0b", "\x1b[2J", "=1+1",
    "@x", "<b>", "a|b", "line\nline", "\u202eabc", "é", "٣", "😀", "x" * 5000, "nan", "inf", "-1",
    "1e999", "true", "none", "{{7*7}}", "${x}", "%s", "\\", "C:\\x", "digits", "random",
)  # fmt: skip
#: Numbers at and beyond every edge.
EDGES = (
    0, 1, -1, 2, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63),
    10**30, 10**400, 0.0, -0.0, 0.5, 1.0, 0.999999, 1e-320, 1e16, 1e308, -1e308,
)  # fmt: skip


def fuzz(cases: int) -> settings:
    """Settings of one fuzzing test: as many cases, times ``SCALE``."""
    return settings(
        max_examples=cases * SCALE,
        derandomize=SCALE == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


class Hang(AssertionError):
    """A reader that did not come back."""


@contextmanager
def bounded(seconds: float = 20.0, memory: int = _HEADROOM) -> Iterator[None]:
    """Turns a hang into ``Hang`` and a memory blow-up into ``MemoryError``.

    The seconds are the processor's, for a busy machine is no hang; waiting for something that
    never comes may take fifteen times as long.
    """

    def late(*_: object) -> None:
        raise Hang(f"no answer within {seconds:g} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 15))

    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    handlers = [signal.signal(number, late) for number, _, _ in timers]
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, limits[1]))
    for _, timer, times in timers:
        signal.setitimer(timer, seconds * times)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        for (number, _, _), handler in zip(timers, handlers, strict=True):
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def answer(call: Callable[[], T]) -> tuple[T | None, str]:
    """The result, or the one line that refuses the input; anything else fails the test."""
    with bounded():
        try:
            return call(), ""
        except InputError as error:
            line = str(error)
            assert line.strip(), "an empty error line"
            assert len(line.splitlines()) == 1, line
            assert line.isprintable(), line
            assert len(line) < 4000, len(line)
            line.encode()
            return None, line


def odd_values(deep: bool = True) -> st.SearchStrategy[Any]:
    """JSON values of every type, mostly where nobody expects them."""
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(EDGES),
        st.sampled_from(HOSTILE),
        st.text(max_size=8),
        st.integers(-5, 5),
    )
    if not deep:
        return plain
    return st.one_of(
        plain,
        st.lists(plain, max_size=3),
        st.dictionaries(st.sampled_from(HOSTILE) | st.text(max_size=5), plain, max_size=3),
        st.integers(5, 900).map(_nested),
    )


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside nested dicts and lists."""
    found = [path] if path else []
    if isinstance(value, dict):
        for name, item in value.items():
            found += places(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += places(item, (*path, number))
    return found


@st.composite
def changed(draw: st.DrawFn, value: Any, most: int = 2, deep: bool = True) -> Any:
    """Nested JSON with some values replaced, removed, renamed or added."""
    spoiled = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, most))):
        known = places(spoiled)
        if not known:
            break
        *way, last = draw(st.sampled_from(known))
        holder = spoiled
        for step in way:
            holder = holder[step]
        how = draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename", "add")))
        if how == "replace":
            holder[last] = draw(odd_values(deep))
        elif how == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            name = draw(st.sampled_from(HOSTILE) | st.text(max_size=6))
            holder[name] = holder.pop(last) if how == "rename" else draw(odd_values(deep))
    return spoiled


@st.composite
def damaged(draw: st.DrawFn, data: bytes, where: Sequence[int] = ()) -> bytes:
    """Bytes with flips, overwritten numbers, cuts, repeats and insertions.

    Args:
        draw: Hypothesis.
        data: The whole file.
        where: Offsets worth hitting; anywhere where there are none.
    """
    spoiled = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        size = len(spoiled)
        anywhere = st.integers(0, max(0, size - 1))
        at = draw(st.one_of(anywhere, st.sampled_from(where)) if where else anywhere)
        how = draw(st.sampled_from(("flip", "byte", "number", "cut", "drop", "repeat", "insert")))
        if how == "flip" and at < size:
            spoiled[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "byte" and at < size:
            spoiled[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x22, 0x2E, 0x72)))
        elif how == "number":
            value = draw(st.sampled_from((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)))
            width = draw(st.sampled_from((2, 4, 8)))
            order: Any = draw(st.sampled_from(("big", "little")))
            number = (value & (1 << 8 * width) - 1).to_bytes(width, order)
            spoiled[at : at + width] = number
        elif how == "cut":
            del spoiled[at:]
        elif how == "drop":
            del spoiled[at : at + draw(st.integers(1, 16))]
        elif how == "repeat":
            spoiled[at:at] = spoiled[at : at + draw(st.integers(1, 64))]
        else:
            spoiled[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(spoiled)
