"""What a worker function's answer means for its job."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, cast

from prunebench.bench.executors.base import Event, Job, OnEvent, OnLost, Outcome
from prunebench.bench.executors.queue import JobQueue
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.errors import FolderError
from prunebench.record import STATUSES, Status

BACKOFF_S = 0.5
BACKOFF_LIMIT_S = 10.0


class Book:
    """The outcomes of one run as they come in, kept in step with the queue and the events.

    Args:
        jobs: All jobs of the run.
        on_event: Hears of every step.
        on_lost: Hears of final statuses that the worker function could not record itself.
    """

    def __init__(self, jobs: Sequence[Job], on_event: OnEvent, on_lost: OnLost | None) -> None:
        self.jobs, self.queue = jobs, JobQueue(jobs)
        self.on_event, self._on_lost = on_event, on_lost
        self.attempts: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._waits: Counter[str] = Counter()
        self._outcomes: dict[str, Outcome] = {}

    def outcomes(self) -> list[Outcome]:
        """The outcomes in the order of the jobs."""
        return [self._outcomes[job.key] for job in self.jobs]

    def started(self, job: Job, slot: int) -> None:
        """A job begins an attempt."""
        self.attempts[job.key] += 1
        self.on_event(Event("started", job.key, slot))

    def answered(
        self, job: Job, slot: int, result: dict[str, Any], escaped: bool, seconds: float, now: float
    ) -> None:
        """The worker function returned, or let an exception escape.

        Args:
            job: The job.
            slot: Where it ran.
            result: ``status`` and ``reason``. ``busy``: another driver holds the cell, it is
                tried again later. ``exists``: it is recorded already, with status ``as``.
            escaped: The result stands for an exception; nothing was recorded.
            seconds: Wall time of this attempt.
            now: Monotonic time.
        """
        status, reason = str(result["status"]), str(result.get("reason") or "")
        if status == "busy":
            self.attempts[job.key] -= 1
            self._waits[job.key] += 1
            delay = min(BACKOFF_LIMIT_S, BACKOFF_S * 1.5 ** (self._waits[job.key] - 1))
            self.queue.put_back(job, now + delay)
            self.on_event(Event("waiting", job.key, slot))
            return
        self._seconds[job.key] += seconds
        code = OutcomeCode(result.get("code", OutcomeCode.RECORDED))
        if status == "exists":
            self.attempts[job.key] = 0
            status = str(result.get("as", "done"))
        if status not in STATUSES:
            escaped, reason = True, f"the worker function returned the unknown status {status!r}"
            status = "failed"
        if escaped:
            self.lost(job, slot, cast(Status, status), reason, 0.0)
        else:
            self._end(job, slot, cast(Status, status), reason, code)

    def died(self, job: Job, slot: int, reason: str, seconds: float, limit: int) -> None:
        """The worker died under a job: once more, until ``limit`` attempts are used."""
        tries = self.attempts[job.key]
        if tries >= limit:
            plural = "" if tries == 1 else "s"
            text = f"{reason} (after {tries} attempt{plural})"
            self.lost(job, slot, "killed", text, seconds, OutcomeCode.WORKER_DIED)
            return
        self._again(job, slot, "killed", reason, seconds)

    def starved(self, job: Job, slot: int, reason: str, seconds: float) -> None:
        """No memory for a job beside the others: once more, and the attempt does not count."""
        self.attempts[job.key] -= 1
        self._again(job, slot, "failed", reason, seconds)

    def _again(self, job: Job, slot: int, status: Status, reason: str, seconds: float) -> None:
        key = job.key
        self._seconds[key] += seconds
        outcome = Outcome(key, status, reason, self._seconds[key], self.attempts[key])
        self.queue.put_back(job)
        self.on_event(Event("requeued", key, slot, outcome=outcome))

    def lost(
        self,
        job: Job,
        slot: int,
        status: Status,
        reason: str,
        seconds: float,
        code: OutcomeCode = OutcomeCode.ESCAPED,
    ) -> None:
        """A job ended in a way that its worker could not record."""
        self._seconds[job.key] += seconds
        if self._on_lost is not None:
            try:
                self._on_lost(job, status, reason)
            except FolderError as error:
                reason, code = str(error), OutcomeCode.FOLDER_LOST
            except Exception as error:  # one cell's record must not stop the others
                reason = f"{reason} (not recorded: {type(error).__name__}: {error})"
        self._end(job, slot, status, reason, code)

    def _end(self, job: Job, slot: int, status: Status, reason: str, code: OutcomeCode) -> None:
        key = job.key
        outcome = Outcome(key, status, reason, self._seconds[key], self.attempts[key], code)
        self._outcomes[key] = outcome
        self.queue.finish(key)
        self.on_event(Event("finished", key, slot, 1.0, outcome))


def cause(code: int) -> str:
    """An exit code in words; negative ones are signals."""
    if code >= 0:
        return f"the worker exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory, or killed by hand)" if -code == signal.SIGKILL else ""
    return f"the worker died of {name}{hint}"
