"""A short calibration: seconds per trained and per forwarded sample on this machine.

Runs the real trainer for a second or two on a part of the real data, or on random inputs of the
declared shape where the data are absent, in as many worker processes at once as the grid will use.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from prunebench.bench.estimates.probe import Rates, measure
from prunebench.bench.executors.base import Event, Job
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.grids.driver import Running
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.bench.runs.options import WorkerContext
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.datasets.source import Outline
from prunebench.errors import InputError
from prunebench.files import write_atomic
from prunebench.methods.base import BatchPruner
from prunebench.methods.compose import resolve_method
from prunebench.record import canonical

#: Workers measured at once at most.
MOST_COPIES = 8
#: Seconds after which measuring a kind is given up.
LONGEST_S = 40.0


@dataclass(frozen=True)
class Kind:
    """What is measured: one cell's specification, its data options, the outline of its data set,
    whether the files are here, and whether a self-supervised encoder belongs to it."""

    spec: RunSpec
    data: Mapping[str, Any]
    outline: Outline
    present: bool
    encoder: bool = False


def kind_of(spec: RunSpec) -> str:
    """Cells of one kind have the same rates: data set, recipe, criterion and, where the method
    selects in every batch, the method and its ratio."""
    parts: list[Any] = [
        spec.dataset.model_dump(mode="json"),
        spec.recipe.model_dump(mode="json"),
        spec.criterion.model_dump(mode="json"),
    ]
    if spec.ratio > 0 and resolve_method(spec.method.name).kind == BatchPruner.kind:
        parts += [spec.method.model_dump(mode="json"), spec.ratio]
    return canonical(parts)


def calibrate(
    kinds: Mapping[str, Kind], running: Running, cells: int
) -> tuple[dict[str, Rates], float]:
    """Measures every kind.

    Args:
        kinds: By ``kind_of``.
        running: Execution settings of the grid.
        cells: Cells to run; no more workers than that are started.

    Returns:
        The rates by kind, means over the workers, and the seconds that starting one took. A kind
        of which a handful of samples takes longer than ``LONGEST_S`` is left out.

    Raises:
        InputError: A kind cannot be trained at all.
    """
    copies = max(1, min(running.workers, cells, MOST_COPIES))
    started: dict[int, float] = {}
    begin = time.monotonic()

    def on_event(event: Event) -> None:
        if event.kind == "started":
            started.setdefault(event.slot, time.monotonic() - begin)

    with tempfile.TemporaryDirectory(prefix="prunebench-calibrate-") as folder:
        jobs: list[Job] = []
        for number, kind in enumerate(kinds.values()):
            for copy in range(copies):
                path = Path(folder) / f"{number}-{copy}.json"
                payload = {
                    "spec": kind.spec.content,
                    "data": dict(kind.data),
                    "outline": asdict(kind.outline),
                    "present": kind.present,
                    "encoder": kind.encoder,
                    "out": str(path),
                }
                jobs.append(Job(f"{number}-{copy}", payload))
        executor = LocalExecutor(
            "prunebench.bench.estimates.calibrate:measure_payload",
            slots=copies, threads=running.threads, devices=running.devices,
            slots_per_device=running.slots_per_device, plugins=running.plugins,
            settings={"threads": running.threads}, time_limit_s=LONGEST_S,
            log_dir=Path(folder) / "logs",
        )  # fmt: skip
        for outcome in executor.run(jobs, on_event):
            if outcome.status != "done" and outcome.code is not OutcomeCode.TIME_LIMIT:
                line = outcome.reason.splitlines()[0] if outcome.reason else outcome.status
                raise InputError(f"the calibration fails: {line}", where="--dry-run")
        measured: dict[str, list[dict[str, Any]]] = {}
        for number, name in enumerate(kinds):
            files = sorted(Path(folder).glob(f"{number}-*.json"))
            if files:
                measured[name] = [json.loads(file.read_text()) for file in files]
    start_s = statistics.median(started.values()) if started else 0.0
    return {name: _mean(rows) for name, rows in measured.items()}, start_s


def _mean(rows: list[dict[str, Any]]) -> Rates:
    def mean(name: str) -> float:
        return statistics.fmean(row[name] for row in rows)

    return Rates(
        train_s=mean("train_s"),
        epoch_s=mean("epoch_s"),
        eval_s=mean("eval_s"),
        ssl_s=mean("ssl_s"),
        cell_s=mean("cell_s"),
        load_s=max(row["load_s"] for row in rows),
        rough=any(row["rough"] for row in rows),
    )


def measure_payload(payload: dict[str, Any], context: WorkerContext) -> dict[str, Any]:
    """Worker function: measures one kind and writes its rates to the file it is given."""
    torch.set_num_threads(int(context.settings["threads"]))
    outline = {**payload["outline"], "shape": tuple(payload["outline"]["shape"])}
    rates = measure(
        RunSpec.model_validate(payload["spec"]), payload["data"], Outline(**outline),
        payload["present"], torch.device(context.device), encoder=payload["encoder"],
    )  # fmt: skip
    write_atomic(Path(payload["out"]), json.dumps(asdict(rates)).encode())
    return {"status": "done", "reason": ""}
