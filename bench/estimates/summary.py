"""What a grid would cost, before it runs: cells, samples by purpose, and time on this machine."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from prunebench.bench.estimates.calibrate import Kind, calibrate, kind_of
from prunebench.bench.estimates.costs import (
    Cost,
    cell_cost,
    encoder_cost,
    encoders,
    own_evidence,
)
from prunebench.bench.estimates.probe import Rates
from prunebench.bench.executors.base import Job
from prunebench.bench.executors.queue import JobQueue
from prunebench.bench.grids.driver import Running
from prunebench.bench.grids.plan import Planned, plan_jobs
from prunebench.bench.results.manifest import MANIFEST, from_json
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs.resolve import Cell
from prunebench.bench.train.task import load_raw
from prunebench.datasets.source import Outline, RawData
from prunebench.errors import InputError
from prunebench.record import canonical
from prunebench.registry import DATASETS

Calibrate = Callable[[Mapping[str, Kind], Running, int], tuple[dict[str, Rates], float]]

_PURPOSES = {
    "trained": "trained",
    "strong": "second views trained",
    "ssl_trained": "self-supervised views trained",
    "scoring_forward": "scored batch by batch",
    "forward_only": "re-scored",
    "reference_forward": "reference passes",
    "evidence_forward": "scoring passes",
    "eval_forward": "test passes",
}


def summarise(
    cells: Sequence[Cell],
    out: Path,
    running: Running,
    absent: Mapping[str, str] | None = None,
    measure: Calibrate | None = calibrate,
) -> dict[str, Any]:
    """What is there to run, and what it takes.

    Args:
        cells: The grid's cells.
        out: Results folder, which need not exist; nothing is written.
        running: How the grid will be run.
        absent: Data sets whose files are not here, with what is missing.
        measure: Times each kind of cell; None leaves time out.

    Returns:
        Plain values: counts; ``scoring runs`` with whom they serve; ``samples`` by purpose, of
        what is still to run; ``charged for scoring``, trained samples of scoring runs that the
        ledgers will name, each reader's whole; ``seconds`` on these workers, ``seconds of work``
        on one, and ``if not shared``, samples and seconds of work were every cell to train its own
        scoring run. Data sets of which neither files nor sizes are
        known are in ``not counted``, recipes too slow here to be timed in ``not timed``.
    """
    planned = plan_jobs(cells)
    open_keys = _open(planned, Store(out), running.retry_failed)
    book = _Book(planned, open_keys, absent or {})
    to_run = [job for job in planned.jobs if job.key in open_keys]
    mine = [job for job in to_run if job.key not in planned.added]
    alone = [book.alone(job.key) for job in mine]
    unshared = sum((itself + scoring for itself, scoring, _ in alone), Cost())
    total = sum((book.cost(job.key) for job in to_run), Cost())
    summary: dict[str, Any] = {
        "cells": len(planned.jobs),
        "of these shared scoring runs": len(planned.shared),
        "added for scoring": len(planned.added),
        "recorded already": len(planned.jobs) - len(to_run),
        "to run": len(to_run),
        "full trainings' worth": round(
            sum(1.0 - planned.cells[job.key].spec.ratio for job in planned.jobs), 2
        ),
        "scoring runs": _scoring(planned),
        "samples": {name: getattr(total, key) for key, name in _PURPOSES.items()},
        "trained samples are exact": total.exact,
        "charged for scoring": sum(charged for *_, charged in alone),
        "if not shared": {"samples": {n: getattr(unshared, k) for k, n in _PURPOSES.items()}},
        "not here": dict(absent or {}),
        "not counted": sorted(book.unknown),
        "not timed": [],
        "workers": running.workers,
        "seconds": None,
    }
    kinds = book.kinds(to_run)
    if measure is None or not kinds:
        return summary
    rates, start_s = measure(kinds, running, len(to_run))
    summary["not timed"] = sorted({k.spec.recipe.name for n, k in kinds.items() if n not in rates})
    if not rates:
        return summary
    timed = {
        job.key: book.seconds(job.key, rates) for job in to_run
        if book.known(job.key) and book.kind(job.key) in rates
    }  # fmt: skip
    load_s = max(rate.load_s for rate in rates.values())
    jobs = [job for job in to_run if job.key in timed]
    begin = 2 * start_s + load_s  # the driver imports what a worker does, and goes first
    summary["seconds"] = round(makespan(jobs, timed, running.workers, begin), 2)
    summary["seconds of work"] = round(sum(timed.values()), 2)
    summary["if not shared"]["seconds of work"] = round(
        sum(book.seconds_alone(job.key, rates) for job in mine if job.key in timed), 2
    )
    summary["measured"] = [
        {"recipe": kinds[kind].spec.recipe.name, "dataset": kinds[kind].spec.dataset.name,
         "criterion": kinds[kind].spec.criterion.name, "data here": kinds[kind].present,
         **{f.name: getattr(rate, f.name) for f in fields(Rates)}}
        for kind, rate in rates.items()
    ]  # fmt: skip
    return summary


def _open(planned: Planned, store: Store, retry_failed: bool) -> set[str]:
    """Cells to run; a recorded scoring run is one where a cell needs evidence that is gone."""
    found = {
        job.key
        for job in planned.jobs
        if not (store.records / f"{job.key}.json").is_file()
        or final_record(store, job.key, retry_failed) is None
    }
    needed = {key for job in planned.jobs if job.key in found for key in job.after}
    gone = {key for key in needed if not (store.evidence_path(key) / MANIFEST).is_file()}
    return found | gone


class _Book:
    """Costs of a plan's jobs, each worked out once."""

    def __init__(self, planned: Planned, open_keys: set[str], absent: Mapping[str, str]) -> None:
        self.planned, self.absent = planned, absent
        self.jobs = {job.key: job for job in planned.jobs}
        self.unknown: set[str] = set()
        self._outlines: dict[str, tuple[Outline | None, bool]] = {}
        self._costs: dict[str, Cost] = {}
        self._kinds: dict[str, str] = {}
        # An encoder is trained by the first cell that asks for it.
        self.first = {
            next((key for key in readers if key in open_keys), "")
            for readers in encoders(planned).values()
        }
        self.embedded = {key for readers in encoders(planned).values() for key in readers}

    def outline(self, key: str) -> tuple[Outline | None, bool]:
        """The outline of a cell's data set, and whether its files are here."""
        cell = self.planned.cells[key]
        name = cell.spec.dataset.name
        slot = canonical([name, dict(cell.data)])
        if slot not in self._outlines:
            self._outlines[slot] = _outline(name, cell.data, name in self.absent)
            if self._outlines[slot][0] is None:
                self.unknown.add(name)
        return self._outlines[slot]

    def known(self, key: str) -> bool:
        """Whether the sizes of a cell's data set are known."""
        return self.outline(key)[0] is not None

    def cost(self, key: str) -> Cost:
        """What the cell costs in this grid."""
        if key not in self._costs:
            outline = self.outline(key)[0]
            if outline is None:
                return Cost(exact=False)
            wanted = self.jobs[key].payload["evidence"]
            cell = self.planned.cells[key]
            cost = cell_cost(cell, outline, from_json(wanted) if wanted else None)
            self._costs[key] = cost + encoder_cost(cell, outline) if key in self.first else cost
        return self._costs[key]

    def alone(self, key: str) -> tuple[Cost, Cost, int]:
        """What the cell would cost if it shared nothing: itself, its scoring, and how many
        trained samples of the latter it is charged for."""
        outline, cell = self.outline(key)[0], self.planned.cells[key]
        if outline is None:
            return Cost(exact=False), Cost(), 0
        return cell_cost(cell, outline), *own_evidence(cell, outline)

    def kind(self, key: str) -> str:
        """The kind of a cell."""
        if key not in self._kinds:
            self._kinds[key] = kind_of(self.planned.cells[key].spec)
        return self._kinds[key]

    def kinds(self, jobs: Sequence[Job]) -> dict[str, Kind]:
        """What has to be measured."""
        found: dict[str, Kind] = {}
        for job in jobs:
            outline, present = self.outline(job.key)
            if outline is None:
                continue
            name, cell = self.kind(job.key), self.planned.cells[job.key]
            if name not in found:
                found[name] = Kind(cell.spec, cell.data, outline, present)
            if job.key in self.embedded:
                found[name] = replace(found[name], encoder=True)
        return found

    def seconds(self, key: str, rates: Mapping[str, Rates]) -> float:
        """Time of a cell in this grid."""
        return _seconds(self.cost(key), rates[self.kind(key)])

    def seconds_alone(self, key: str, rates: Mapping[str, Rates]) -> float:
        """Time of a cell that shares nothing."""
        own = rates[self.kind(key)]
        itself, scoring, _ = self.alone(key)
        proxies = self.jobs[key].after
        scored = rates.get(self.kind(proxies[0]), own) if proxies else own
        return _seconds(itself, own) + _seconds(scoring, scored) - scored.cell_s * (not proxies)


