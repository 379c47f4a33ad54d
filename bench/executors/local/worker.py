"""The worker process: one slot, one job at a time, until the driver hangs up.

Started as ``python -m prunebench.bench.executors.local.worker FD PARENT``. It never outlives its
driver: the kernel is asked to end it, and a thread watches for the parent where it cannot.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, cast

from prunebench.bench.executors.base import WorkerFunction, resolve
from prunebench.bench.executors.local.messages import receive, send
from prunebench.bench.runs.failure import out_of_memory
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.train.stopping import Stopped, ask
from prunebench.errors import InputError, error_line

_PR_SET_PDEATHSIG = 1
_WATCH_S = 0.5
_REPORT_S = 0.2
_REASON_LIMIT = 1500


def describe(error: BaseException) -> str:
    """An exception as a reason: its one-line summary, then the end of the traceback."""
    summary = error_line(error)
    trace = "".join(traceback.format_exception(error)).strip()
    return f"{summary[:_REASON_LIMIT]}\n{trace[-_REASON_LIMIT:]}"


def reporter(tell: Callable[[float], None]) -> Callable[[float], None]:
    """A ``report`` that passes on at most five shares a second."""
    last, process = 0.0, os.getpid()

    def report(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_S:
            last = now
            _leave_fork(process)
            tell(min(1.0, max(0.0, float(fraction))))

    return report


def _leave_fork(process: int) -> None:
    """Ends a copy of the worker that a method has forked: one of them speaks with the driver."""
    if os.getpid() != process:
        os._exit(1)


def call(
    function: WorkerFunction, payload: dict[str, Any], context: WorkerContext
) -> tuple[dict[str, Any], bool]:
    """Runs one job and turns whatever it raises into a failed result.

    Returns:
        The result, and whether it stands for an exception that the function let escape. The
        status ``memory`` stands for a lack of memory that the context lets escape.
    """
    process = os.getpid()
    try:
        result = function(payload, context)
        if not isinstance(result, dict) or not isinstance(result.get("status"), str):
            raise TypeError(f"the worker function returned {result!r}, not a dict with a status")
        return json.loads(json.dumps(result)), False
    except (Stopped, KeyboardInterrupt):
        raise
    except BaseException as error:
        starved = context.retry_on_oom and out_of_memory(error)
        return {"status": "memory" if starved else "failed", "reason": describe(error)}, True
    finally:
        _leave_fork(process)


def prepare(run: str, plugins: list[str]) -> WorkerFunction:
    """Loads plug-in files and finds the worker function.

    Raises:
        InputError: One of them cannot be imported.
    """
    try:
        if plugins:
            from prunebench.registry import load_plugin

            for plugin in plugins:
                load_plugin(plugin)
        return resolve(run)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"fails to import ({error_line(error)})", where=run) from error


def _serve(connection: Connection[Any, Any]) -> None:
    start = receive(connection)
    try:
        function = prepare(start["run"], start["plugins"])
    except InputError as error:
        send(connection, {"kind": "broken", "parts": [error.what, error.where, error.accepted]})
        return
    report = reporter(lambda share: send(connection, {"kind": "progress", "fraction": share}))
    context = WorkerContext(start["settings"], start["device"], report)
    send(connection, {"kind": "ready"})
    lanes = int(start["settings"].get("lanes", 1))
    if lanes > 1:
        from prunebench.bench.executors.local.lane_worker import LaneServer

        LaneServer(connection, cast(Any, function), context, lanes, call, reporter).serve()
        return
    recycle = False
    while not recycle:
        message = receive(connection)
        spared = replace(context, retry_on_oom=message["retry_on_oom"])
        result, escaped = call(function, message["payload"], spared)
        # What nobody expected, and any failure on an accelerator, may spoil the next job.
        recycle = escaped or (result["status"] == "failed" and context.device != "cpu")
        send(
            connection,
            {"kind": "result", "result": result, "escaped": escaped, "recycle": recycle},
        )


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM: a run under way is saved at its next step, anything else is left at once; either
    way as an exception, so that ``finally`` blocks release what is held."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not ask():
        raise Stopped


def follow_parent(parent: int) -> None:
    """Ends this process and its group soon after ``parent`` has died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def main() -> int:
    """Serves the driver at the other end of an inherited socket until it hangs up."""
    handle, parent = int(sys.argv[1]), int(sys.argv[2])
    follow_parent(parent)
    faulthandler.enable()
    os.set_inheritable(handle, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    connection: Connection[Any, Any] = Connection(handle)
    try:
        _serve(connection)
    except (EOFError, OSError):
        return 0
    except Stopped:
        return 128 + signal.SIGTERM
    return 0


if __name__ == "__main__":
    sys.exit(main())
