"""One call of a worker function, and what its result means for the process."""

from __future__ import annotations

import importlib
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from prunebench.bench.executors.base import WorkerFunction
from prunebench.bench.runs.failure import out_of_memory
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.train.capture import half_way
from prunebench.bench.train.stopping import Stopped, ask_or_stop
from prunebench.errors import FolderError, InputError, error_line
from prunebench.registry import load_plugin

_REPORT_S = 0.2
_REASON_LIMIT = 1500


def describe(error: BaseException) -> str:
    """An exception as a reason: its one-line summary, then the end of the traceback."""
    summary = error_line(error)
    trace = "".join(traceback.format_exception(error)).strip()
    return f"{summary[:_REASON_LIMIT]}\n{trace[-_REASON_LIMIT:]}"


def throttled(report: Callable[[float], None]) -> Callable[[float], None]:
    """A ``report`` that passes on at most five shares a second.

    Where the driver is gone, its process is asked to end: that is no failure of the run, which
    saves itself at its next step.
    """
    last, process = 0.0, os.getpid()

    def limited(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_S:
            last = now
            _end_fork(process)
            try:
                report(min(1.0, max(0.0, float(fraction))))
            except OSError:
                ask_or_stop()

    return limited


def _end_fork(process: int) -> None:
    """Ends this process if a method has forked it from the worker, which alone has the socket."""
    if os.getpid() != process:
        os._exit(1)


def call(function: WorkerFunction, payload: dict[str, Any], context: WorkerContext) -> JobResult:
    """Runs one job; an exception that leaves the function becomes a result."""
    result = _called(function, payload, context)
    return replace(result, spoilt=result.spoilt or half_way.noted())


def _called(function: WorkerFunction, payload: dict[str, Any], context: WorkerContext) -> JobResult:
    process = os.getpid()
    try:
        result = function(payload, context)
        if not isinstance(result, JobResult):
            raise TypeError(f"the worker function returned {result!r}, not a JobResult")
        return JobResult.from_json(result.to_json())
    except (Stopped, KeyboardInterrupt):
        raise
    except FolderError as error:
        return JobResult(OutcomeCode.FOLDER_LOST, "failed", str(error))
    except BaseException as error:
        retry = context.retry_on_oom and out_of_memory(error)
        code = OutcomeCode.OUT_OF_MEMORY if retry else OutcomeCode.ESCAPED
        return JobResult(code, "failed", describe(error))
    finally:
        _end_fork(process)


def load_function(path: str, plugins: Sequence[str]) -> WorkerFunction:
    """Loads plug-in files and finds the worker function.

    Args:
        path: ``module:function``.
        plugins: Files.

    Raises:
        InputError: One of them cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        for plugin in plugins:
            load_plugin(plugin)
        target: Any = importlib.import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
    except InputError:
        raise
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"worker function {path!r} cannot be imported ({error})", accepted="module:function"
        ) from error
    except Exception as error:
        raise InputError(f"fails to import ({error_line(error)})", where=path) from error
    if not callable(target):
        raise InputError(f"{path!r} is no function", accepted="module:function")
    function: WorkerFunction = target
    return function


def may_be_spoilt(result: JobResult, device: str) -> bool:
    """Whether a job may have left its process in a state that breaks the next one: where its
    result says so, after an exception that nobody expected, and after any failure on an accelerator
    but a lack of memory."""
    if result.spoilt or result.code is OutcomeCode.OUT_OF_MEMORY:
        return result.spoilt
    on_accelerator = device != "cpu"
    return result.code is OutcomeCode.ESCAPED or (result.status == "failed" and on_accelerator)
