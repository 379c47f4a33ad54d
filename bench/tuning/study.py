"""One study from its declaration to the pinned file and the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from prunebench.bench.grids.pinned import Pinned, read_pinned, write_pinned
from prunebench.bench.results.claims import Claims
from prunebench.bench.results.names import check_name
from prunebench.bench.results.store import Store
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.tuning.design import Design, check_seeds
from prunebench.bench.tuning.evaluate import CellRunner, RunCells
from prunebench.bench.tuning.final import pinned_body, planned_budget, run_finals, spent_budget
from prunebench.bench.tuning.loop import Notify, run_trials
from prunebench.bench.tuning.report import build_report, render
from prunebench.bench.tuning.storage import (
    Direction,
    declare,
    declared,
    journal_path,
    open_study,
)
from prunebench.errors import InputError
from prunebench.files import OwnFolder
from prunebench.record import AND, Record, setting_name


def study_name(design: Design) -> str:
    """Default name of a study: data set, setting, method and ratio."""
    spec = design.base.spec
    setting = setting_name(spec.content).replace(AND, "-")
    text = f"{spec.dataset.name}-{setting}-{spec.method.name}-{spec.ratio:g}"
    return "".join(sign if sign.isalnum() or sign in "._+-" else "-" for sign in text)


def folder_of(store: Store) -> Path:
    """The folder of the studies in a results folder."""
    return store.root / "tuning"


def _directions(pareto: bool) -> list[Direction]:
    return ["maximize", "minimize"] if pareto else ["maximize"]


def declared_round(design: Design, store: Store, name: str, url: str | None) -> int | None:
    """The round size that a study was declared with; None where there is no such study."""
    store.check()
    if url is None and not journal_path(folder_of(store), name).is_file():
        return None
    with open_study(folder_of(store), check_name(name), url, _directions(design.pareto)) as study:
        found = declared(study)
    return None if found is None else int(found["round"])


def tune(
    design: Design,
    store: Store,
    options: ExecutionOptions,
    name: str,
    url: str | None = None,
    reported: Sequence[int] = (),
    notify: Notify = lambda line: None,
    run: RunCells | None = None,
) -> tuple[Pinned, dict[str, Any]]:
    """Runs a study, or the rest of one that was stopped, to its end.

    Args:
        design: Its declaration.
        store: The results folder; trials are cells of it.
        options: How cells are run.
        name: Name of the study.
        url: Storage URL of Optuna; None for a journal in the results folder.
        reported: Seeds that evaluation uses or will use.
        notify: Gets a line per trial.
        run: Runs cells in place of the driver.

    Returns:
        The pinned file and the report.

    Raises:
        InputError: Seeds in common with evaluation, another command under this name, another
            driver at work, or defaults that give no value.
        KeyboardInterrupt: Stopped; the same command continues it.
    """
    check_name(name)
    check_seeds(design, store, reported)
    store = Store.open(store.root)
    with open_study(folder_of(store), name, url, _directions(design.pareto)) as study:
        declare(study, design.content)
        notify(
            f"study {name}: {design.count} configurations on seeds "
            f"{', '.join(map(str, design.seeds))}, about {planned_budget(design):.1f} full "
            "trainings; lr, weight decay and all else of the recipe are the same for everybody"
        )
        if run is not None:
            return _run(study, design, store, run, notify)
        with CellRunner(store, options) as runner:
            return _run(study, design, store, runner, notify)


def _run(
    study: optuna.Study, design: Design, store: Store, run: RunCells, notify: Notify
) -> tuple[Pinned, dict[str, Any]]:
    claims = Claims(store.claims)

    def state(key: str) -> str:
        if (store.records / f"{key}.json").is_file():
            return "recorded"
        holder = claims.holder(key)
        return "interrupted" if holder is not None and not holder.live else ""

    run_trials(study, design, run, state, notify)
    finalists = run_finals(study, design, run)
    budget = spent_budget(study, design, finalists, store)
    body = pinned_body(study, design, finalists, budget)
    pinned = write_pinned(folder_of(store) / f"{study.study_name}.json", body)
    return pinned, _write(study, pinned, store.scan().records)


def report_study(
    store: Store, name: str, url: str | None, others: Sequence[Path] = ()
) -> dict[str, Any]:
    """Renders the report of a finished study anew, with the evaluation runs there are by now.

    Args:
        store: The results folder.
        name: Name of the study.
        url: As in ``tune``.
        others: Further results folders with evaluation runs.

    Raises:
        InputError: No such study, or one that is not finished.
    """
    store.check()
    folder = folder_of(store)
    path = folder / f"{check_name(name)}.json"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.journal")) if folder.is_dir() else []
        raise InputError(
            f"no finished study {name!r}", where=str(folder),
            accepted=f"a study that has ended; started here: {', '.join(known) or 'none'}",
        )  # fmt: skip
    pinned = read_pinned(path)
    records: list[Record] = []
    for root in (store.root, *others):
        records += Store.open(root, create=False).scan().records
    directions = _directions(pinned.body["design"]["pareto"])
    with open_study(folder, name, url, directions) as study:
        return _write(study, pinned, records)


def _write(study: optuna.Study, pinned: Pinned, records: Sequence[Record]) -> dict[str, Any]:
    report = build_report(study, pinned, records)
    stem = pinned.path.with_suffix("")
    text = json.dumps(report, indent=2, sort_keys=True)
    own = OwnFolder(stem.parents[1])
    own.write(Path(f"{stem}.report.json"), f"{text}\n".encode())
    own.write(Path(f"{stem}.report.md"), render(report).encode())
    return report
