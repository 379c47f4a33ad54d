"""The worker process: one job after the other, until the driver closes the socket.

Started as ``python -m prunebench.bench.executors.local.worker FD PARENT``. It never outlives its
driver: the kernel ends it with the driver (Linux), and a thread checks that the parent lives.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, cast

from prunebench.bench.executors.local.call import call, load_function, may_be_spoilt, throttled
from prunebench.bench.executors.messages import (
    JobEnded,
    JobProgress,
    Ready,
    RunJob,
    Socket,
    Start,
    StartFailed,
    receive,
    send,
)
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.train.stopping import Stopped, ask_or_stop
from prunebench.errors import InputError

_PR_SET_PDEATHSIG = 1
_PARENT_CHECK_S = 0.5


def _serve(connection: Socket) -> None:
    start: Start = receive(connection)
    try:
        function = load_function(start.run, start.plugins)
    except InputError as error:
        send(connection, StartFailed(error.what, error.where, error.accepted))
        return
    context = WorkerContext(start.settings, start.device)
    send(connection, Ready())
    if start.slots > 1:
        from prunebench.bench.executors.local.interleaved_worker import InterleavedServer

        steps = cast(Any, function)
        InterleavedServer(connection, steps, context, start.slots, start.grace_s).serve()
        return
    last = False
    while not last:
        job: RunJob = receive(connection)
        report = throttled(partial(_report, connection, job.slot))
        begin = time.monotonic()
        context = replace(context, report=report, retry_on_oom=job.retry_on_oom)
        result = call(function, job.payload, context)
        # After a lack of memory, the end of the process frees what the job has left behind.
        out_of_memory = result.code is OutcomeCode.OUT_OF_MEMORY
        last = out_of_memory or may_be_spoilt(result, context.device)
        send(connection, JobEnded(result, time.monotonic() - begin, last, job.slot))


def _report(connection: Socket, slot: int, share: float) -> None:
    send(connection, JobProgress(share, slot))


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    """A run saves itself at its next step; without one, the exception ends the process. Either
    way ``finally`` blocks run."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ask_or_stop()


def follow_parent(parent: int) -> None:
    """Ends this process and its group soon after ``parent`` has died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_S)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def main() -> int:
    """Serves the driver at the other end of an inherited socket until it closes it."""
    handle, parent = int(sys.argv[1]), int(sys.argv[2])
    follow_parent(parent)
    faulthandler.enable()
    os.set_inheritable(handle, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_sigterm)
    connection: Socket = Connection(handle)
    try:
        _serve(connection)
    except (EOFError, OSError):
        return 0
    except Stopped:
        return 128 + signal.SIGTERM
    return 0


if __name__ == "__main__":
    sys.exit(main())
