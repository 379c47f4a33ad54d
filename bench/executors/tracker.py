"""The state of every job of one run, for whichever executor runs them."""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from prunebench.bench.executors.base import Event, Job, OnEvent, OnLost, Outcome
from prunebench.bench.executors.memory import HOST, MemoryGuard
from prunebench.bench.executors.messages import (
    JobEnded,
    JobProgress,
    SlotEvent,
    StartFailed,
    WorkerDied,
)
from prunebench.bench.executors.queue import JobQueue
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.errors import FolderError, InputError
from prunebench.record import Status

_RETRY_S, _RETRY_LIMIT_S = 0.5, 10.0
#: The worker function has made no record.
_NOT_RECORDED = (OutcomeCode.ESCAPED, OutcomeCode.TIME_LIMIT, OutcomeCode.WORKER_DIED)


@dataclass
class SlotState:
    """A slot: room for one job at a time.

    Attributes:
        number: Which slot.
        device: Where its jobs run.
        job: The job that it runs.
    """

    number: int
    device: str
    job: Job | None = None


class JobTracker:
    """The queue, the attempts and the outcomes of one run.

    Args:
        jobs: All jobs of the run.
        on_event: Receives every event.
        on_lost: Records final statuses that the worker function could not record itself.
        attempts: Times a job is started whose worker dies under it.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        on_event: OnEvent,
        on_lost: OnLost | None = None,
        attempts: int = 1,
    ) -> None:
        self.jobs, self.queue, self.on_event = jobs, JobQueue(jobs), on_event
        self._on_lost, self._limit = on_lost, attempts
        self._attempts: Counter[str] = Counter()
        self._waits: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._outcomes: dict[str, Outcome] = {}
        self._said_short = False

    def outcomes(self) -> list[Outcome]:
        """The outcomes in the order of the jobs."""
        return [self._outcomes[job.key] for job in self.jobs]

    def started(self, job: Job, slot: int) -> None:
        """Notes that a job begins an attempt."""
        self._attempts[job.key] += 1
        self.on_event(Event("started", job.key, slot))

    def apply(self, slot: SlotState, event: SlotEvent, guard: MemoryGuard) -> None:
        """Applies what a slot reports; a slot whose job is over becomes free.

        Args:
            slot: Which slot.
            event: The report.
            guard: Of the slot's machine.

        Raises:
            InputError: The workers cannot run any job.
        """
        job = slot.job
        if isinstance(event, StartFailed):
            raise InputError(event.what, where=event.where, accepted=event.accepted)
        if job is None:
            return
        if isinstance(event, JobProgress):
            self.on_event(Event("progress", job.key, slot.number, event.fraction))
        elif isinstance(event, JobEnded):
            slot.job = None
            if event.result.code is OutcomeCode.OUT_OF_MEMORY:
                reason = event.result.reason.partition("\n")[0][:200] or "out of memory"
                note = guard.lower_limit(slot.number, slot.device)
                self._retry_beside_fewer(job, slot, reason, note, event.seconds)
            else:
                self.ended(job, slot.number, event.result, event.seconds)
        elif isinstance(event, WorkerDied):
            slot.job = None
            oom = "out of memory" if guard.killed_by_oom(event.exit_code) else ""
            self.died(job, slot, describe_exit(event.exit_code), oom, guard, event.seconds)

    def ended(self, job: Job, slot: int, result: JobResult, seconds: float = 0.0) -> None:
        """Notes a result, and calls ``on_lost`` where nothing of it has been recorded.

        Args:
            job: The job.
            slot: Where it ran.
            result: Of the worker function. ``BUSY`` jobs are put back and tried again later.
            seconds: Wall time of this attempt.
        """
        key, code, reason = job.key, result.code, result.reason
        if code is OutcomeCode.BUSY:
            self._attempts[key] -= 1
            delay = min(_RETRY_LIMIT_S, _RETRY_S * 1.5 ** self._waits[key])
            self._waits[key] += 1
            self.queue.put_back(job, time.monotonic() + delay)
            self.on_event(Event("waiting", key, slot))
            return
        self._seconds[key] += seconds
        if code is OutcomeCode.EXISTS:
            self._attempts[key] = 0
        elif code in _NOT_RECORDED and self._on_lost is not None:
            try:
                self._on_lost(job, result.status, reason)
            except FolderError as error:
                code, reason = OutcomeCode.FOLDER_LOST, str(error)
            except Exception as error:  # one job's record must not stop the others
                reason = f"{reason} (not recorded: {type(error).__name__}: {error})"
        outcome = self._outcome(job, result.status, reason, code)
        self._outcomes[key] = outcome
        self.queue.finish(key)
        self.on_event(Event("finished", key, slot, 1.0, outcome))

    def died(
        self,
        job: Job,
        slot: SlotState,
        reason: str,
        out_of_memory: str,
        guard: MemoryGuard,
        seconds: float,
    ) -> None:
        """Puts a job back whose worker died, until its attempts are used up.

        Args:
            job: The job.
            slot: Where it ran.
            reason: Why the worker died.
            out_of_memory: The reason where that was a lack of memory, else empty. If fewer jobs
                can run at once, the attempt does not count.
            guard: As in ``apply``.
            seconds: Wall time of this attempt.
        """
        note = guard.lower_limit(slot.number, HOST) if out_of_memory else ""
        tries = self._attempts[job.key]
        if note:
            self._retry_beside_fewer(job, slot, out_of_memory, note, seconds)
        elif tries < self._limit:
            self._put_back(job, slot, "killed", reason, OutcomeCode.WORKER_DIED, seconds)
        else:
            reason = f"{reason} (after {tries} attempt{'' if tries == 1 else 's'})"
            result = JobResult(OutcomeCode.WORKER_DIED, "killed", reason)
            self.ended(job, slot.number, result, seconds)

    def short_of_memory(self, guard: MemoryGuard) -> None:
        """Says once that jobs wait for memory."""
        if not self._said_short:
            self._said_short = True
            self.notice(guard.shortage())

    def notice(self, text: str) -> None:
        """Passes on a line about the run."""
        self.on_event(Event("notice", self.jobs[0].key, -1, text=text))

    def _retry_beside_fewer(
        self, job: Job, slot: SlotState, reason: str, note: str, seconds: float
    ) -> None:
        self._attempts[job.key] -= 1
        reason = f"{reason}; {note}" if note else reason
        self._put_back(job, slot, "failed", reason, OutcomeCode.OUT_OF_MEMORY, seconds)

    def _put_back(
        self, job: Job, slot: SlotState, status: Status, reason: str, code: OutcomeCode, s: float
    ) -> None:
        self._seconds[job.key] += s
        self.queue.put_back(job)
        outcome = self._outcome(job, status, reason, code)
        self.on_event(Event("requeued", job.key, slot.number, outcome=outcome))

    def _outcome(self, job: Job, status: Status, reason: str, code: OutcomeCode) -> Outcome:
        key = job.key
        return Outcome(key, status, reason, self._seconds[key], self._attempts[key], code)


def describe_exit(code: int) -> str:
    """An exit code in words; negative ones are signals."""
    if code >= 0:
        return f"the worker exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory, or killed by hand)" if -code == signal.SIGKILL else ""
    return f"the worker died of {name}{hint}"
