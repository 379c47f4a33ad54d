"""The worker's function: one job of an executor becomes one cell."""

from __future__ import annotations

from typing import Any

import torch

from prunebench.bench.results.claims import Busy
from prunebench.bench.results.manifest import from_json
from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import CellOptions, cell_steps
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.bench.runs.options import WorkerContext
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.setup import Execution
from prunebench.bench.train.step import StepGenerator, run_to_end
from prunebench.bench.train.trainer import guarded
from prunebench.errors import FolderError, InputError
from prunebench.methods.base import EvidenceSpec


def payload_steps(payload: dict[str, Any], context: WorkerContext) -> StepGenerator[dict[str, Any]]:
    """Runs one job of an executor, giving way after every step.

    Args:
        payload: ``spec``, ``data``, ``method_params``, ``weights``, ``evidence``, ``losses``,
            ``label`` (see ``planning.jobs``).
        context: Settings of the grid (``root``, ``checkpoint_s``, ``retry_failed``, ``threads``,
            ``execution``).

    Returns:
        ``status`` (a record's, or ``busy``/``exists``), ``code`` and ``reason``.
    """
    settings = context.settings
    options = CellOptions(
        data=payload.get("data", {}),
        method_params=payload.get("method_params", {}),
        weights=payload.get("weights", ""),
        evidence=from_json(payload["evidence"]) if payload.get("evidence") else EvidenceSpec(),
        device=context.device,
        checkpoint_s=float(settings.get("checkpoint_s", 30.0)),
        losses=None if payload.get("losses") is None else frozenset(payload["losses"]),
        retry_failed=bool(settings.get("retry_failed", False)),
        execution=Execution(**settings.get("execution", {})),
        label=payload.get("label", ""),
    )
    if settings.get("threads"):
        torch.set_num_threads(int(settings["threads"]))
    spec = RunSpec.model_validate(payload["spec"])
    try:
        store = Store(settings["root"])
        record, fresh = yield from cell_steps(spec, store, options, context)
    except Busy as busy:
        return {"status": "busy", "code": OutcomeCode.BUSY, "reason": str(busy)}
    except FolderError as error:
        return {"status": "failed", "code": OutcomeCode.FOLDER_LOST, "reason": str(error)}
    except InputError as error:
        return {"status": "failed", "code": OutcomeCode.BAD_INPUT, "reason": f"bad input: {error}"}
    if fresh:
        return {"status": record.status, "code": OutcomeCode.RECORDED, "reason": record.reason}
    return {"status": "exists", "code": OutcomeCode.EXISTS, "as": record.status,
            "reason": record.reason}  # fmt: skip


def run_payload(payload: dict[str, Any], context: WorkerContext) -> dict[str, Any]:
    """As ``payload_steps``, at once."""
    with guarded(torch.device(context.device)):
        return run_to_end(payload_steps(payload, context))