def _outline(name: str, data: Mapping[str, Any], absent: bool) -> tuple[Outline | None, bool]:
    source = DATASETS.get(name).target(**data)
    if not absent:
        try:
            return _of(load_raw(name, data)), True
        except InputError:
            pass
    return source.outline(), False


def _of(raw: RawData) -> Outline:
    own = 0 if raw.reference_rows is None else len(raw.reference_rows)
    return Outline(
        train=len(raw.train_y) - own, test=len(raw.test_y), shape=raw.input_shape,
        classes=raw.num_classes, reference=own, images=len(raw.train_x.shape) == 4,
    )  # fmt: skip


def _seconds(cost: Cost, rates: Rates) -> float:
    return (
        cost.trained * rates.train_s
        + cost.ssl_trained * rates.ssl_s
        + cost.epochs * rates.epoch_s
        + cost.forward * rates.eval_s
        + rates.cell_s
    )


def makespan(
    jobs: Sequence[Job], seconds: Mapping[str, float], slots: int, begin: float = 0.0
) -> float:
    """When the last job ends if the executor's queue hands them to so many slots.

    Args:
        jobs: Jobs with what they wait for.
        seconds: Duration by key.
        slots: Workers.
        begin: When the workers are ready.
    """
    queue, idle, now = JobQueue(jobs), list(range(slots)), begin
    running: list[tuple[float, int, str]] = []
    while queue.open:
        while idle and (job := queue.take(idle[-1], now)) is not None:
            heapq.heappush(running, (now + seconds[job.key], idle.pop(), job.key))
        now, slot, key = heapq.heappop(running)
        queue.finish(key)
        idle.append(slot)
    return now


def _scoring(planned: Planned) -> list[dict[str, Any]]:
    served: dict[str, list[Cell]] = {key: [] for key in planned.shared}
    for job in planned.jobs:
        for key in job.after:
            served[key].append(planned.cells[job.key])
    runs: list[dict[str, Any]] = [
        {
            "key": key,
            "run": planned.cells[key].spec.label,
            "serves": len(cells),
            "methods": sorted({cell.spec.method.name for cell in cells}),
        }
        for key, cells in served.items()
    ]
    for key, readers in encoders(planned).items():
        names = {planned.cells[reader].spec.method.name for reader in readers}
        first = planned.cells[readers[0]].spec
        runs.append({"key": key, "run": f"self-supervised encoder of {first.dataset.name}",
                     "serves": len(readers), "methods": sorted(names)})  # fmt: skip
    return runs
