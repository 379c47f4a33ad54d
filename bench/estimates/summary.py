"""What a grid would cost, before it runs: cells, samples by purpose, and time on this machine."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from prunebench.bench.estimates.costs import (
    Cost,
    cell_cost,
    encoder_cost,
    encoders,
    own_evidence,
    under_noise,
)
from prunebench.bench.estimates.rates import Rates, kind_of, rates_from_records
from prunebench.bench.estimates.timed_choice import choice_times, told
from prunebench.bench.estimates.timed_epoch import Kind, time_kinds
from prunebench.bench.executors.base import Job
from prunebench.bench.executors.queue import JobQueue
from prunebench.bench.grids.plan import Planned, plan_jobs
from prunebench.bench.perf.bf16 import bf16_gain
from prunebench.bench.results.manifest import covers
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.scoring_runs import recorded_needs
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.task import load_raw, own_options, train_size
from prunebench.datasets.source import Outline, RawData
from prunebench.errors import InputError
from prunebench.methods.base import EvidenceSpec
from prunebench.record import FINAL, NewerRecord, Record, RecordError
from prunebench.registry import DATASETS

#: Seconds of work in fp32 from which on it is worth ten of them to measure bf16.
WORTH_S = 600.0

#: Times kinds of cells for a grid of so many: their rates, and the seconds that a worker starts in.
TimeKinds = Callable[[Mapping[str, Kind], ExecutionOptions, int], tuple[dict[str, Rates], float]]

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
    options: ExecutionOptions,
    absent: Mapping[str, str] | None = None,
    measure: TimeKinds = time_kinds,
) -> dict[str, Any]:
    """What is there to run, and what it takes.

    Args:
        cells: The grid's cells.
        out: Results folder, which need not exist; nothing is written.
        options: How the grid will be run.
        absent: Data sets whose files are not here, with what is missing.
        measure: Times the kinds of cells of which the folder holds no record.

    Returns:
        Plain values: counts; ``scoring runs`` with the methods they serve; ``samples`` by purpose,
        of what is still to run; ``charged for scoring``, trained samples of scoring runs that the
        ledgers will name, each reader's whole; ``choices``, the seconds in which static methods
        choose, by method, and what they rest on; ``seconds`` on these workers, ``seconds of work``
        on one, and ``if not shared``, samples and seconds of work were every cell to train its own
        scoring run; ``measured``, the rates and what they rest on; ``bf16``, how much faster the
        longest recipe in fp32 would be. Data sets of which neither files nor sizes are
        known are in ``not counted``, recipes too slow here to be timed in ``not timed``.

    Raises:
        NewerRecord: A cell's record is of a later format.
    """
    store, absent = Store(out), absent or {}
    planned = plan_jobs(cells, lambda key: recorded_needs(store, key))
    records = _records(store, planned)
    to_run = _to_run(planned, records, store, options.retry_failed)
    counts = _Counts(planned, to_run, absent)
    total = sum(counts.costs.values(), Cost())
    unshared = [part for one in counts.alone.values() for part in (one.itself, one.scoring)]
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
        "samples": _by_purpose(total),
        "trained samples are exact": total.exact and not counts.unknown,
        "charged for scoring": sum(one.charged for one in counts.alone.values()),
        "if not shared": {"samples": _by_purpose(sum(unshared, Cost()))},
        "not here": dict(absent),
        "not counted": sorted(counts.unknown),
        "not timed": [],
        "workers": options.workers,
        "device": options.devices[0].partition(":")[0],
        "seconds": None,
        "choices": [],
    }
    kinds = counts.kinds
    device = torch.device(options.devices[0])
    rates = rates_from_records(records, kinds, device, options.threads)
    new = {name: kind for name, kind in kinds.items() if name not in rates or kind.encoder}
    measured, start_s = measure(new, options, len(to_run)) if new else ({}, 0.0)
    rates |= measured
    summary["not timed"] = sorted(
        {k.cell.spec.recipe.name for n, k in kinds.items() if n not in rates}
    )
    if not rates:
        return summary
    cells_here = {key: (planned.cells[key], counts.outlines[key]) for key in counts.costs}
    choices = choice_times(cells_here, records, options.threads)
    spent = {key: choices[key].seconds if key in choices else 0.0 for key in counts.costs}
    seconds = {
        key: seconds_of(cost, rates[counts.kind[key]]) + spent[key]
        for key, cost in counts.costs.items()
        if counts.kind[key] in rates
    }
    summary["choices"] = told(
        [(planned.cells[key].spec.method.name, choice) for key, choice in choices.items()]
    )
    jobs = [job for job in to_run if job.key in seconds]
    load_s = max(rate.load_s for rate in rates.values())
    begin = 2 * start_s + load_s  # the driver imports what a worker does, and goes first
    summary["seconds"] = round(makespan(jobs, seconds, options.workers, begin), 2)
    summary["seconds of work"] = round(sum(seconds.values()), 2)
    summary["if not shared"]["seconds of work"] = round(
        sum(
            counts.seconds_alone(key, rates) + spent[key] for key in counts.alone if key in seconds
        ),
        2,
    )
    summary["measured"] = [
        {"recipe": spec.recipe.name, "model": spec.recipe.model, "precision": spec.recipe.precision,
         "dataset": spec.dataset.name, "criterion": spec.criterion.name,
         "data here": kinds[kind].present, **asdict(rate)}
        for kind, rate in rates.items() for spec in (kinds[kind].cell.spec,)
    ]  # fmt: skip
    if device.type == "cpu":
        summary["bf16"] = _in_bf16(counts, seconds, options.threads)
    return summary


def _in_bf16(counts: _Counts, seconds: Mapping[str, float], threads: int) -> dict[str, Any] | None:
    """What bf16 would gain for the recipe in fp32 that takes longest, measured on its network;
    None where that is not worth the measurement or the processor has no units for it."""
    work: dict[str, float] = defaultdict(float)
    for key, spent in seconds.items():
        kind = counts.kinds[counts.kind[key]]
        if kind.cell.spec.recipe.precision == "fp32" and kind.outline.images:
            work[counts.kind[key]] += spent
    if not work or max(work.values()) < WORTH_S:
        return None
    kind = counts.kinds[max(work, key=work.__getitem__)]
    recipe, outline = kind.cell.spec.recipe, kind.outline
    gain = bf16_gain(recipe, outline.shape, outline.classes, threads)
    return None if gain is None else {"recipe": recipe.name, "text": gain.text, **asdict(gain)}


def _by_purpose(cost: Cost) -> dict[str, int]:
    return {name: getattr(cost, field) for field, name in _PURPOSES.items()}


def _records(store: Store, planned: Planned) -> list[Record]:
    """What the folder holds, without damaged records: the grid makes them anew.

    Raises:
        NewerRecord: A planned cell's record is of a later format.
    """
    if not store.records.is_dir():
        return []
    scan = store.scan()
    keys = {job.key for job in planned.jobs}
    for key in sorted(keys & {problem.path.stem for problem in scan.problems}):
        try:
            store.get(key)
        except NewerRecord:
            raise
        except RecordError:
            continue
    return scan.records


def _to_run(
    planned: Planned, records: Sequence[Record], store: Store, retry_failed: bool
) -> list[Job]:
    """Jobs without a final record, and recorded scoring runs whose evidence is needed and gone, or
    lacks what is needed now."""
    final = {*FINAL} if retry_failed else {*FINAL, "failed"}
    recorded = {record.key for record in records if record.status in final}
    needed = {key for job in planned.jobs if job.key not in recorded for key in job.after}
    gone = {
        key for key in needed if not covers(recorded_needs(store, key), planned.cells[key].evidence)
    }
    return [job for job in planned.jobs if job.key not in recorded or job.key in gone]


@dataclass(frozen=True)
class _Alone:
    """What a cell costs that shares nothing: itself and its scoring, and how many trained samples
    of the latter it is charged for."""

    itself: Cost
    scoring: Cost
    charged: int


class _Counts:
    """What the jobs to run cost, those left out whose data set has unknown sizes.

    Attributes:
        costs: By key, in this grid.
        alone: By key, of the cells that the grid asks for.
        kind: Kind by key.
        kinds: What has to be known of time.
        unknown: Data sets of unknown size.
        outlines: Of the data, by key.
    """

    def __init__(self, planned: Planned, to_run: Sequence[Job], absent: Mapping[str, str]) -> None:
        self.costs: dict[str, Cost] = {}
        self.alone: dict[str, _Alone] = {}
        self.kind: dict[str, str] = {}
        self.kinds: dict[str, Kind] = {}
        self.unknown: set[str] = set()
        self.outlines: dict[str, Outline] = {}
        self.after = {job.key: job.after for job in to_run}
        readers = [[k for k in keys if k in self.after] for keys in encoders(planned).values()]
        embedded = {key for keys in readers for key in keys}
        first = {keys[0] for keys in readers if keys}  # it trains the encoder
        kept_of = _kept()
        outlines: dict[str, tuple[Outline | None, bool]] = {}
        for key, job in ((job.key, job) for job in to_run):
            cell = planned.cells[key]
            if job.group not in outlines:
                name = cell.spec.dataset.name
                outlines[job.group] = outline_of(name, cell.data, name in absent)
            outline, present = outlines[job.group]
            if outline is None:
                self.unknown.add(cell.spec.dataset.name)
                continue
            outline = under_noise(outline, cell.spec)
            if (cell.spec.imbalance or cell.spec.corrupt) and present:
                outline = replace(outline, kept=kept_of(cell))
            cost = cell_cost(cell, outline)
            self.costs[key] = cost + encoder_cost(cell, outline) if key in first else cost
            if key not in planned.added:
                silent = replace(cell, evidence=EvidenceSpec())
                self.alone[key] = _Alone(cell_cost(silent, outline), *own_evidence(cell, outline))
            self.outlines[key] = outline
            self.kind[key] = name = kind_of(cell.spec)
            kind = self.kinds.setdefault(name, Kind(cell, outline, present))
            if key in embedded:
                self.kinds[name] = replace(kind, cell=cell, encoder=True)

    def seconds_alone(self, key: str, rates: Mapping[str, Rates]) -> float:
        """Time of a cell that shares nothing."""
        own, one = rates[self.kind[key]], self.alone[key]
        runs = self.after[key]
        scored = rates.get(self.kind.get(runs[0], ""), own) if runs else own
        return seconds_of(one.itself, own) + seconds_of(one.scoring, scored, min(1, len(runs)))


def _kept() -> Callable[[Cell], int]:
    """N of a cell with an imbalance or a corruption, drawn once for all cells that share it."""
    found: dict[str, int] = {}

    def kept(cell: Cell) -> int:
        spec = cell.spec
        parts = [
            spec.dataset, spec.setting, spec.noise.outside, spec.seed, spec.reference,
            spec.validation, spec.imbalance, spec.corrupt,
        ]  # fmt: skip
        slot = str(parts)
        if slot not in found:
            found[slot] = train_size(spec, cell.data)
        return found[slot]

    return kept


def outline_of(
    name: str, data: Mapping[str, Any], absent: bool = False
) -> tuple[Outline | None, bool]:
    """The outline of a data set, and whether its files are here.

    Args:
        name: The data set.
        data: Its options.
        absent: Whether it is known that the files are not.
    """
    if not absent:
        with suppress(InputError):
            return _of(load_raw(name, data)), True
    return DATASETS.get(name).target(**own_options(data)).outline(), False


def _of(raw: RawData) -> Outline:
    own = 0 if raw.reference_rows is None else len(raw.reference_rows)
    return Outline(
        train=len(raw.train_y) - own, test=len(raw.test_y), shape=raw.input_shape,
        classes=raw.num_classes, reference=own, images=len(raw.train_x.shape) == 4,
    )  # fmt: skip


def seconds_of(cost: Cost, rates: Rates, cells: int = 1) -> float:
    """Seconds of so many cells that cost so much together."""
    return (
        cost.trained * rates.train_s
        + cost.ssl_trained * rates.ssl_s
        + cost.epochs * rates.epoch_s
        + cost.forward * rates.eval_s
        + cells * rates.cell_s
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
            "run": planned.cells[key].shown,
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
