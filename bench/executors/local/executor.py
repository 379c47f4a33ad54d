"""Jobs in persistent worker processes on this machine."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from prunebench.bench.executors.base import Executor, Job, OnEvent, OnLost, Outcome
from prunebench.bench.executors.interrupt import Interrupt
from prunebench.bench.executors.local.inline import InlineExecutor
from prunebench.bench.executors.local.lanes import Host, LaneSlot
from prunebench.bench.executors.local.process import Launch
from prunebench.bench.executors.local.slot import Slot, stop
from prunebench.bench.executors.memory import MemoryGuard, Reading, read_memory
from prunebench.bench.executors.outcomes import Book, cause
from prunebench.bench.executors.tracker import Desk, SlotState
from prunebench.errors import InputError

_FIRST_STARTS, _LATER_STARTS = 3, 10
_START_DELAY_LIMIT_S = 10.0
_POLL_S = 0.2
_LOOK_S = 1.0


class LocalExecutor(Executor):
    """Spreads jobs over worker processes and outlives their deaths.

    Args:
        run: Worker function as ``module:function``: ``(payload, context) -> {"status", "reason"}``.
        slots: Workers; default ``slots_per_device`` on each device.
        threads: Threads of the numeric libraries in each worker.
        devices: Slot i works on ``devices[i % len(devices)]``.
        slots_per_device: Workers that share an accelerator at most.
        time_limit_s: Wall time after which a cell is ended as failed.
        plugins: Files that every worker loads first.
        attempts: Times a cell is started whose worker dies under it.
        settings: JSON given to every worker once.
        on_lost: Records final statuses that the worker function could not record itself.
        inline: Run in this process, with one slot; also set by PRUNEBENCH_INLINE=1.
        log_dir: Folder for what workers print (default: the driver's stderr).
        grace_s: Seconds between asking a worker to end and killing it.
        keep: Workers wait for the next run until ``close``; starting one takes seconds.
        free_memory: Bytes to leave free, see ``MemoryGuard``.
        lanes: Cells that one worker runs in turns; ``run`` then names a function that gives way
            after every step. A worker's slots count towards ``slots_per_device``.
        read_memory: Tells how much there is.

    Raises:
        InputError: A number out of range, or inline with more than one slot or a time limit.
    """

    def __init__(
        self,
        run: str = "prunebench.bench.runs.job:run_payload",
        slots: int | None = None,
        threads: int = 1,
        devices: Sequence[str] = ("cpu",),
        slots_per_device: int = 1,
        time_limit_s: float | None = None,
        plugins: Sequence[str] = (),
        attempts: int = 2,
        settings: dict[str, Any] | None = None,
        on_lost: OnLost | None = None,
        inline: bool = False,
        log_dir: Path | None = None,
        grace_s: float = 3.0,
        keep: bool = False,
        free_memory: int | None = None,
        lanes: int = 1,
        read_memory: Callable[[], Reading | None] = read_memory,
    ) -> None:
        self.devices = tuple(devices)
        room = len(self.devices) * slots_per_device
        self._count = room if slots is None else slots
        numbers = {"slots": self._count, "threads": threads, "attempts": attempts}
        for name, number in numbers.items():
            if number < 1:
                raise InputError(f"{name} is {number}", accepted="1 or more")
        if set(self.devices) != {"cpu"} and self.slots > room:
            raise InputError(
                f"{self.slots} slots on {len(self.devices)} device(s)",
                accepted=f"at most {room}, or a higher number of slots per device",
            )
        if time_limit_s is not None and not time_limit_s > 0:
            raise InputError(f"time limit of {time_limit_s} s", accepted="more than 0")
        self.inline = inline or (self.slots == 1 and os.environ.get("PRUNEBENCH_INLINE") == "1")
        if self.inline and (self.slots > 1 or time_limit_s is not None):
            raise InputError("inline with several slots or a time limit", accepted="one of them")
        given = {**(settings or {}), **({"lanes": lanes} if lanes > 1 else {})}
        self.launch, self.lanes = Launch(run, threads, tuple(plugins), given, log_dir), lanes
        self.time_limit_s, self.attempts = time_limit_s, attempts
        self.on_lost, self.grace_s = on_lost, grace_s
        self.keep, self._waiting = keep, list[Slot]()
        self.free_memory, self.read_memory = free_memory, read_memory

    @property
    def slots(self) -> int:
        """Cells at once."""
        return self._count

    def make_slots(self) -> list[Slot]:
        """Slots without workers."""
        places, limit, grace = self.devices, self.time_limit_s, self.grace_s
        if self.lanes > 1:
            shared: dict[str, Host] = {}
            return [
                LaneSlot(n, places[n % len(places)], self.launch, limit, grace, shared=shared)
                for n in range(self._count)
            ]
        return [
            Slot(n, places[n % len(places)], self.launch, limit, grace) for n in range(self._count)
        ]

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> list[Outcome]:
        """See ``Executor.run``."""
        if self.inline:
            launch = self.launch
            return InlineExecutor(
                launch.run, self.devices[0], launch.plugins, launch.settings, self.on_lost
            ).run(jobs, on_event)
        run = _Run(self, Book(jobs, on_event, self.on_lost), self._waiting)
        self._waiting = []
        outcomes = run.loop()
        if self.keep:
            self._waiting = run.slots
        return outcomes

    def close(self) -> None:
        """Ends the workers that wait for a further run."""
        stop(self._waiting, self.grace_s)
        self._waiting = []


class _Run:
    """One run: hands out jobs, listens to the workers, buries the dead."""

    def __init__(self, executor: LocalExecutor, book: Book, waiting: list[Slot]) -> None:
        self.executor, self.book = executor, book
        self.slots = waiting or executor.make_slots()
        self.seats = [SlotState(slot.number, slot.device) for slot in self.slots]
        self.desk = Desk(book, executor.attempts, executor.time_limit_s)
        places = Counter(slot.device for slot in self.slots)
        self.guard = MemoryGuard(places, executor.free_memory, executor.read_memory)
        self.look_at, self.failed_starts = 0.0, 0
        self.greeted = self.waiting = False

    def loop(self) -> list[Outcome]:
        with Interrupt() as interrupt:
            ended = False
            try:
                while self.book.queue.open:
                    self._hand_out()
                    self._listen(interrupt)
                    if interrupt.pending:
                        raise KeyboardInterrupt
                ended = True
            finally:
                if not (ended and self.executor.keep):
                    stop(self.slots, self.executor.grace_s)
        return self.book.outcomes()

    def _hand_out(self) -> None:
        now = time.monotonic()
        if now >= self.look_at:
            self.look_at = now + _LOOK_S
            self.guard.look({slot.number: slot.used() for slot in self.slots if slot.worker})
        self.waiting = False
        for slot, seat in zip(self.slots, self.seats, strict=True):
            if slot.idle and self.book.queue.ready(now):
                if not self._room(slot):
                    slot.retire()
                    continue
                job = self.book.queue.take(slot.number, now)
                if job is None:
                    break
                seat.job = job
                self.book.started(job, slot.number)
                slot.give(job.payload, retry_on_oom=not self.guard.single_slot(slot.device))
        starting = sum(slot.worker is not None and not slot.ready for slot in self.slots)
        for slot, seat in zip(self.slots, self.seats, strict=True):
            if slot.worker is not None or seat.start_at > now:
                continue
            if self.book.queue.ready(now) > starting and self._room(slot):
                slot.start()
                starting += 1

    def _busy(self) -> dict[int, str]:
        slots = [slot for slot in self.slots if slot.worker is not None and not slot.idle]
        return {slot.number: slot.device for slot in slots}

    def _room(self, slot: Slot) -> bool:
        busy = {number: device for number, device in self._busy().items() if number != slot.number}
        room = self.guard.room(slot.number, slot.device, busy)
        if self.guard.waiting:
            self.waiting = True
            running = (seat.job for seat in self.seats if seat.job is not None)
            self.desk.short(next(running, self.book.jobs[0]).key, self.guard)
        return room

    def _listen(self, interrupt: Interrupt) -> None:
        now = time.monotonic()
        times = [slot.until() for slot in self.slots]
        times += [seat.start_at for seat in self.seats if seat.start_at > now]
        if any(seat.job is None for seat in self.seats):
            times.append(self.book.queue.next_time() or math.inf)
        workers = [slot.worker for slot in self.slots if slot.worker is not None]
        if not all(worker.watched for worker in workers):
            times.append(now + _POLL_S)
        if self.waiting:
            times.append(now + _LOOK_S)
        handles = [handle for worker in workers for handle in worker.waitables()]
        until = min(times)
        wait([*handles, interrupt.fileno()], None if until == math.inf else max(0.0, until - now))
        for slot, seat in zip(self.slots, self.seats, strict=True):
            busy = list(self._busy().values())
            for message in slot.news():
                now = time.monotonic()
                if message["kind"] == "ready":
                    self.greeted, self.failed_starts = True, 0
                elif message["kind"] == "died" and seat.job is None:
                    self._count_failed_start(seat, message, now)
                self.desk.hear(seat, message, self.guard, busy, now)

    def _count_failed_start(self, seat: SlotState, message: dict[str, Any], now: float) -> None:
        if message["greeted"]:
            return
        self.failed_starts += 1
        seat.start_at = now + min(_START_DELAY_LIMIT_S, 0.1 * 2**self.failed_starts)
        # While others work, there is something to wait for: memory may come free.
        limit = _LATER_STARTS if self.greeted else _FIRST_STARTS
        if self.failed_starts >= limit and not any(other.job for other in self.seats):
            raise InputError(
                f"workers do not start: {cause(message['code'])}", where=self.executor.launch.run
            )
