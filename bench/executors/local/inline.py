"""Jobs in the driver's own process: for one run, and for debugging."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial

from prunebench.bench.executors.base import Event
from prunebench.bench.executors.interrupt import saving_on_signal
from prunebench.bench.executors.local.call import call, load_function, throttled
from prunebench.bench.executors.local.process import Launch
from prunebench.bench.executors.tracker import JobTracker
from prunebench.bench.runs.worker_context import WorkerContext


def run_inline(tracker: JobTracker, launch: Launch, device: str) -> None:
    """Runs one job after the other here. SIGINT and SIGTERM save the running cell at its next
    step; a second signal ends it at once, and so does the first where several processes train it.

    Args:
        tracker: Of the run.
        launch: Names the worker function, the plug-ins and the settings.
        device: Given to every job.

    Raises:
        InputError: The worker function or a plug-in cannot be loaded.
        KeyboardInterrupt: A signal came.
    """
    from prunebench.bench.train.distributed import world  # torch; drivers of workers need none

    function = load_function(launch.run, launch.plugins)
    with saving_on_signal() if world.current().is_single else nullcontext():
        while tracker.queue.open:
            job = tracker.queue.take(0, time.monotonic())
            if job is None:
                time.sleep(max(0.0, (tracker.queue.next_time() or 0.0) - time.monotonic()))
                continue
            report = throttled(partial(_report, tracker, job.key))
            tracker.started(job, 0)
            begin = time.monotonic()
            context = WorkerContext(launch.settings, device, report)
            result = call(function, job.payload, context)
            tracker.ended(job, 0, result, time.monotonic() - begin)


def _report(tracker: JobTracker, key: str, share: float) -> None:
    tracker.on_event(Event("progress", key, 0, share))
