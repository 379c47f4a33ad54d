"""The interface of executors: jobs in, events while they run, outcomes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.record import Status as Status

EventKind = Literal["started", "progress", "finished", "requeued", "waiting", "notice"]


@dataclass(frozen=True)
class Job:
    """One cell as an executor sees it.

    Attributes:
        key: Content key of the cell.
        payload: Argument of the worker function; JSON.
        after: Keys that must have ended, in whatever way, before this one starts. Keys that are
            no jobs of the same run count as ended.
        label: Short text for the display.
        group: Cells of one group share data that a worker keeps loaded.
        cost: Expected duration in any one unit, for the estimate of the time left.
    """

    key: str
    payload: dict[str, Any]
    after: tuple[str, ...] = ()
    label: str = ""
    group: str = ""
    cost: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        key: Its key.
        status: Final status.
        reason: Why, unless done; for people.
        seconds: Wall time over all its attempts.
        attempts: Times it was started here; 0 when another driver had recorded it.
        code: Why, for programs.
    """

    key: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    attempts: int = 1
    code: OutcomeCode = OutcomeCode.RECORDED


@dataclass(frozen=True)
class Event:
    """One step of one job.

    Attributes:
        kind: ``waiting`` means that another driver holds the cell and it is tried again later;
            ``notice`` is about the run, not about the job.
        key: The job.
        slot: Where it runs.
        fraction: Share done, for ``progress``.
        outcome: Set for ``finished``; for ``requeued`` what would have been the outcome.
        text: The line of a ``notice``.
    """

    kind: EventKind
    key: str
    slot: int
    fraction: float = 0.0
    outcome: Outcome | None = None
    text: str = ""


WorkerFunction = Callable[[dict[str, Any], WorkerContext], JobResult]
OnEvent = Callable[[Event], None]
OnLost = Callable[[Job, Status, str], None]


class Executor(ABC):
    """Runs jobs to their end."""

    @abstractmethod
    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> list[Outcome]:
        """Runs every job and returns the outcomes in the order of the jobs.

        Args:
            jobs: Distinct keys; ``after`` without cycles.
            on_event: Called in the driver's thread; should return at once.

        Raises:
            InputError: Keys occur twice, ``after`` has a cycle, or a worker cannot start.
            KeyboardInterrupt: The user or the system asked to stop; all workers are gone.
        """

    @property
    def slots(self) -> int:
        """Cells at once."""
        return 1

    def close(self) -> None:
        """Ends the workers that wait for a further run."""
