"""What a driver and its workers send each other: one JSON object per message, over a socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from prunebench.bench.runs.job_result import JobResult

Socket: TypeAlias = "Connection[Any, Any]"


@dataclass(frozen=True)
class Start:
    """Driver: the first message.

    Attributes:
        run: Worker function as ``module:function``.
        plugins: Files to load first.
        settings: Given to every job.
        device: Name of the device inside the worker.
        slots: Jobs at once; several are interleaved.
        grace_s: Seconds that the process has after it was asked to end.
    """

    run: str
    plugins: list[str]
    settings: dict[str, Any]
    device: str
    slots: int
    grace_s: float


@dataclass(frozen=True)
class RunJob:
    """Driver: a job for a slot; ``retry_on_oom`` as in ``WorkerContext``."""

    payload: dict[str, Any]
    retry_on_oom: bool
    slot: int


@dataclass(frozen=True)
class CancelJob:
    """Driver: the job of a slot must end with this reason; other slots continue."""

    slot: int
    reason: str


@dataclass(frozen=True)
class Ready:
    """Worker: the function and the plug-ins are loaded."""


@dataclass(frozen=True)
class StartFailed:
    """Worker: no job can be run; the parts of an ``InputError``."""

    what: str
    where: str
    accepted: str


@dataclass(frozen=True)
class JobProgress:
    """Worker: the share of a job that is done, 0..1."""

    fraction: float
    slot: int


@dataclass(frozen=True)
class JobEnded:
    """Worker: a job is over.

    Attributes:
        result: Of the worker function.
        seconds: Wall time.
        last: Whether the worker takes no further job: this one may have left it in a bad state.
        slot: Where it ran.
    """

    result: JobResult
    seconds: float
    last: bool = False
    slot: int = 0


@dataclass(frozen=True)
class WorkerDied:
    """From the driver's ``Worker``: the process is dead.

    Attributes:
        exit_code: Negative for a signal.
        was_ready: Whether it had ever been ready.
        seconds: Wall time of the job that it was on; 0 without one.
    """

    exit_code: int
    was_ready: bool
    seconds: float


DriverMessage = Start | RunJob | CancelJob
WorkerMessage = Ready | StartFailed | JobProgress | JobEnded
#: What a slot reports to the loop of its executor.
SlotEvent = WorkerMessage | WorkerDied

_TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Start, RunJob, CancelJob, Ready, StartFailed, JobProgress, JobEnded)
}


def send(connection: Socket, message: DriverMessage | WorkerMessage) -> None:
    """Sends one message.

    Raises:
        OSError: The other side is gone.
        TypeError: A payload or the settings hold something that is no JSON value.
    """
    fields = {"type": type(message).__name__, **vars(message)}
    if isinstance(message, JobEnded):
        fields["result"] = message.result.to_json()
    connection.send_bytes(json.dumps(fields).encode())


def receive(connection: Socket) -> Any:
    """Waits for one message.

    Raises:
        EOFError: The other side is gone.
        OSError: Likewise, in the middle of a message.
    """
    fields = json.loads(connection.recv_bytes())
    kind = _TYPES[fields.pop("type")]
    if kind is JobEnded:
        fields["result"] = JobResult.from_json(fields["result"])
    return kind(**fields)
