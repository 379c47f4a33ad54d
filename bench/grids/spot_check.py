"""Runs of others repeated here: some at random, those whose code is trusted."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunebench.bench.grids.driver import run_cells
from prunebench.bench.grids.repeat_tolerance import Tolerance, together
from prunebench.bench.reports.installed import sources_of
from prunebench.bench.results.plugin_sources import plugin_sources
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.rerun import compare_records, recorded_cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError, shown, spelled
from prunebench.record import Record, setting_name

#: What a record says of its run that no machine changes, and that boards show or order by.
_FACTS = ("data", "label_digest", "clean_labels_used", "oracle", "kind", "train_size", "test_size")
#: Share by which counts of samples may differ, since some methods let losses decide: those that
#: were trained, and all others.
_NEAR, _NEAR_OTHERS = 0.02, 0.1
#: Likewise shares between 0 and 1 that boards show; the last two depend on what a network learned.
_SHARES = {"realised_ratio": _NEAR, "compute_ratio": _NEAR, "kept_fraction": _NEAR_OTHERS,
           "kept_noise_rate": 0.1, "score_auroc": 0.15}  # fmt: skip
#: Times on the same kind of device that differ by more than this factor are told.
_FASTER = 10.0
_SAME_MACHINE = ("device_class", "torch", "threads")


@dataclass
class SpotCheck:
    """What was repeated, and what was not.

    Attributes:
        lines: One for each run that was repeated.
        reasons: Those of them that refuse the submission.
        not_run: Why others cannot be repeated here, with their number.
        away: By how many points each repeat is better than its record, and what it may be away.
    """

    lines: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    not_run: Counter[str] = field(default_factory=Counter)
    away: list[tuple[float, float]] = field(default_factory=list)

    @property
    def repeated(self) -> int:
        """Number of runs that were repeated."""
        return len(self.away)

    @property
    def words(self) -> str:
        """What was repeated, in one short line for the board."""
        if not self.repeated:
            return "no run was repeated"
        farthest = max(abs(points) for points, _ in self.away)
        text = f"{self.repeated} runs were repeated, up to {farthest:.1f} points away"
        return text + "; some could not be" * bool(self.not_run)


def spot_check(
    records: Sequence[Record],
    board: Sequence[Record],
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
        board: Runs of the board without them, which say how far seeds are apart.
        count: How many are repeated.
        seed: Of the draw.
        data: Options that open the data sets here.
        options: How to run them.
        scratch: Results folder for the repeats.
    """
    found, tolerance = SpotCheck(), Tolerance(records, board)
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
    found.reasons += together(found.away)
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
    alike = all(old.environment.get(n) == new.environment.get(n) for n in _SAME_MACHINE)
    if compare_records(old, new)["identical"]:
        text += ", identical"
    elif alike:
        text += ", not identical although the kind of device, torch and threads are the same"
    found.lines.append(text)
    found.away.append((ours - theirs, most))
    if not abs(ours - theirs) <= most:
        found.reasons.append(f"repeat of {text}; accepted: up to {most:.1f} points away")
    found.reasons += [f"repeat of {old.key} ({cell}): {line}" for line in _other_facts(old, new)]
    times = [r.timing.get("train_s") or 0.0 for r in (old, new)]
    if alike and min(times) * _FASTER < max(times):
        found.lines.append(f"{old.key}: {times[0]:.3g} s of training recorded, {times[1]:.3g} s "
                           "here")  # fmt: skip


def _other_facts(old: Record, new: Record) -> list[str]:
    """Where a record does not say what its repeat says, accuracy apart."""
    lines = []
    for name in _FACTS:
        recorded, here = old.info.get(name), new.info.get(name)
        if recorded != here:
            lines.append(f"{name} {_said(recorded)} recorded, {_said(here)} here")
    one_set = old.info.get("metrics") == new.info.get("metrics")
    for name, near in _SHARES.items():
        one, two = old.metrics.get(name), new.metrics.get(name)
        if one_set and (one is None) != (two is None):
            lines.append(f"{name} {_said(one)} recorded, {_said(two)} here")
        elif one is not None and two is not None and not abs(one - two) <= near:
            lines.append(f"{name} {one:.4g} recorded, {two:.4g} here; accepted: up to {near:g} "
                         "away")  # fmt: skip
    for name in sorted(old.ledger.keys() | new.ledger.keys()):
        counts = [r.ledger.get(name, 0) for r in (old, new)]
        near, least = (_NEAR, 0) if name == "trained" else (_NEAR_OTHERS, 1)
        if not math.isclose(*counts, rel_tol=near, abs_tol=least):
            what = f"{name} of the ledger" if name != "trained" else "samples trained"
            lines.append(f"{counts[0]:g} {what}, {counts[1]:g} here")
    return lines


def _said(value: object) -> str:
    return "is not" if value is None else shown(value)
