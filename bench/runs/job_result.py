"""What a worker function says of its job: a code that programs decide by, and a text for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prunebench.record import STATUSES, Status


class OutcomeCode(StrEnum):
    """Why a job has the status that it has."""

    #: The run ended, in whatever way, and this call recorded it.
    RECORDED = "recorded"
    #: It was recorded before this call.
    EXISTS = "exists"
    #: Another process works on it; it is tried again later.
    BUSY = "busy"
    #: Its data, files or options cannot be used; nothing is recorded.
    BAD_INPUT = "bad-input"
    #: The results folder cannot be written; nothing is recorded, here or in any further job.
    FOLDER_LOST = "folder-lost"
    #: No memory beside other jobs; it is run again with fewer of them.
    OUT_OF_MEMORY = "out-of-memory"
    #: An exception left the worker function; nothing is recorded yet.
    ESCAPED = "escaped"
    #: The driver ended it after its time limit.
    TIME_LIMIT = "time-limit"
    #: Its worker died under it.
    WORKER_DIED = "worker-died"


@dataclass(frozen=True)
class JobResult:
    """How one call of a worker function ended.

    Attributes:
        code: What the executor decides by.
        status: Of the record, where there is one; ``failed`` where the job came to nothing.
        reason: Why, unless done, for people.
        spoilt: Whether its process is in a state in which no further job should begin there.
    """

    code: OutcomeCode = OutcomeCode.RECORDED
    status: Status = "done"
    reason: str = ""
    spoilt: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain values, for messages between processes."""
        return {**vars(self), "code": str(self.code)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobResult:
        """Inverse of ``to_json``.

        Raises:
            ValueError: It has another code or status than those above.
        """
        if value["status"] not in STATUSES:
            raise ValueError(f"unknown status {value['status']!r}")
        code, spoilt = OutcomeCode(value["code"]), bool(value.get("spoilt"))
        return cls(code, value["status"], str(value["reason"]), spoilt)
