"""What the news of a worker means for the book and for memory, whichever executor heard them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from prunebench.bench.executors.base import Event, Job
from prunebench.bench.executors.memory import HOST, MemoryGuard
from prunebench.bench.executors.outcomes import Book, cause
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.errors import InputError


@dataclass
class SlotState:
    """A slot as its driver sees it.

    Attributes:
        number: Which slot.
        device: Where its cells run.
        job: The cell it is on.
        start_at: Monotonic time before which no further worker is started.
    """

    number: int
    device: str
    job: Job | None = None
    start_at: float = 0.0


class Desk:
    """Takes down what workers say.

    Args:
        book: Of the run.
        attempts: Times a cell is started whose worker dies under it.
        time_limit_s: For the reason of cells that were ended.
    """

    def __init__(self, book: Book, attempts: int, time_limit_s: float | None) -> None:
        self.book, self.attempts, self.time_limit_s = book, attempts, time_limit_s
        self._short = False

    def hear(
        self,
        seat: SlotState,
        message: dict[str, Any],
        guard: MemoryGuard,
        busy: Collection[str],
        now: float,
    ) -> None:
        """Takes down one of ``Slot.news``.

        Args:
            seat: Whose.
            message: The news.
            guard: Of its machine.
            busy: Devices of the cells that run there, this one among them.
            now: Monotonic time.

        Raises:
            InputError: The worker cannot do any cell.
        """
        kind, job = message["kind"], seat.job
        if kind == "broken":
            what, where, accepted = message["parts"]
            raise InputError(what, where=where, accepted=accepted)
        if job is None or kind not in ("progress", "result", "died"):
            return
        if kind == "progress":
            fraction = float(message["fraction"])
            self.book.on_event(Event("progress", job.key, seat.number, fraction))
            return
        seat.job, seconds = None, float(message["seconds"])
        if kind == "result":
            result = message["result"]
            if result["status"] == "memory":
                note = guard.lower(seat.device, busy)
                reason = _first(str(result.get("reason") or "out of memory"))
                self.book.starved(job, seat.number, _join(reason, note), seconds)
            else:
                self.book.answered(job, seat.number, result, message["escaped"], seconds, now)
        elif message["timed_out"]:
            reason = f"time limit of {self.time_limit_s:g} s"
            self.book.lost(job, seat.number, "failed", reason, seconds, OutcomeCode.TIME_LIMIT)
        else:
            self.died(seat, job, int(message["code"]), guard, busy, seconds)

    def died(
        self,
        seat: SlotState,
        job: Job,
        code: int,
        guard: MemoryGuard,
        busy: Collection[str],
        seconds: float,
    ) -> None:
        """A worker died under a cell, of a lack of memory or of anything else."""
        note = guard.lower(HOST, busy) if guard.killed_by_oom(code) else ""
        if note:
            self.book.starved(job, seat.number, f"out of memory; {note}", seconds)
        else:
            self.book.died(job, seat.number, cause(code), seconds, self.attempts)

    def short(self, key: str, guard: MemoryGuard) -> None:
        """Tells once that cells wait for memory."""
        if not self._short:
            self._short = True
            self.book.on_event(Event("notice", key, -1, text=guard.shortage()))


def _first(text: str) -> str:
    return text.partition("\n")[0][:200]


def _join(reason: str, note: str) -> str:
    return f"{reason}; {note}" if note else reason
