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
from prunebench.record import Record, setting_name

#: Points that a repeat may always be away, and how many standard deviations of the seeds.
LEAST_POINTS, DEVIATIONS = 1.0, 4.0
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
        tolerance: Points that a repeat may be away.
        away: Points by which each repeat is away from its record.
    """

    tolerance: float
    lines: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    not_run: Counter[str] = field(default_factory=Counter)
    away: list[float] = field(default_factory=list)

    @property
    def repeated(self) -> int:
        """Number of runs that were repeated."""
        return len(self.away)

    @property
    def words(self) -> str:
        """What was repeated, in one short line for the board."""
        if not self.repeated:
            return "no run was repeated"
        text = f"{self.repeated} runs were repeated, within {self.tolerance:.1f} points"
        return text + "; some could not be" * bool(self.not_run)


def tolerance_of(records: Sequence[Record]) -> float:
    """Points of accuracy that a repeat on another machine may be away from a record.

    Training on another machine ends as far away as under another seed. The standard deviation of
    the seeds is pooled over the rows and settings of the records.
    """
    cells: dict[str, list[float]] = defaultdict(list)
    for record in records:
        accuracy = record.metrics.get("test_accuracy")
        if accuracy is not None:
            spec = {**record.spec, "seed": None}
            cells[repr(sorted(spec.items()))].append(100 * accuracy)
    several = [values for values in cells.values() if len(values) > 1]
    degrees = sum(len(values) - 1 for values in several)
    if not degrees:
        return LEAST_POINTS
    squares = math.fsum((len(v) - 1) * statistics.variance(v) for v in several)
    return max(LEAST_POINTS, DEVIATIONS * math.sqrt(2 * squares / degrees))


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
    found = SpotCheck(tolerance_of(records))
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
            _compare(record, store.get(record.key), failed.get(record.key, ""), found)
    if found.repeated > 1:
        mean, most = math.fsum(found.away) / found.repeated, found.tolerance / found.repeated**0.5
        if abs(mean) > most:
            found.reasons.append(f"the {found.repeated} repeats are {mean:+.2f} points away on "
                                 f"average; accepted: up to {most:.2f}")  # fmt: skip
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


def _compare(old: Record, new: Record | None, failed: str, found: SpotCheck) -> None:
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
    found.away.append(ours - theirs)
    if not abs(ours - theirs) <= found.tolerance:
        found.reasons.append(f"repeat of {text}; accepted: up to {found.tolerance:.1f} points away")
    for name in _FACTS:
        recorded, here = old.info.get(name), new.info.get(name)
        if name in old.info and recorded != here:
            found.reasons.append(f"repeat of {old.key} ({cell}): {name} {shown(recorded)} "
                                 f"recorded, {shown(here)} here")  # fmt: skip
    if not math.isclose(*(r.ledger.get("trained", 0) for r in (old, new)), rel_tol=NEAR):
        found.reasons.append(f"repeat of {old.key} ({cell}): {old.ledger.get('trained')} samples "
                             f"trained, {new.ledger.get('trained')} here")  # fmt: skip
