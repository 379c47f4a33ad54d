"""The worker process with several lanes: cells in turns on one device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import torch

from prunebench.bench.executors.local.messages import receive, send
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.train.interleaved import Finished, InterleavedRuns
from prunebench.bench.train.step import StepGenerator
from prunebench.bench.train.stopping import Stopped, ask

#: Seconds in which lanes that were asked to end may reach the end of their steps.
_LEAVING_S = 8.0

TurnsFunction = Callable[[dict[str, Any], WorkerContext], StepGenerator[dict[str, Any]]]
Call = Callable[..., tuple[dict[str, Any], bool]]
Reporter = Callable[[Callable[[float], None]], Callable[[float], None]]


class LaneServer:
    """Serves a driver whose slots share this process.

    Args:
        connection: To the driver.
        function: Begins a cell.
        context: Of every cell, but for ``report`` and ``retry_on_oom``.
        count: Lanes.
        call: StepGenerator what a function returns or raises into a result.
        reporter: Makes a ``report`` that is not too talkative.
    """

    def __init__(
        self,
        connection: Connection[Any, Any],
        function: TurnsFunction,
        context: WorkerContext,
        count: int,
        call: Call,
        reporter: Reporter,
    ) -> None:
        self.connection, self.function, self.context = connection, function, context
        self.call, self.reporter = call, reporter
        self.lanes = InterleavedRuns(torch.device(context.device), count)
        self.contexts: dict[int, WorkerContext] = {}
        self.draining = False

    def serve(self) -> None:
        """Until the driver hangs up, or a failure that may spoil what follows.

        Raises:
            EOFError: The driver hung up.
            Stopped: This process was asked to end.
        """
        try:
            while self.lanes.running or not self.draining:
                try:
                    while self.connection.poll(0 if self.lanes.running else None):
                        self._take(receive(self.connection))
                except (EOFError, OSError):
                    # With cells under way the driver is about to end this process.
                    ask()
                    self._leave()
                    raise
                for end in self.lanes.step():
                    self._answer(end)
        finally:
            self.lanes.close()

    def _take(self, message: dict[str, Any]) -> None:
        lane = message["lane"]
        if message.get("kind") == "drop":
            self.lanes.cancel(lane)
            send(self.connection, {"kind": "dropped", "lane": lane})
            return

        def tell(share: float) -> None:
            send(self.connection, {"kind": "progress", "lane": lane, "fraction": share})

        context = replace(
            self.context, retry_on_oom=message["retry_on_oom"], report=self.reporter(tell)
        )
        self.contexts[lane] = context
        self.lanes.add(lane, self.function(message["payload"], context))

    def _answer(self, end: Finished) -> None:
        if isinstance(end.error, Stopped):
            self._leave()
            raise end.error

        def outcome(payload: dict[str, Any], context: WorkerContext) -> Any:
            if end.error is not None:
                raise end.error
            return end.value

        context = self.contexts[end.name]
        result, escaped = self.call(outcome, {}, context)
        starved = result["status"] == "memory"
        if end.error is not None:
            end.error.with_traceback(None)  # its frames hold tensors
        if starved:
            self.lanes.free()
        failed = result["status"] == "failed" and context.device != "cpu"
        recycle = (escaped and not starved) or failed
        self.draining = self.draining or recycle
        send(
            self.connection,
            {"kind": "result", "lane": end.name, "result": result, "escaped": escaped,
             "recycle": recycle},
        )  # fmt: skip

    def _leave(self) -> None:
        """Lets the other lanes save themselves."""
        limit = time.monotonic() + _LEAVING_S
        while self.lanes.running and time.monotonic() < limit:
            self.lanes.step()
