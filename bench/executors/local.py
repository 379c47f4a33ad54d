"""Jobs in persistent worker processes on this machine."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from prunebench.bench.executors.base import Event, Executor, Job, OnEvent, OnLost, Outcome
from prunebench.bench.executors.inline import InlineExecutor
from prunebench.bench.executors.interrupt import Interrupt
from prunebench.bench.executors.process import Launch, WorkerProcess, cause
from prunebench.bench.executors.results import Book
from prunebench.errors import InputError

_FIRST_STARTS, _LATER_STARTS = 3, 10
_START_DELAY_LIMIT_S = 10.0
_POLL_S = 0.2


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

    Raises:
        InputError: A number out of range, or inline with more than one slot or a time limit.
    """

    def __init__(
        self,
        run: str = "prunebench.bench.payload:run_payload",
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
    ) -> None:
        self.devices = tuple(devices)
        room = len(self.devices) * slots_per_device
        self.slots = room if slots is None else slots
        numbers = {"slots": self.slots, "threads": threads, "attempts": attempts}
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
        self.launch = Launch(run, threads, tuple(plugins), dict(settings or {}), log_dir)
        self.time_limit_s, self.attempts = time_limit_s, attempts
        self.on_lost, self.grace_s = on_lost, grace_s
        self.keep, self._waiting = keep, list[_Slot]()

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
        _stop(self._waiting, self.grace_s)
        self._waiting = []


@dataclass
class _Slot:
    number: int
    device: str
    worker: WorkerProcess | None = None
    greeted: bool = False
    ready: bool = False
    job: Job | None = None
    begin: float = 0.0
    deadline: float = math.inf
    kill_at: float = math.inf
    start_at: float = 0.0
    timed_out: bool = False


class _Run:
    """One run: hands out jobs, listens to the workers, buries the dead."""

    def __init__(self, executor: LocalExecutor, book: Book, waiting: list[_Slot]) -> None:
        self.executor, self.book = executor, book
        devices = executor.devices
        self.slots = waiting or [_Slot(n, devices[n % len(devices)]) for n in range(executor.slots)]
        self.failed_starts, self.greeted = 0, False

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
                    _stop(self.slots, self.executor.grace_s)
        return self.book.outcomes()

    def _hand_out(self) -> None:
        now = time.monotonic()
        for slot in self.slots:
            if slot.worker is not None and slot.ready and slot.job is None:
                job = self.book.queue.take(slot.number, now)
                if job is None:
                    break
                slot.job, slot.begin, slot.timed_out = job, now, False
                slot.deadline = now + (self.executor.time_limit_s or math.inf)
                self.book.started(job, slot.number)
                slot.worker.tell(payload=job.payload)
        starting = sum(slot.worker is not None and not slot.ready for slot in self.slots)
        for slot in self.slots:
            if slot.worker is not None or slot.start_at > now:
                continue
            if self.book.queue.ready(now) > starting:
                slot.worker = WorkerProcess(slot.number, slot.device, self.executor.launch)
                slot.greeted = slot.ready = False
                starting += 1

    def _listen(self, interrupt: Interrupt) -> None:
        now = time.monotonic()
        times = [time for slot in self.slots for time in (slot.deadline, slot.kill_at)]
        times += [slot.start_at for slot in self.slots if slot.start_at > now]
        if any(slot.job is None for slot in self.slots):
            times.append(self.book.queue.next_time() or math.inf)
        workers = [slot.worker for slot in self.slots if slot.worker is not None]
        if not all(worker.watched for worker in workers):
            times.append(now + _POLL_S)
        handles = [handle for worker in workers for handle in worker.waitables()]
        until = min(times)
        wait([*handles, interrupt.fileno()], None if until == math.inf else max(0.0, until - now))
        for slot in self.slots:
            self._attend(slot)

    def _attend(self, slot: _Slot) -> None:
        worker, now = slot.worker, time.monotonic()
        if worker is None:
            return
        # The exit code is read before the messages: what a dead worker said last still counts.
        code = worker.exit_code()
        for message in worker.messages():
            self._hear(slot, message, now)
        if code is not None:
            self._bury(slot, worker.close(), now)
        elif now >= slot.kill_at:
            worker.kill()
            slot.kill_at = math.inf
        elif now >= slot.deadline:
            slot.timed_out, slot.deadline = True, math.inf
            slot.kill_at = now + self.executor.grace_s
            worker.terminate()
        elif not worker.connected and slot.kill_at == math.inf:
            slot.kill_at = now + self.executor.grace_s

    def _hear(self, slot: _Slot, message: dict[str, Any], now: float) -> None:
        kind = message["kind"]
        if kind == "broken":
            what, where, accepted = message["parts"]
            raise InputError(what, where=where, accepted=accepted)
        if kind == "ready":
            slot.greeted = slot.ready = self.greeted = True
            self.failed_starts = 0
        elif slot.job is not None and kind == "progress":
            fraction = float(message["fraction"])
            self.book.on_event(Event("progress", slot.job.key, slot.number, fraction))
        elif slot.job is not None:
            job, slot.job, slot.deadline = slot.job, None, math.inf
            slot.ready = not message["recycle"] and not slot.timed_out
            seconds = now - slot.begin
            self.book.answered(
                job, slot.number, message["result"], message["escaped"], seconds, now
            )

    def _bury(self, slot: _Slot, code: int, now: float) -> None:
        job, slot.job, slot.worker = slot.job, None, None
        slot.ready = False
        slot.deadline = slot.kill_at = math.inf
        if job is None:
            self._count_failed_start(slot, code, now)
        elif slot.timed_out:
            reason = f"time limit of {self.executor.time_limit_s:g} s"
            self.book.lost(job, slot.number, "failed", reason, now - slot.begin)
        else:
            limit, seconds = self.executor.attempts, now - slot.begin
            self.book.died(job, slot.number, cause(code), seconds, limit)

    def _count_failed_start(self, slot: _Slot, code: int, now: float) -> None:
        if slot.greeted:
            return
        self.failed_starts += 1
        slot.start_at = now + min(_START_DELAY_LIMIT_S, 0.1 * 2**self.failed_starts)
        # While others work, there is something to wait for: memory may come free.
        limit = _LATER_STARTS if self.greeted else _FIRST_STARTS
        if self.failed_starts >= limit and not any(other.job for other in self.slots):
            raise InputError(f"workers do not start: {cause(code)}", where=self.executor.launch.run)


def _stop(slots: Sequence[_Slot], grace_s: float) -> None:
    workers = [slot.worker for slot in slots if slot.worker is not None]
    try:
        for slot in slots:
            if slot.worker is not None:
                slot.worker.hang_up()
                if slot.job is not None:
                    slot.worker.terminate()
        end = time.monotonic() + grace_s
        while any(w.exit_code() is None for w in workers) and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        for worker in workers:
            worker.close()
