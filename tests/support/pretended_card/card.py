"""State of the pretended card: streams, who knows what has ended, and what was found."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from support.pretended_card.draws import Generator
    from support.pretended_card.graphs import CUDAGraph

#: Folders of which the innermost frame is named in a finding.
OURS = ("/bench/", "/methods/", "/datasets/", "/tests/")
TOOL = "/support/pretended_card/"


class Timeline:
    """The host or a stream: how far it is, and how far it knows the others to be.

    Attributes:
        tick: Operations so far.
        known: For each other timeline, the last tick that is known to have ended.
    """

    def __init__(self) -> None:
        self.tick = 1
        self.known: dict[Timeline, int] = {}

    def now(self) -> dict[Timeline, int]:
        """What whoever waits for this timeline comes to know."""
        return {**self.known, self: self.tick}

    def learn(self, known: dict[Timeline, int]) -> None:
        """Comes to know what another one knows."""
        self.tick += 1
        for timeline, tick in known.items():
            if tick > self.known.get(timeline, 0):
                self.known[timeline] = tick

    def follows(self, timeline: Timeline, tick: int) -> bool:
        """Whether a tick of another timeline is known to have ended."""
        return timeline is self or self.known.get(timeline, 0) >= tick


class Memory:
    """The mark of a storage: of the card, or of the host's pinned memory.

    Attributes:
        on_card: Which of the two.
        home: The stream that was current when it was allocated: it may use the memory again as
            soon as it is freed. None for what a graph keeps.
        written: Timeline and tick of the last write.
        read: Ticks of the reads since then.
    """

    __slots__ = ("home", "on_card", "read", "written")

    def __init__(self, on_card: bool) -> None:
        self.on_card = on_card
        here = Card.current
        kept = here is None or not on_card or here.capturing is not None
        self.home: Timeline | None = None if kept else here.stream
        self.written: tuple[Timeline, int] | None = None
        self.read: dict[Timeline, int] = {}

    def __del__(self) -> None:
        """Freed: the allocator does not ask what other streams still do with it."""
        card = Card.current
        if card is None or self.home is None:
            return
        for timeline, tick in (*self.read.items(), *([self.written] if self.written else ())):
            if not (self.home.follows(timeline, tick) or card.host.follows(timeline, tick)):
                card.races["freed while another stream uses it", "free", where()] += 1


def memory_of(tensor: Tensor) -> Memory | None:
    """The mark of a tensor's storage; None for usual memory of the host."""
    return getattr(tensor.untyped_storage(), "_pretended", None)


def mark(tensor: Tensor, on_card: bool) -> Memory:
    """The mark of a tensor's storage, which gets one where it has none."""
    storage: Any = tensor.untyped_storage()
    memory: Memory | None = getattr(storage, "_pretended", None)
    if memory is None:
        memory = storage._pretended = Memory(on_card)
    return memory


def on_card(tensor: Tensor) -> bool:
    """Whether a tensor is on the card."""
    memory = memory_of(tensor)
    return memory is not None and memory.on_card


