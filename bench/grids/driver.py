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
from prunebench.bench.results.atomic import folder_errors
from prunebench.bench.results.claims import Claims
from prunebench.bench.results.environment import environment
from prunebench.bench.results.manifest import covers
from prunebench.bench.results.names import is_key
from prunebench.bench.results.planned import add_plan
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.bench.runs.scoring_runs import recorded_needs
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.task import outside_of, own_options, train_size
from prunebench.datasets.source import DataSource
from prunebench.errors import FolderError, InputError, visible
from prunebench.record import DATA_NAME, Record, canonical
from prunebench.registry import DATASETS

#: Seconds in which a process that is asked to end must bring its cell to the end of a step and save
#: it, and how many more it has for each further cell: interleaved ones are saved one after the
#: other, and a checkpoint of 100 MB takes seconds on a slow disk.
_GRACE_S, _GRACE_PER_LANE_S = 10.0, 4.0
#: Options that every executor takes by these names.
_OF_EXECUTORS = (
    "threads", "devices", "slots_per_device", "time_limit_s", "plugins", "free_memory",
)  # fmt: skip


@dataclass
class Report:
    """What a call did.

    Attributes:
        outcomes: Of the cells that were run now.
        recorded: Keys that were recorded before.
        planned: The plan.
        warnings: Lines for the user.
        failed_before: Cells that are recorded as failed and were not run again.
    """

    planned: Planned
    outcomes: list[Outcome] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed_before: int = 0

    def count(self, status: str) -> int:
        """Cells run now that ended in a status."""
        return sum(outcome.status == status for outcome in self.outcomes)


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    options: ExecutionOptions,
    executor: Executor | None = None,
    grid: str = "",
) -> Report:
    """Runs every cell that is not recorded yet.

    A scoring run is repeated, its record kept, only where a cell still to be run needs evidence
    that is not there. The results folder is made once the data sets have been looked at.

    Args:
        cells: What is wanted.
        store: The results folder.
        options: How to run it.
        executor: One of ``make_executor`` to use again; None makes one for this call.
        grid: Name of the grid that asks for these cells: the folder keeps that it did.

    Raises:
        InputError: Bad settings or data, or a results folder that cannot be written.
        FolderError: The folder cannot be written any more; finished cells are recorded.
        KeyboardInterrupt: Stopped by the user; finished cells are recorded.
    """
    planned = plan_jobs(cells, lambda key: recorded_needs(store, key))
    check_data(planned.cells.values())
    store = Store.open(store.root)
    sweep(store)
    if grid:
        add_plan(store, grid, of_cells(cells))
    recorded = {
        job.key: record.status
        for job in planned.jobs
        if (record := final_record(store, job.key, options.retry_failed)) is not None
    }
    open_keys = {job.key for job in planned.jobs if job.key not in recorded}
    needed = {key for job in planned.jobs if job.key in open_keys for key in (*job.after, job.key)}
    store.check_artifacts(needed)
    jobs = [job for job in planned.jobs if job.key in needed]
    report = Report(planned, recorded=list(recorded))
    failed = list(recorded.values()).count("failed")
    if failed:
        report.failed_before = failed
        report.warnings.append(f"{failed} cells failed before; --retry-failed runs them again")
    again = [key for key in planned.shared if key in recorded and key in needed
             and _lacks(store, key, planned)]  # fmt: skip
    if again:
        report.warnings.append(
            f"{len(again)} recorded scoring runs were run again: these methods need what they had "
            "not recorded"
        )
    renamed = rename(store, [cell for cell in cells if cell.spec.key in recorded])
    if renamed:
        report.warnings.append(
            f"{renamed} recorded runs carry the label given now; `prunebench sync` puts it into "
            "the mirror"
        )
    if not jobs:
        return report
    with ExitStack() as stack:
        if executor is None:
            executor = make_executor(store, options)
            stack.callback(executor.close)
        mirror = _mirror(store, options, stack, report)
        display = stack.enter_context(
            Progress(
                jobs,
                executor.slots,
                mode="quiet" if options.quiet else "auto",
                recorded=recorded.keys(),
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


def _lacks(store: Store, key: str, planned: Planned) -> bool:
    """Whether a run left evidence, but not all that the cells of a plan need."""
    held = recorded_needs(store, key)
    return not held.empty and not covers(held, planned.cells[key].evidence)


def rename(store: Store, cells: Iterable[Cell]) -> int:
    """Gives recorded runs the label that their cells carry; a cell without one changes nothing.

    Returns:
        How many records were written anew.
    """
    count = 0
    for cell in cells:
        record = final_record(store, cell.spec.key) if cell.label or cell.title else None
        if record is None:
            continue
        info = cell.with_names(record.info)
        if DATA_NAME not in record.info:  # by an earlier version, whose records stay as they are
            info.pop(DATA_NAME, None)
        if info != record.info:
            store.save(replace(record, info=info))
            count += 1
    return count


def make_executor(store: Store, options: ExecutionOptions, keep: bool = False) -> Executor:
    """The executor of a results folder; ``keep`` as in ``LocalExecutor``.

    Raises:
        InputError: Numbers or devices that the executor cannot serve.
    """
    shared: dict[str, Any] = {
        "on_lost": lambda job, status, reason: record_lost(store, job, status, reason),
        "keep": keep,
        "grace_s": _GRACE_S + _GRACE_PER_LANE_S * (options.lanes - 1),
    }
    if options.executor == "ray":
        from prunebench.bench.executors.ray.executor import RayExecutor
        from prunebench.bench.executors.ray.settings import RaySettings

        return RayExecutor(RaySettings(options, store, **shared))
    shared |= {
        "slots": options.workers,
        **{name: getattr(options, name) for name in _OF_EXECUTORS},
        "settings": {"root": str(store.root), **options.for_workers()},
        "log_dir": None if options.inline else store.root / "logs",
    }
    if options.lanes > 1:
        steps = "prunebench.bench.runs.job:payload_steps"
        return LocalExecutor(steps, **shared, interleaved=options.lanes)
    return LocalExecutor(**shared, inline=options.inline and options.time_limit_s is None)


def sweep(store: Store) -> None:
    """Clears claims of dead processes, and checkpoints of cells that are recorded.

    A worker that is killed between its record and its last line leaves both behind; a run that
    is repeated for its evidence leaves a checkpoint.
    """
    if not store.records.is_dir():
        raise FolderError.of(store.root, "it was removed")
    with folder_errors(store.root):
        live = Claims(store.claims).remove_stale()
        names = [name for name, _ in store.own.entries(store.root / "checkpoints")]
    for name in names:
        if is_key(name) and name not in live and final_record(store, name):
            store.remove_checkpoint(name)


def check_data(cells: Iterable[Cell]) -> None:
    """Looks at every data set's files once, before anything trains, and says what is odd.

    Raises:
        InputError: A file is missing, damaged or foreign, or the data do not allow an imbalance or
            a corruption.
    """
    cells = list(cells)
    slots = {(cell.spec.dataset.name, id(cell.data)): cell for cell in cells}
    opened = [(name, own_options(cell.data)) for (name, _), cell in slots.items()]
    opened += filter(None, (outside_of(cell.spec, cell.data) for cell in slots.values()))
    texts = {canonical([name, data]): (name, data) for name, data in opened}
    for name, data in texts.values():
        source: DataSource = DATASETS.get(name).target(**data)
        source.check()
        for line in source.notes():
            print(f"note: {visible(line)}", file=sys.stderr)
    _check_splits(cells)


def _check_splits(cells: Iterable[Cell]) -> None:
    """Draws every kind of training split with an imbalance or a corruption once, under one seed.

    Raises:
        InputError: A class would be empty, no image corrupted, or the samples are no images.
    """
    drawn = {
        str([spec.dataset, spec.noise.outside, spec.reference, spec.validation, spec.imbalance,
             spec.corrupt]): cell
        for cell in cells if (spec := cell.spec).imbalance or spec.corrupt
    }  # fmt: skip
    for cell in drawn.values():
        try:
            train_size(cell.spec, cell.data)
        except InputError as error:
            raise InputError(
                f"{error.what} (data set {cell.spec.dataset.name!r})", where=error.where,
                accepted=error.accepted,
            ) from None  # fmt: skip


def record_lost(store: Store, job: Job, status: Status, reason: str) -> None:
    """Writes the record of a cell whose worker could not (killed, time limit)."""
    if final_record(store, job.key) is not None:
        return
    cell = Cell.from_json(job.payload)
    store.save(
        Record(
            key=job.key,
            spec=cell.spec.content,
            status=status,
            reason=" ".join(reason.split())[:300],
            info=cell.with_names({}),
            environment=environment(torch.device("cpu"), cell.spec.content),
        ),
        {"traceback.txt": reason.encode()},
    )


def _mirror(
    store: Store, options: ExecutionOptions, stack: ExitStack, report: Report
) -> Callable[[str], None] | None:
    if not options.mlflow:
        return None
    from prunebench.bench.tracking import BackgroundMirror, default_experiment

    tracking = BackgroundMirror(options.mlflow_uri, store.root, default_experiment(store.root))

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
