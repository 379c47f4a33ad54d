"""From records to tidy runs: one line per evaluation run, and counts of what was left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prunebench.errors import InputError, visible
from prunebench.leaderboard.board.check_record import check_shape
from prunebench.leaderboard.board.copies import one_run
from prunebench.leaderboard.protocol_file import Settings
from prunebench.record import Record

FULL, WITH_REFERENCE = "full", "full+reference"

COUNTED = ("done", "diverged")
#: Status of a cell that a grid asked for and that has no record.
PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation run as the tables see it.

    Attributes:
        record: The record behind it.
        dataset, criterion, noise, method: Names.
        params: Options of the method, in which its variants differ.
        ratio: Nominal share of training saved.
        seed: Seed of the run, the unit of pairing.
        accuracy: Test accuracy of the last epoch in percent; None where the run has none.
        diverged: Whether it counts although it diverged.
        chance: Accuracy of guessing in percent; None where the record does not say it.
        missing: Why ``accuracy`` is None; empty otherwise.
    """

    record: Record
    dataset: str
    criterion: str
    noise: str
    method: str
    params: dict[str, Any]
    ratio: float
    seed: int
    accuracy: float | None
    diverged: bool
    missing: str
    chance: float | None = None

    @property
    def carried(self) -> bool:
        """Whether it is a row in the tables of every ratio: full training, at ratio 0."""
        return self.ratio == 0 and self.method in (FULL, WITH_REFERENCE)

    def metric(self, name: str) -> float | None:
        """A finite metric of the record, else None."""
        value = self.record.metrics.get(name)
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Collected:
    """Evaluation runs in order of key, and (reason, count) of the records left out."""

    runs: tuple[Run, ...]
    excluded: tuple[tuple[str, int], ...]


def collect(records: Iterable[Record], settings: Settings | None = None) -> Collected:
    """Keeps the evaluation runs; records of one key with equal results count once.

    Args:
        records: Any records.
        settings: Filters, and how a diverged run counts; None for the default protocol.

    Raises:
        InputError: Two records of one key whose results differ, or a record whose fields cannot be
            used.
    """
    unique: dict[str, Record] = {}
    for record in records:
        other = unique.setdefault(record.key, record)
        if other.digest != record.digest:
            unique[record.key] = one_run(other, record)
    settings = settings or Settings()
    for record in unique.values():
        check_shape(record)
    settings.check(unique.values())
    runs: list[Run] = []
    excluded: Counter[str] = Counter()
    for _, record in sorted(unique.items()):
        if record.spec.get("role", "eval") != "eval":
            excluded["tuning run"] += 1
        elif record.spec.get("replica", 0) != 0:
            excluded["replica that serves as evidence"] += 1
        else:
            run = _run(record, settings.diverged == "chance")
            if not settings.passes(record, run.method in (FULL, WITH_REFERENCE)):
                excluded["filtered by the protocol"] += 1
                continue
            runs.append(run)
            if run.missing:
                excluded[run.missing] += 1
    return Collected(tuple(runs), tuple(sorted(excluded.items())))


def _run(record: Record, diverged_as_chance: bool) -> Run:
    spec = record.spec
    proxy, method = spec.get("proxy", "shared"), spec["method"]
    params = dict(method.get("params") or {})
    if proxy != "shared":
        params["proxy"] = proxy
    accuracy, missing = _accuracy(record)
    chance = _chance(record)
    diverged = record.status == "diverged" and accuracy is not None
    if diverged and diverged_as_chance and chance is not None:
        accuracy = chance
    return Run(
        record=record,
        dataset=spec["dataset"]["name"],
        criterion=(spec.get("criterion") or {}).get("name", "ce"),
        noise=spec["noise"]["name"],
        method=method["name"],
        params=params,
        ratio=float(spec["ratio"]),
        seed=spec["seed"],
        accuracy=accuracy,
        diverged=diverged,
        missing=missing,
        chance=chance,
    )


def _accuracy(record: Record) -> tuple[float | None, str]:
    """Percent, or None and why; a diverged run without accuracy counts as chance."""
    if record.status not in COUNTED:
        reason = visible(" ".join(record.reason.split()))[:60]
        return None, f"{record.status} ({reason})" if reason else record.status
    value = record.metrics.get("test_accuracy")
    if (value is None or not math.isfinite(value)) and record.status == "diverged":
        chance = _chance(record)
        value = None if chance is None else chance / 100
    if value is None or not math.isfinite(value):
        return None, f"{record.status} without test accuracy"
    if not 0 <= value <= 1:
        raise InputError(
            f"test_accuracy {value:g}", where=f"record {record.key}", accepted="a share in [0, 1]"
        )
    return 100 * value, ""


def _chance(record: Record) -> float | None:
    value = record.info.get("chance")
    if value is not None:
        return 100 * float(value)
    classes = record.info.get("num_classes")
    return 100 / classes if classes else None