class Card:
    """The card while it is pretended.

    Args:
        generator: Its default one.

    Attributes:
        host: Timeline of the host.
        default: The default stream.
        stream: The current one.
        capturing: The graph that records what is called.
        placing: Where results go: True to the card, False to the host, None by the operands. Each
            thread has its own.
        phase: What the host is doing, for the notes.
        sync_mode: As ``torch.cuda.set_sync_debug_mode`` left it.
        workspace: Whether cuBLAS repeats its bits, as found out at the first matrix product.
        replays: Graph launches.
        calls: Operations on the card.
        waits: How often the host waited, by phase, reason and place.
        races: Accesses that nothing orders, by kind, operation and place.
        errors: What was raised: mixed devices, waits while capturing, no deterministic form.
    """

    current: Card | None = None

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.host, self.default = Timeline(), Stream()
        self.stream = self.default
        self.streams: set[Stream] = {self.default}
        self.capturing: CUDAGraph | None = None
        self._placing = threading.local()  # decoding threads make tensors beside the steps
        self.phase, self.sync_mode = "", "default"
        self.workspace: bool | None = None
        self.replays = self.calls = 0
        self.waits: Counter[tuple[str, str, str]] = Counter()
        self.races: Counter[tuple[str, str, str]] = Counter()
        self.errors: Counter[str] = Counter()

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Names what the host is doing."""
        before, self.phase = self.phase, phase
        try:
            yield
        finally:
            self.phase = before

    @property
    def placing(self) -> bool | None:
        """See the class; of the calling thread."""
        return getattr(self._placing, "there", None)

    @contextmanager
    def placed(self, there: bool | None) -> Iterator[None]:
        """Says where results go."""
        before, self._placing.there = self.placing, there
        try:
            yield
        finally:
            self._placing.there = before

    def findings(self, phases: Iterable[str] = ("step",)) -> list[str]:
        """One line for every error, race, and wait of the host in one of the phases."""
        waits = [f"{n} x wait in {key}" for key, n in self.waits.items() if key[0] in phases]
        races = [f"{n} x race {key}" for key, n in self.races.items()]
        return [*(f"{n} x {line}" for line, n in self.errors.items()), *races, *waits]

    def refuse(self, line: str, error: type[RuntimeError] = RuntimeError) -> RuntimeError:
        """Notes an error that the caller raises."""
        line = f"{line} at {where()}"
        self.errors[line] += 1
        if self.capturing is not None:
            self.capturing.broken = True
        return error(line)

    def wait(self, why: str, *timelines: Timeline) -> None:
        """The host waits until timelines have come to where they are now.

        Raises:
            RuntimeError: The current stream is capturing, or waits were forbidden.
        """
        if self.capturing is not None:
            raise self.refuse(f"operation not permitted when stream is capturing: {why}")
        if self.sync_mode == "error":
            raise self.refuse(f"called a synchronizing CUDA operation: {why}")
        self.waits[self.phase, why, where()] += 1
        for timeline in timelines:
            self.host.learn(timeline.now())

    def touch(
        self, timeline: Timeline, reads: Iterable[Memory], writes: Iterable[Memory], what: str
    ) -> None:
        """Notes an operation on a timeline, and which accesses it races with."""
        timeline.tick += 1
        host = self.host
        if timeline is not host and timeline.known.get(host) != host.tick:
            timeline.learn(host.now())  # launched after all that the host has seen
        now = timeline.tick
        for memory in reads:
            if memory.written is not None and not timeline.follows(*memory.written):
                self.races["read after write", what, where()] += 1
            memory.read[timeline] = now
        for memory in writes:
            if memory.written is not None and not timeline.follows(*memory.written):
                self.races["write after write", what, where()] += 1
            for other, tick in memory.read.items():
                if not timeline.follows(other, tick):
                    self.races["write after read", what, where()] += 1
            memory.written = timeline, now
            memory.read = {}


def card() -> Card:
    """The card that is pretended now."""
    assert Card.current is not None, "no card is pretended"
    return Card.current


def where() -> str:
    """The innermost line of the project that is being executed."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if any(part in name for part in OURS) and TOOL not in name and "-packages/" not in name:
            return f"{'/'.join(name.split('/')[-2:])}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


class Stream(Timeline):
    """``torch.cuda.Stream``."""

    def __init__(self, device: Any = None, priority: int = 0, **others: Any) -> None:
        super().__init__()
        self.device, self.device_index = torch.device("cuda:0"), 0
        self.stream_id = self.cuda_stream = id(self)
        if Card.current is not None:
            Card.current.streams.add(self)

    def wait_stream(self, stream: Stream) -> None:
        """What is launched here from now on comes after what was launched there."""
        self.learn(stream.now())

    def wait_event(self, event: Event) -> None:
        """Likewise for an event."""
        self.learn(event.known)

    def record_event(self, event: Event | None = None) -> Event:
        """An event after all that was launched here."""
        event = event or Event()
        event.record(self)
        return event

    def synchronize(self) -> None:
        """The host waits."""
        card().wait("Stream.synchronize", self)

    def query(self) -> bool:
        """Whether all has ended: yes, and then the host knows."""
        card().host.learn(self.now())
        return True

    def is_capturing(self) -> bool:
        """Whether it is being captured."""
        return card().capturing is not None and card().stream is self


class Event:
    """``torch.cuda.Event``; the host finds it done at the second look."""

    def __init__(self, *options: Any, **named: Any) -> None:
        self.known: dict[Timeline, int] = {}
        self.looks, self.at = 1, 0.0

    def record(self, stream: Stream | None = None) -> None:
        """Marks where a stream is."""
        self.known, self.looks = (stream or card().stream).now(), 0
        self.at = time.perf_counter()

    def query(self) -> bool:
        """Whether it is done."""
        self.looks += 1
        if self.looks < 2:
            return False
        card().host.learn(self.known)
        return True

    def synchronize(self) -> None:
        """The host waits."""
        card().wait("Event.synchronize")
        card().host.learn(self.known)
        self.looks = 2

    def wait(self, stream: Stream | None = None) -> None:
        """A stream waits."""
        (stream or card().stream).learn(self.known)

    def elapsed_time(self, later: Event) -> float:
        """Milliseconds, of the host."""
        return 1000 * (later.at - self.at)


class StreamContext:
    """``torch.cuda.stream``."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        self.before = card().stream
        card().stream = self.stream or self.before

    def __exit__(self, *error: object) -> None:
        card().stream = self.before
