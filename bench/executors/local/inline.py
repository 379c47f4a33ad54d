"""Jobs in the driver's own process: for one run, and for debugging."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from prunebench.bench.executors.base import (
    Event,
    Executor,
    Job,
    OnEvent,
    OnLost,
    Outcome,
    WorkerFunction,
)
from prunebench.bench.executors.interrupt import leaving
from prunebench.bench.executors.local.worker import call, prepare, reporter
from prunebench.bench.executors.outcomes import Book
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.train.distributed import world


class InlineExecutor(Executor):
    """Runs one job after the other here. Ctrl-C and SIGTERM save the running cell at its next
    step; a second one leaves it at once, and so does the first where several processes train it.

    Args:
        run: Worker function as ``module:function``.
        device: Given to every job.
        plugins: Files to load first.
        settings: Given to every job.
        on_lost: Records what the worker function could not.
    """

    def __init__(
        self,
        run: str,
        device: str = "cpu",
        plugins: Sequence[str] = (),
        settings: dict[str, Any] | None = None,
        on_lost: OnLost | None = None,
    ) -> None:
        self.run_path, self.device, self.plugins = run, device, list(plugins)
        self.settings, self.on_lost = dict(settings or {}), on_lost

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> list[Outcome]:
        """See ``Executor.run``."""
        book = Book(jobs, on_event, self.on_lost)
        function = prepare(self.run_path, self.plugins)
        with leaving() if world.current().is_single else nullcontext():
            self._work(book, function, on_event)
        return book.outcomes()

    def _work(self, book: Book, function: WorkerFunction, on_event: OnEvent) -> None:
        while book.queue.open:
            job = book.queue.take(0, time.monotonic())
            if job is None:
                time.sleep(max(0.0, (book.queue.next_time() or 0.0) - time.monotonic()))
                continue
            tell = _teller(job.key, on_event)
            book.started(job, 0)
            begin = time.monotonic()
            context = WorkerContext(self.settings, self.device, reporter(tell))
            result, escaped = call(function, job.payload, context)
            now = time.monotonic()
            book.answered(job, 0, result, escaped, now - begin, now)


def _teller(key: str, on_event: OnEvent) -> Any:
    return lambda share: on_event(Event("progress", key, 0, share))
