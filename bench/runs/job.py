"""The worker's function: one job of an executor becomes one cell."""

from __future__ import annotations

from typing import Any

import torch

from prunebench.bench.results.claims import Busy
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.execute import cell_steps
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.step import StepGenerator, run_to_end
from prunebench.bench.train.trainer import guarded
from prunebench.errors import FolderError, InputError


def payload_steps(payload: dict[str, Any], context: WorkerContext) -> StepGenerator[JobResult]:
    """Runs one job of an executor, and yields after every step.

    Args:
        payload: The cell, as of ``Cell.to_json``.
        context: Its settings hold ``root`` and the fields of ``ExecutionOptions.for_workers``.
    """
    options = ExecutionOptions.of_worker(context.settings)
    torch.set_num_threads(options.threads)
    cell = Cell.from_json(payload)
    try:
        store = Store(context.settings["root"])
        record, fresh = yield from cell_steps(cell, store, options, context)
    except Busy as busy:
        return JobResult(OutcomeCode.BUSY, "failed", str(busy))
    except FolderError as error:
        return JobResult(OutcomeCode.FOLDER_LOST, "failed", str(error))
    except InputError as error:
        return JobResult(OutcomeCode.BAD_INPUT, "failed", f"bad input: {error}")
    code = OutcomeCode.RECORDED if fresh else OutcomeCode.EXISTS
    return JobResult.from_json({"code": code, "status": record.status, "reason": record.reason})


def run_payload(payload: dict[str, Any], context: WorkerContext) -> JobResult:
    """As ``payload_steps``, at once."""
    with guarded(torch.device(context.device)):
        return run_to_end(payload_steps(payload, context))
