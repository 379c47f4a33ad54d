"""Runs of others repeated here: some at random, those whose code is trusted."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunebench.bench.grids.driver import run_cells
from prunebench.bench.reports.installed import sources_of
from prunebench.bench.results.plugin_sources import plugin_sources
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.rerun import compare_records, recorded_cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError, shown, spelled
from prunebench.record import Record, content_key, setting_name

#: Points that a repeat may always be away, and how many standard deviations of the seeds.
LEAST_POINTS, DEVIATIONS = 1.0, 4.0
#: Degrees of freedom of the usual variance beside that of a cell.
_PRIOR = 3
#: Share by which the samples that were trained may differ: some methods let losses decide.
NEAR = 0.02
#: What a record says of its run that no machine changes, and that boards show or order by.
_FACTS = ("data", "label_digest", "clean_labels_used", "oracle", "kind")


@dataclass
class SpotCheck:
    """What was repeated, and what was not.

    Attributes:
        lines: One for each run that was repeated.
        reasons: Those of them that refuse the submission.
        not_run: Why others cannot be repeated here, with their number.
        away: How far each repeat is from its record, in parts of what it may be.
        widest: The most points that one of them was allowed.
    """

    lines: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    not_run: Counter[str] = field(default_factory=Counter)
    away: list[float] = field(default_factory=list)
    widest: float = 0.0

    @property
    def repeated(self) -> int:
        """Number of runs that were repeated."""
        return len(self.away)

    @property
    def words(self) -> str:
        """What was repeated, in one short line for the board."""
        if not self.repeated:
            return "no run was repeated"
        text = f"{self.repeated} runs were repeated, within {self.widest:.1f} points"
        return text + "; some could not be" * bool(self.not_run)


class Tolerance:
    """Points of accuracy that a repeat on another machine may be away from a record.

    Training on another machine ends as far away as under another seed: four standard deviations
    of the difference of two seeds of the cell. A cell has few seeds, so its variance is drawn
    towards the median of all cells, which counts as much as three further seeds.

    Args:
        records: Runs with all seeds of their cells.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        cells: dict[str, list[float]] = defaultdict(list)
        for record in records:
            accuracy = record.metrics.get("test_accuracy")
            if accuracy is not None:
                cells[_without_seed(record)].append(100 * accuracy)
        self._cells = {name: values for name, values in cells.items() if len(values) > 1}
        variances = map(statistics.variance, self._cells.values())
        self._usual = statistics.median(variances) if self._cells else 0.0

    def of(self, record: Record) -> float:
        """Points for one run."""
        values = self._cells.get(_without_seed(record), [])
        squares = (len(values) - 1) * statistics.variance(values) if values else 0.0
        degrees = max(0, len(values) - 1)
        variance = (squares + _PRIOR * self._usual) / (degrees + _PRIOR)
        return max(LEAST_POINTS, DEVIATIONS * math.sqrt(2 * variance))


def _without_seed(record: Record) -> str:
    return content_key({**record.spec, "seed": None})


def spot_check(
    records: Sequence[Record],
    count: int,
    seed: int,
    data: Mapping[str, Any],
    options: ExecutionOptions,
    scratch: Path,
) -> SpotCheck:
    """Repeats runs drawn at random among those that can be repeated.

    Code that is run is that of prunebench and of plug-ins that are loaded already, and only where a
    record names the very source that is loaded.

    Args:
        records: Runs of the submission's own methods.
        count: How many are repeated.
        seed: Of the draw.
        data: Options that open the data sets here.
        options: How to run them.
        scratch: Results folder for the repeats.
    """
    found, tolerance = SpotCheck(), Tolerance(records)
    cells: dict[str, Cell] = {}
    ordered = sorted(records, key=lambda record: record.key)
    random.Random(seed).shuffle(ordered)
    for record in ordered:
        why = _untrusted(record)
        if not why and len(cells) < count:
            try:
                cells[record.key] = recorded_cell(record, data)
            except InputError as error:
                why = str(error)
        if why:
            found.not_run[f"{record.spec['method']['name']}: {why}"] += 1
    if not cells:
        return found
    store = Store(scratch)
    report = run_cells(list(cells.values()), store, replace(options, mlflow=False))
    failed = {outcome.key: outcome.reason for outcome in report.outcomes if outcome.reason}
    for record in ordered:
        if record.key in cells:
            _compare(record, store.get(record.key), failed.get(record.key, ""), found,
                     tolerance.of(record))  # fmt: skip
    if found.repeated > 1:
        mean, most = math.fsum(found.away) / found.repeated, found.repeated**-0.5
        if abs(mean) > most:
            found.reasons.append(f"the {found.repeated} repeats are {mean:+.0%} of what one may be "
                                 f"away on average; accepted: up to {most:.0%}")  # fmt: skip
    return found


def _untrusted(record: Record) -> str:
    """Why a run cannot be repeated with the code that is loaded; empty where it can."""
    named = sources_of(record)
    try:
        now = plugin_sources(record.spec)
    except InputError as error:
        return str(error)
    for kind, source in named.items():
        if kind not in now:
            return f"{kind} of the plug-in {spelled(source)}, which was not given (--plugin FILE)"
        if now[kind] != source:
            return f"{kind} of the plug-in {spelled(source)}, the one given is {now[kind]}"
    extra = sorted(now.keys() - named.keys())
    return f"{extra[0]} is of a plug-in here, and the record names none" if extra else ""


def _compare(old: Record, new: Record | None, failed: str, found: SpotCheck, most: float) -> None:
    spec = old.spec
    cell = (f"{spec['method']['name']}, {setting_name(spec)}, ratio {spec['ratio']:g}, seed "
            f"{spec['seed']}")  # fmt: skip
    if new is None or new.status not in ("done", "diverged"):
        last = (failed or (new.reason if new else "")).strip().splitlines()[-1:]
        found.reasons.append(f"repeat of {old.key} ({cell}): failed here: {spelled(''.join(last))}")
        return
    ours, theirs = (100 * (r.metrics.get("test_accuracy") or 0.0) for r in (new, old))
    text = f"{old.key} ({cell}): {theirs:.2f} % recorded, {ours:.2f} % here"
    if compare_records(old, new)["identical"]:
        text += ", identical"
    found.lines.append(text)
    found.away.append((ours - theirs) / most)
    found.widest = max(found.widest, most)
    if not abs(ours - theirs) <= most:
        found.reasons.append(f"repeat of {text}; accepted: up to {most:.1f} points away")
    for name in _FACTS:
        recorded, here = old.info.get(name), new.info.get(name)
        if name in old.info and recorded != here:
            found.reasons.append(f"repeat of {old.key} ({cell}): {name} {shown(recorded)} "
                                 f"recorded, {shown(here)} here")  # fmt: skip
    if not math.isclose(*(r.ledger.get("trained", 0) for r in (old, new)), rel_tol=NEAR):
        found.reasons.append(f"repeat of {old.key} ({cell}): {old.ledger.get('trained')} samples "
                             f"trained, {new.ledger.get('trained')} here")  # fmt: skip
