"""A worker's time limits, cancelled jobs and deaths, with a made-up process and real messages."""

from __future__ import annotations

import socket
import time
from multiprocessing.connection import Connection
from typing import Any

import pytest

from prunebench.bench.executors.base import Job
from prunebench.bench.executors.local import slot as module
from prunebench.bench.executors.local.process import Launch
from prunebench.bench.executors.local.slot import Slot, Worker
from prunebench.bench.executors.messages import (
    CancelJob,
    JobEnded,
    JobProgress,
    Ready,
    RunJob,
    Start,
    StartFailed,
    WorkerDied,
    receive,
    send,
)
from prunebench.bench.runs.job_result import JobResult, OutcomeCode

LATE = JobResult(OutcomeCode.TIME_LIMIT, "failed", "time limit of 0.01 s")


class FakeProcess:
    """Sends what a test puts into ``inbox``; keeps what it receives in ``log``."""

    death_wakes, connected, pid = True, True, 2**22 + 1

    def __init__(
        self, number: int, device: str, launch: Launch, slots: int, grace_s: float
    ) -> None:
        assert grace_s == 0.02
        self.inbox: list[Any] = [Ready()]
        self.log: list[Any] = []
        self.code: int | None = None

    def messages(self) -> list[Any]:
        found, self.inbox = self.inbox, []
        return found

    def send(self, message: Any) -> None:
        self.log.append(message)

    def terminate(self) -> None:
        self.log.append("terminate")

    def kill(self) -> None:
        self.log.append("kill")
        self.code = -9

    def exit_code(self) -> int | None:
        return self.code

    def close(self) -> int | None:
        return self.code


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "WorkerProcess", FakeProcess)

    def make(slots: int) -> tuple[Worker, Any, list[Slot]]:
        places = [Slot(number, "cpu") for number in range(slots)]
        worker = Worker(places, Launch("m:f"), time_limit_s=0.01, grace_s=0.02)
        worker.start()
        assert worker.poll() == [(places[0], Ready())]
        for slot in worker.free:
            worker.give(slot, Job(f"j{slot.number}", {}), False)
        assert not worker.free
        return worker, worker.process, places

    return make


def test_a_late_job_ends_its_process(start: Any) -> None:
    worker, process, (slot,) = start(1)
    time.sleep(0.011)
    assert worker.poll() == []
    assert process.log[1:] == ["terminate"]
    process.code = 143
    (_, ended), (_, died) = worker.poll()
    assert (ended.result, ended.last) == (LATE, True)
    assert died == WorkerDied(143, True, died.seconds)
    assert worker.process is None
    assert not slot.running


def test_a_late_job_beside_others_is_cancelled_alone(start: Any) -> None:
    worker, process, (first, second) = start(2)
    second.deadline = time.monotonic() + 60
    time.sleep(0.011)
    worker.poll()
    assert process.log[2:] == [CancelJob(0, LATE.reason)]
    process.inbox = [JobProgress(0.5, 1), JobEnded(LATE, 0.01, slot=0)]
    assert [one for one, _ in worker.poll()] == [second, first]
    assert worker.free == [first]
    time.sleep(0.021)
    worker.poll()
    assert "kill" not in process.log


def test_a_cancelled_job_that_does_not_end_takes_its_neighbours_with_it(start: Any) -> None:
    worker, process, (first, second) = start(2)
    second.deadline = time.monotonic() + 60
    for _ in range(3):
        time.sleep(0.021)
        reports = worker.poll()
    assert process.log[-1] == "kill"
    assert [(slot, type(event)) for slot, event in reports] == [
        (first, JobEnded), (second, WorkerDied)
    ]  # fmt: skip
    assert reports[0][1].result == LATE


def test_the_last_job_of_a_process_frees_no_slot(start: Any) -> None:
    worker, process, (first, _) = start(2)
    process.inbox = [JobEnded(JobResult(OutcomeCode.ESCAPED, "failed"), 0.1, last=True, slot=1)]
    worker.poll()
    assert worker.running == [first]
    assert not worker.free
    process.code = 0
    process.inbox = [JobEnded(JobResult(), 0.2, slot=0)]
    (one, ended), (other, died) = worker.poll()
    assert (one, ended.result) == (first, JobResult())
    assert (other, died) == (first, WorkerDied(0, True, 0.0))


@pytest.mark.parametrize("message", [
    Start("m:f", ["a.py"], {"root": "r"}, "cuda", 2, 18.0), RunJob({"spec": [1]}, True, 3),
    CancelJob(1, "late"), Ready(), StartFailed("what", "where", ""), JobProgress(0.25, 1),
    JobEnded(JobResult(OutcomeCode.EXISTS, "diverged", "why"), 1.5, True, 2),
])  # fmt: skip
def test_every_message_arrives_as_it_was_sent(message: Any) -> None:
    near, far = (Connection(end.detach()) for end in socket.socketpair())
    with near, far:
        send(near, message)
        assert receive(far) == message
        with pytest.raises(TypeError):
            send(near, RunJob({"odd": object()}, False, 0))
