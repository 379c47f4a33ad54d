"""A worker process as its driver uses it: the slots that it serves, their jobs and time limits."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from prunebench.bench.executors.base import Job
from prunebench.bench.executors.local.process import Launch, WorkerProcess
from prunebench.bench.executors.memory import used_memory
from prunebench.bench.executors.messages import (
    CancelJob,
    JobEnded,
    JobProgress,
    Ready,
    RunJob,
    SlotEvent,
    WorkerDied,
)
from prunebench.bench.executors.tracker import SlotState
from prunebench.bench.runs.job_result import JobResult, OutcomeCode


@dataclass(eq=False)
class Slot(SlotState):
    """A slot of a worker on this machine.

    Attributes:
        running: Whether its worker has its job.
        begin: Monotonic time at which the job began.
        deadline: When the time limit of the job passes.
        timed_out: Whether it has passed.
    """

    running: bool = False
    begin: float = 0.0
    deadline: float = math.inf
    timed_out: bool = False


class Worker:
    """A worker process that may die and be started again.

    It serves one slot or several: then it interleaves the steps of their jobs, a time limit ends
    one job alone, and a death ends all of them.

    Args:
        slots: Its slots, on one device.
        launch: What the process starts with.
        time_limit_s: Wall time after which a job is ended.
        grace_s: Seconds between SIGTERM and SIGKILL.

    Attributes:
        process: None before the start and after the death.
        ready: Whether it takes jobs.
        start_at: Monotonic time before which it is not started.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        launch: Launch,
        time_limit_s: float | None = None,
        grace_s: float = 3.0,
    ) -> None:
        self.slots, self.launch = {slot.number: slot for slot in slots}, launch
        self.time_limit_s, self.grace_s = time_limit_s or math.inf, grace_s
        self.first, self.shared = slots[0], len(slots) > 1
        self.process: WorkerProcess | None = None
        self.ready = self.was_ready = False
        self.start_at, self.kill_at = 0.0, math.inf
        self._late = f"time limit of {self.time_limit_s:g} s"

    @property
    def running(self) -> list[Slot]:
        """Slots whose jobs it runs."""
        return [slot for slot in self.slots.values() if slot.running]

    @property
    def free(self) -> list[Slot]:
        """Slots for which it can take a job now."""
        return [slot for slot in self.slots.values() if self.ready and not slot.running]

    def start(self) -> None:
        """Starts the process; ``Ready`` follows."""
        number, device = self.first.number, self.first.device
        slots = len(self.slots)
        self.process = WorkerProcess(number, device, self.launch, slots, self.grace_s)
        self.ready = self.was_ready = False

    def give(self, slot: Slot, job: Job, retry_on_oom: bool) -> None:
        """Sends a job for a free slot; see ``WorkerContext.retry_on_oom``."""
        assert self.process is not None
        slot.job, slot.running, slot.timed_out = job, True, False
        slot.begin = time.monotonic()
        slot.deadline = slot.begin + self.time_limit_s
        self.process.send(RunJob(job.payload, retry_on_oom, slot.number))

    def retire(self) -> None:
        """Ends the process if it has no job, which frees its memory."""
        if self.process is not None and not self.running:
            self.process.hang_up()
            self.ready = False

    def used_memory(self) -> int:
        """Bytes of the process; 0 without one."""
        return 0 if self.process is None else used_memory(self.process.pid)

    def next_check(self) -> float:
        """Monotonic time at which ``poll`` must be called even if no message arrives."""
        return min(self.kill_at, *(slot.deadline for slot in self.slots.values()))

    def poll(self) -> list[tuple[Slot, SlotEvent]]:
        """Reads what the process has sent, enforces time limits, and notices its death.

        Returns:
            Reports of slots. ``Ready`` and ``StartFailed`` are reported for the first slot. The
            death of the process is reported for every job that it ends, or else for the first
            slot; a job whose time limit has passed ends before that with ``TIME_LIMIT``.
        """
        process, now = self.process, time.monotonic()
        if process is None:
            return []
        # The exit code is read first: then the last messages of a dead process are all there.
        code = process.exit_code()
        reports: list[tuple[Slot, SlotEvent]] = []
        for message in process.messages():
            if isinstance(message, JobProgress | JobEnded):
                slot = self.slots[message.slot]
            else:
                slot = self.first
            reports.append((slot, message))
            if isinstance(message, Ready):
                self.ready = self.was_ready = True
            elif isinstance(message, JobEnded):
                slot.running, slot.deadline = False, math.inf
                self.ready = self.ready and not message.last
                if self.shared and not any(other.timed_out for other in self.running):
                    self.kill_at = math.inf
        if code is not None:
            return [*reports, *self._died(process.close(), now)]
        if now >= self.kill_at:
            process.kill()
            self.kill_at = math.inf
        for slot in self.running:
            if now >= slot.deadline:
                slot.timed_out, slot.deadline = True, math.inf
                self.kill_at = now + self.grace_s
                if self.shared:
                    process.send(CancelJob(slot.number, self._late))
                else:
                    process.terminate()
                    self.ready = False
        if not process.connected and self.kill_at == math.inf:
            self.kill_at = now + self.grace_s
        return reports

    def _died(self, code: int, now: float) -> list[tuple[Slot, SlotEvent]]:
        late = [slot for slot in self.running if slot.timed_out]
        result = JobResult(OutcomeCode.TIME_LIMIT, "failed", self._late)
        reports: list[tuple[Slot, SlotEvent]] = [
            (slot, JobEnded(result, now - slot.begin, last=True)) for slot in late
        ]
        lost = [slot for slot in self.running if not slot.timed_out]
        for slot in lost or [self.first]:
            seconds = now - slot.begin if slot.running else 0.0
            reports.append((slot, WorkerDied(code, self.was_ready, seconds)))
        for slot in self.running:
            slot.running, slot.deadline = False, math.inf
        self.process, self.ready, self.kill_at = None, False, math.inf
        return reports


def end_workers(workers: Sequence[Worker], grace_s: float) -> None:
    """Ends worker processes: SIGTERM where a job runs, SIGKILL after ``grace_s`` seconds."""
    processes = [worker.process for worker in workers if worker.process is not None]
    try:
        for worker in workers:
            if worker.process is not None:
                worker.process.hang_up()
                if worker.running:
                    worker.process.terminate()
        end = time.monotonic() + grace_s
        while any(p.exit_code() is None for p in processes) and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        for process in processes:
            process.close()
