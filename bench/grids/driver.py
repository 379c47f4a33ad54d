"""Runs cells through an executor, keeps the mirror fed, and records what workers could not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from prunebench.bench.executors.base import Event, Executor, Job, Outcome, Status
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.grids.mixture import of_cells
from prunebench.bench.grids.plan import Planned, plan_jobs
from prunebench.bench.grids.progress import Progress
from prunebench.bench.results.atomic import storing
from prunebench.bench.results.claims import Claims
from prunebench.bench.results.environment import environment
from prunebench.bench.results.names import is_key
from prunebench.bench.results.planned import note_plan
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.bench.runs.resolve import Cell
from prunebench.bench.runs.run_info import labelled
from prunebench.datasets.source import DataSource
from prunebench.errors import FolderError, visible
from prunebench.record import Record, canonical
from prunebench.registry import DATASETS

#: Seconds in which a cell that is asked to end must reach the end of a step and save itself.
_GRACE_S = 10.0


@dataclass(frozen=True)
class Running:
    """How cells are run; none of it moves a result.

    Attributes:
        workers: Cells at once; 0 takes what a Ray cluster has room for.
        threads: Intra-op threads per cell on CPU.
        devices: Torch devices to spread the cells over.
        slots_per_device: Cells at once on each device, where ``devices`` are not CPUs.
        checkpoint_s: Seconds between checkpoints inside a run.
        time_limit_s: Limit per cell, or None.
        retry_failed: Whether failed cells are run again.
        plugins: Files whose decorators register methods and data sets.
        mlflow: Whether to mirror into MLflow.
        mlflow_uri: Tracking URI; None for a database in the results folder.
        quiet: No progress display.
        inline: Run in this process.
        executor: ``local`` or ``ray``.
        ray_address: A running Ray cluster; None starts one on this machine.
        free_memory: Bytes to leave free on each machine, see ``MemoryGuard``.
        lanes: Cells that one worker process runs in turns on its device; 1 for one at a time.
        graph: ``auto`` or ``off``; see ``Execution``.
        compile: Likewise.
        deterministic: Likewise.
    """

    workers: int = 1
    threads: int = 1
    devices: tuple[str, ...] = ("cpu",)
    slots_per_device: int = 1
    checkpoint_s: float = 30.0
    time_limit_s: float | None = None
    retry_failed: bool = False
    plugins: tuple[str, ...] = ()
    mlflow: bool = True
    mlflow_uri: str | None = None
    quiet: bool = False
    inline: bool = False
    executor: str = "local"
    ray_address: str | None = None
    free_memory: int | None = None
    lanes: int = 1
    graph: str = "auto"
    compile: bool = False
    deterministic: bool = False


@dataclass
class Report:
    """What a call did.

    Attributes:
        outcomes: Of the cells that were run now.
        standing: Keys that were recorded before.
        planned: The plan.
        warnings: Lines for the user.
        failed_before: Cells that are recorded as failed and were not run again.
    """

    planned: Planned
    outcomes: list[Outcome] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed_before: int = 0

    def count(self, status: str) -> int:
        """Cells run now that ended in a status."""
        return sum(outcome.status == status for outcome in self.outcomes)


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    running: Running,
    losses: Sequence[int] | None = None,
    executor: Executor | None = None,
    grid: str = "",
) -> Report:
    """Runs every cell that is not recorded yet.

    A scoring run is repeated, its record kept, only where a cell still to be run needs evidence
    that is not there. The results folder is made once the data sets have been looked at.

    Args:
        cells: What is wanted.
        store: The results folder.
        running: How to run it.
        losses: Epochs whose per-sample losses every cell stores; ``[]`` for all, None for none.
        executor: One of ``make_executor`` to use again; None makes one for this call.
        grid: Name of the grid that asks for these cells: the folder keeps that it did.

    Raises:
        InputError: Bad settings or data, or a results folder that cannot be written.
        FolderError: The folder cannot be written any more; finished cells are recorded.
        KeyboardInterrupt: Stopped by the user; finished cells are recorded.
    """
    planned = plan_jobs(cells, losses)
    check_data(planned.cells.values())
    store = Store.open(store.root)
    sweep(store)
    if grid:
        note_plan(store, grid, of_cells(cells))
    settled = {
        job.key: record.status
        for job in planned.jobs
        if (record := final_record(store, job.key, running.retry_failed)) is not None
    }
    open_keys = {job.key for job in planned.jobs if job.key not in settled}
    needed = {key for job in planned.jobs if job.key in open_keys for key in (*job.after, job.key)}
    store.check_artifacts(needed)
    jobs = [job for job in planned.jobs if job.key in needed]
    report = Report(planned, standing=list(settled))
    failed = list(settled.values()).count("failed")
    if failed:
        report.failed_before = failed
        report.warnings.append(f"{failed} cells failed before; --retry-failed runs them again")
    renamed = rename(store, [cell for cell in cells if cell.spec.key in settled])
    if renamed:
        report.warnings.append(
            f"{renamed} recorded runs carry the label given now; `prunebench sync` puts it into "
            "the mirror"
        )
    if not jobs:
        return report
    with ExitStack() as stack:
        if executor is None:
            executor = make_executor(store, running)
            stack.callback(executor.close)
        mirror = _mirror(store, running, stack, report)
        display = stack.enter_context(
            Progress(
                jobs,
                executor.slots,
                mode="quiet" if running.quiet else "auto",
                standing=settled.keys(),
            )
        )

        def on_event(event: Event) -> None:
            display(event)
            if event.outcome is not None and event.outcome.code is OutcomeCode.FOLDER_LOST:
                # Every further cell would only be trained in vain.
                raise FolderError(event.outcome.reason)
            if event.kind == "finished" and mirror is not None:
                mirror(event.key)

        outcomes = executor.run(jobs, on_event)
        # Scoring runs recorded before are jobs too, in case their evidence is gone.
        report.outcomes = [outcome for outcome in outcomes if outcome.key in open_keys]
    sweep(store)
    return report


def rename(store: Store, cells: Iterable[Cell]) -> int:
    """Gives recorded runs the label that their cells carry; a cell without one changes nothing.

    Returns:
        How many records were written anew.
    """
    count = 0
    for cell in cells:
        record = final_record(store, cell.spec.key) if cell.label else None
        if record is not None and record.info.get("label") != cell.label:
            store.save(replace(record, info=labelled(record.info, cell.label)))
            count += 1
    return count


def make_executor(store: Store, running: Running, keep: bool = False) -> Executor:
    """The executor of a results folder; ``keep`` as in ``LocalExecutor``.

    Raises:
        InputError: Numbers or devices that the executor cannot serve.
    """
    ray = running.executor == "ray"
    shared: dict[str, Any] = {
        "slots": running.workers,
        "threads": running.threads,
        "devices": running.devices,
        "slots_per_device": running.slots_per_device,
        "time_limit_s": running.time_limit_s,
        "plugins": running.plugins,
        "settings": {
            "root": str(store.root),
            "checkpoint_s": running.checkpoint_s,
            "retry_failed": running.retry_failed,
            "threads": running.threads,
            "execution": {
                "graph": running.graph,
                "compile": running.compile,
                "deterministic": running.deterministic,
            },
        },
        "on_lost": lambda job, status, reason: record_lost(store, job, status, reason),
        "log_dir": None if running.inline and not ray else store.root / "logs",
        "keep": keep,
        "grace_s": _GRACE_S,
        "free_memory": running.free_memory,
    }
    if ray:
        from prunebench.bench.executors.ray.executor import RayExecutor

        return RayExecutor(
            **shared, address=running.ray_address, store=store, retry_failed=running.retry_failed
        )
    if running.lanes > 1:
        turns = "prunebench.bench.runs.job:payload_steps"
        return LocalExecutor(turns, **shared, lanes=running.lanes)
    return LocalExecutor(**shared, inline=running.inline and running.time_limit_s is None)


def sweep(store: Store) -> None:
    """Clears claims of dead processes, and checkpoints of cells that are recorded.

    A worker that is killed between its record and its last line leaves both behind; a run that
    is repeated for its evidence leaves a checkpoint.
    """
    if not store.records.is_dir():
        raise FolderError.of(store.root, "it was removed")
    with storing(store.root):
        live = Claims(store.claims).sweep()
        names = [name for name, _ in store.own.entries(store.root / "checkpoints")]
    for name in names:
        if is_key(name) and name not in live and final_record(store, name):
            store.forget_checkpoint(name)


def check_data(cells: Iterable[Cell]) -> None:
    """Looks at every data set's files once, before anything trains, and says what is odd.

    Raises:
        InputError: A file is missing, damaged or foreign.
    """
    sources = {(cell.spec.dataset.name, id(cell.data)): cell.data for cell in cells}
    texts = {canonical([name, dict(data)]): (name, data) for (name, _), data in sources.items()}
    for name, data in texts.values():
        source: DataSource = DATASETS.get(name).target(**data)
        source.check()
        for line in source.notes():
            print(f"note: {visible(line)}", file=sys.stderr)


def record_lost(store: Store, job: Job, status: Status, reason: str) -> None:
    """Writes the record of a cell whose worker could not (killed, time limit)."""
    if final_record(store, job.key) is not None:
        return
    store.save(
        Record(
            key=job.key,
            spec=job.payload["spec"],
            status=status,
            reason=" ".join(reason.split())[:300],
            info=labelled({}, job.payload.get("label", "")),
            environment=environment(torch.device("cpu"), job.payload["spec"]),
        ),
        {"traceback.txt": reason.encode()},
    )


def _mirror(
    store: Store, running: Running, stack: ExitStack, report: Report
) -> Callable[[str], None] | None:
    if not running.mlflow:
        return None
    from prunebench.bench.tracking import Tracking, default_experiment

    tracking = Tracking(running.mlflow_uri, store.root, default_experiment(store.root))

    def close() -> None:
        summary = tracking.close()
        if summary.lost:
            report.warnings.append(
                f"MLflow: {summary.lost} runs not mirrored ({summary.reason}); "
                "`prunebench sync` writes them"
            )

    stack.callback(close)
    tracking.start()

    def submit(key: str) -> None:
        record = final_record(store, key, retry_failed=False)
        if record is not None:
            tracking.submit(record, store.artifacts / key)

    return submit
