"""Jobs in persistent worker processes on this machine."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from prunebench.bench.executors.base import Executor, Job, OnEvent, OnLost, Outcome
from prunebench.bench.executors.interrupt import Interrupt, waiting_for_signals
from prunebench.bench.executors.local.inline import run_inline
from prunebench.bench.executors.local.process import Launch
from prunebench.bench.executors.local.slot import Slot, Worker, end_workers
from prunebench.bench.executors.memory import MemoryGuard, Reading, read_memory
from prunebench.bench.executors.messages import Ready, SlotEvent, WorkerDied
from prunebench.bench.executors.tracker import JobTracker, describe_exit
from prunebench.errors import InputError

_FIRST_STARTS, _LATER_STARTS = 3, 10
_START_DELAY_LIMIT_S = 10.0
_POLL_S = 0.2
_MEMORY_CHECK_S = 1.0


class LocalExecutor(Executor):
    """Spreads jobs over worker processes and replaces workers that die.

    Args:
        run: Worker function as ``module:function``: ``(payload, context) -> JobResult``.
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
        interleaved: Slots of one worker, which interleaves their runs; ``run`` then
            names a function that returns the steps of a run.
        read_memory: Reads the memory of the machine.

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
        interleaved: int = 1,
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
        self.launch = Launch(run, threads, tuple(plugins), dict(settings or {}), log_dir)
        self.interleaved = interleaved
        self.time_limit_s, self.attempts = time_limit_s, attempts
        self.on_lost, self.grace_s = on_lost, grace_s
        self.keep, self._kept = keep, list[Worker]()
        self.free_memory, self.read_memory = free_memory, read_memory

    @property
    def slots(self) -> int:
        """Cells at once."""
        return self._count

    def make_workers(self) -> list[Worker]:
        """Workers that are not started."""
        devices = itertools.islice(itertools.cycle(self.devices), self._count)
        open_slots: dict[str, list[Slot]] = {}
        groups: list[list[Slot]] = []
        for number, device in enumerate(devices):
            group = open_slots.get(device, [])
            if not group or len(group) == self.interleaved:
                group = open_slots[device] = []
                groups.append(group)
            group.append(Slot(number, device))
        return [Worker(group, self.launch, self.time_limit_s, self.grace_s) for group in groups]

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> list[Outcome]:
        """See ``Executor.run``."""
        tracker = JobTracker(jobs, on_event, self.on_lost, self.attempts)
        if self.inline:
            run_inline(tracker, self.launch, self.devices[0])
        else:
            workers, self._kept = self._kept or self.make_workers(), []
            with waiting_for_signals() as interrupt:
                try:
                    _Run(self, tracker, workers).loop(interrupt)
                    self._kept = workers if self.keep else []
                finally:
                    if not self._kept:
                        end_workers(workers, self.grace_s)
        return tracker.outcomes()

    def close(self) -> None:
        """Ends the workers that wait for a further run."""
        end_workers(self._kept, self.grace_s)
        self._kept = []


class _Run:
    """One run: gives jobs to workers, applies their reports, replaces dead ones."""

    def __init__(self, executor: LocalExecutor, tracker: JobTracker, workers: list[Worker]) -> None:
        self.function, self.tracker, self.workers = executor.launch.run, tracker, workers
        slots = Counter(slot.device for worker in workers for slot in worker.slots.values())
        self.guard = MemoryGuard(slots, self._busy, executor.free_memory, executor.read_memory)
        self.memory_check_at, self.failed_starts = 0.0, 0
        self.any_ready = self.short = False

    def loop(self, interrupt: Interrupt) -> None:
        while self.tracker.queue.open:
            self._give_jobs()
            self._wait(interrupt)
            for worker in self.workers:
                for slot, event in worker.poll():
                    self._apply(worker, slot, event)
            if interrupt.pending:
                raise KeyboardInterrupt

    def _busy(self) -> dict[int, str]:
        slots = [slot for worker in self.workers for slot in worker.running]
        # A process that starts or ends has memory too.
        slots += [one.first for one in self.workers if one.process is not None and not one.ready]
        return {slot.number: slot.device for slot in slots}

    def _give_jobs(self) -> None:
        now, queue = time.monotonic(), self.tracker.queue
        if now >= self.memory_check_at:
            self.memory_check_at = now + _MEMORY_CHECK_S
            self.guard.update(
                {slot: one.used_memory() for one in self.workers for slot in one.slots}
            )
        self.short = False
        for worker in self.workers:
            for slot in worker.free:
                if not queue.ready(now):
                    break
                if not self._has_room(slot):
                    worker.retire()
                    break
                job = queue.take(slot.number, now)
                if job is not None:
                    self.tracker.started(job, slot.number)
                    worker.give(slot, job, not self.guard.single_slot(slot.device))
        starting = sum(one.process is not None and not one.ready for one in self.workers)
        for worker in self.workers:
            may_start = worker.process is None and worker.start_at <= now
            if may_start and queue.ready(now) > starting and self._has_room(worker.first):
                worker.start()
                starting += len(worker.slots)

    def _has_room(self, slot: Slot) -> bool:
        room = self.guard.has_room(slot.number, slot.device)
        if self.guard.short:
            self.short = True
            self.tracker.short_of_memory(self.guard)
        return room

    def _wait(self, interrupt: Interrupt) -> None:
        """Until a worker has sent something or has died, a signal has come, or it is time."""
        now = time.monotonic()
        times = [worker.next_check() for worker in self.workers]
        times += [worker.start_at for worker in self.workers if worker.start_at > now]
        if any(len(worker.running) < len(worker.slots) for worker in self.workers):
            times.append(self.tracker.queue.next_time() or math.inf)
        processes = [worker.process for worker in self.workers if worker.process is not None]
        if not all(process.death_wakes for process in processes):
            times.append(now + _POLL_S)
        if self.short:
            times.append(now + _MEMORY_CHECK_S)
        handles = [handle for process in processes for handle in process.waitables()]
        until = min(times)
        wait([*handles, interrupt.fileno()], None if until == math.inf else max(0.0, until - now))

    def _apply(self, worker: Worker, slot: Slot, event: SlotEvent) -> None:
        if isinstance(event, Ready):
            self.any_ready, self.failed_starts = True, 0
        elif isinstance(event, WorkerDied) and not event.was_ready:
            self._count_failed_start(worker, event.exit_code)
        self.tracker.apply(slot, event, self.guard)

    def _count_failed_start(self, worker: Worker, exit_code: int) -> None:
        self.failed_starts += 1
        delay = min(_START_DELAY_LIMIT_S, 0.1 * 2**self.failed_starts)
        worker.start_at = time.monotonic() + delay
        # While other workers run, more starts are tried: their memory may become free.
        limit = _LATER_STARTS if self.any_ready else _FIRST_STARTS
        if self.failed_starts >= limit and not any(other.running for other in self.workers):
            why = f"workers do not start: {describe_exit(exit_code)}"
            raise InputError(why, where=self.function)
