"""The worker process that interleaves the steps of several runs on one device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from prunebench.bench.executors.local.call import call, may_be_spoilt, throttled
from prunebench.bench.executors.messages import (
    CancelJob,
    JobEnded,
    JobProgress,
    RunJob,
    Socket,
    receive,
    send,
)
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.train.capture import half_way
from prunebench.bench.train.interleaved import Finished, InterleavedRuns
from prunebench.bench.train.step import StepGenerator
from prunebench.bench.train.stopping import Stopped, ask

#: Share of the time to leave in which runs can save themselves; the rest is for the process.
_SAVING = 0.8

StepsFunction = Callable[[dict[str, Any], WorkerContext], StepGenerator[JobResult]]


@dataclass(frozen=True)
class _Running:
    context: WorkerContext
    begin: float


class InterleavedServer:
    """Serves several slots of a driver.

    Args:
        connection: To the driver.
        function: Returns the steps of a run.
        context: Of every job, except for ``report`` and ``retry_on_oom``.
        at_once: Slots.
        grace_s: Seconds between being asked to end and being killed.
    """

    def __init__(
        self,
        connection: Socket,
        function: StepsFunction,
        context: WorkerContext,
        at_once: int,
        grace_s: float,
    ) -> None:
        self.connection, self.function, self.context = connection, function, context
        self.save_s = _SAVING * grace_s
        self.runs = InterleavedRuns(torch.device(context.device), at_once)
        self.jobs: dict[int, _Running] = {}
        self.closing = False

    def serve(self) -> None:
        """Until the driver closes the socket, or after a failure that may spoil further jobs.

        Raises:
            EOFError: The driver closed the socket.
            Stopped: This process was asked to end.
        """
        try:
            while self.runs.running or not self.closing:
                try:
                    while self.connection.poll(0 if self.runs.running else None):
                        self._apply(receive(self.connection))
                except (EOFError, OSError):
                    # The driver ends this process, or is dead: save the runs.
                    ask()
                    self._finish_steps()
                    raise
                for finished in self.runs.step():
                    self._report(finished)
        finally:
            self.runs.close()

    def _apply(self, message: RunJob | CancelJob) -> None:
        slot = message.slot
        if isinstance(message, CancelJob):
            if slot in self.jobs:
                self.runs.cancel(slot)
                spoilt = half_way.noted()
                result = JobResult(OutcomeCode.TIME_LIMIT, "failed", message.reason, spoilt)
                self._send_end(slot, result, spoilt)
            return
        report = throttled(lambda share: send(self.connection, JobProgress(share, slot)))
        context = replace(self.context, retry_on_oom=message.retry_on_oom, report=report)
        self.jobs[slot] = _Running(context, time.monotonic())
        self.runs.add(slot, self.function(message.payload, context))

    def _report(self, finished: Finished) -> None:
        if isinstance(finished.error, Stopped):
            self._finish_steps()
            raise finished.error

        def outcome(payload: dict[str, Any], context: WorkerContext) -> Any:
            if finished.error is not None:
                raise finished.error
            return finished.value

        context = self.jobs[finished.name].context
        result = call(outcome, {}, context)
        if finished.error is not None:
            finished.error.with_traceback(None)  # its frames hold tensors
        if result.code is OutcomeCode.OUT_OF_MEMORY:
            self.runs.free()
        self._send_end(finished.name, result, may_be_spoilt(result, context.device))

    def _send_end(self, slot: int, result: JobResult, last: bool) -> None:
        self.closing = self.closing or last
        seconds = time.monotonic() - self.jobs.pop(slot).begin
        send(self.connection, JobEnded(result, seconds, last, slot))

    def _finish_steps(self) -> None:
        """Lets the runs reach the end of their steps, where they save themselves."""
        limit = time.monotonic() + self.save_s
        while self.runs.running and time.monotonic() < limit:
            self.runs.step()
