"""From records to runs: one per evaluation run and key, and counts of what was left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prunebench.errors import InputError, visible
from prunebench.leaderboard.board.check_record import check_shape
from prunebench.leaderboard.headline import HEADLINES, Headline
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.record import FINAL, Record, setting_name

FULL, WITH_REFERENCE = "full", "full+reference"
#: Methods whose training split holds the clean reference set too.
REFERENCE_TRAINED = (WITH_REFERENCE, "infobatch+reference")

COUNTED = ("done", "diverged")
#: Status of a cell that a grid asked for and that has no record.
PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation run as the tables see it.

    Attributes:
        record: The record behind it.
        dataset, criterion, method: Names.
        noise: Name of its setting (``record.setting_name``): the label noise, and what else differs
            from the usual training split.
        params: Options of the method, in which its variants differ.
        ratio: Nominal share of training saved.
        seed: Seed of the run, the unit of pairing.
        accuracy: The headline metric of the protocol in percent, on the test split after the last
            epoch: plain accuracy unless another is declared. None where the run has none.
        diverged: Whether it counts although it diverged.
        chance: What guessing has of that metric in percent; None where the record does not hold it.
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
        return _known(self.record, name)


@dataclass(frozen=True)
class Collected:
    """Evaluation runs in order of key, and (reason, count) of the records left out."""

    runs: tuple[Run, ...]
    excluded: tuple[tuple[str, int], ...]


def collect(records: Iterable[Record], protocol: ProtocolFile | None = None) -> Collected:
    """Keeps the evaluation runs; records of one key with equal results count once.

    Args:
        records: Any records.
        protocol: Filters, and how a diverged run counts; None for the default protocol.

    Raises:
        InputError: Two records of one key whose results differ, or a record whose fields cannot be
            used.
    """
    unique: dict[str, Record] = {}
    for record in records:
        other = unique.setdefault(record.key, record)
        if other.digest != record.digest:
            unique[record.key] = one_run(other, record)
    protocol = protocol or ProtocolFile()
    for record in unique.values():
        check_shape(record)
    protocol.check(unique.values())
    runs: list[Run] = []
    excluded: Counter[str] = Counter()
    for _, record in sorted(unique.items()):
        if reason := evidence_only(record.spec):
            excluded[reason] += 1
        else:
            run = as_run(record, protocol)
            if not protocol.passes(record, run.method in (FULL, WITH_REFERENCE)):
                excluded["filtered by the protocol"] += 1
                continue
            runs.append(run)
            if run.missing:
                excluded[run.missing] += 1
    return Collected(tuple(runs), tuple(sorted(excluded.items())))


def evidence_only(spec: Mapping[str, Any]) -> str:
    """What a run is that is no row of a board; empty for an evaluation run."""
    if spec.get("role", "eval") != "eval":
        return "tuning run"
    if spec.get("replica", 0) != 0:
        return "replica that serves as evidence"
    if spec.get("part", "all") != "all":
        return "holdout model that serves as evidence"
    return ""


def as_run(record: Record, protocol: ProtocolFile) -> Run:
    """One record, whose shape was checked, as tables see it.

    Raises:
        InputError: The headline metric of the protocol is no share.
    """
    spec = record.spec
    proxy, method = spec.get("proxy", "shared"), spec["method"]
    params = dict(method.get("params") or {})
    if proxy != "shared":
        params["proxy"] = proxy
    headline = HEADLINES[protocol.metric]
    accuracy, missing = _accuracy(record, headline)
    chance = _chance(record, headline)
    diverged = record.status == "diverged" and accuracy is not None
    if diverged and protocol.diverged == "chance" and chance is not None:
        accuracy = chance
    return Run(
        record=record,
        dataset=spec["dataset"]["name"],
        criterion=(spec.get("criterion") or {}).get("name", "ce"),
        noise=setting_name(spec),
        method=method["name"],
        params=params,
        ratio=float(spec["ratio"]),
        seed=spec["seed"],
        accuracy=accuracy,
        diverged=diverged,
        missing=missing,
        chance=chance,
    )


def _accuracy(record: Record, headline: Headline) -> tuple[float | None, str]:
    """Percent, or None and why; a diverged run without any accuracy counts as chance."""
    if record.status not in COUNTED:
        reason = visible(" ".join(record.reason.split()))[:60]
        return None, f"{record.status} ({reason})" if reason else record.status
    value = _known(record, headline.entry)
    if value is None and record.status == "diverged" and _known(record, "test_accuracy") is None:
        chance = _chance(record, headline)
        value = None if chance is None else chance / 100
    if value is None:
        return None, f"{record.status} without {headline.lacking}"
    if not 0 <= value <= 1:
        raise InputError(
            f"{headline.entry} {value:g}", where=f"record {record.key}",
            accepted="a share in [0, 1]",
        )  # fmt: skip
    return 100 * value, ""


def _known(record: Record, name: str) -> float | None:
    value = record.metrics.get(name)
    return value if value is not None and math.isfinite(value) else None


def _chance(record: Record, headline: Headline) -> float | None:
    """What an answer that knows nothing has: of the worst class or group 0, as a network has that
    answers one class alone."""
    if headline.floor:
        return 0.0
    value = record.info.get("chance")
    if value is not None:
        return 100 * float(value)
    classes = record.info.get("num_classes")
    return 100 / classes if classes else None


#: Artifacts whose columns differ from one set of metrics to the next.
OTHER_COLUMNS = frozenset({"epochs.csv", "classes.csv"})
#: Entries of ``info`` that a result depends on.
_FACTS = ("label_digest", "data")


def difference(a: Record, b: Record) -> str:
    """In which of their results two records of one key differ; empty where they are one run.

    Times, machine, label, and artifacts that only one of them has are no results; neither is the
    reason of a run that failed. Of different sets of metrics what both have is compared.
    """
    if a.status != b.status:
        return f"status {a.status} and {b.status}"
    if a.status not in FINAL:
        return ""
    one_set = a.info.get("metrics") == b.info.get("metrics")
    for name in ("metrics", "ledger"):
        ours, theirs = getattr(a, name), getattr(b, name)
        whole = one_set or name == "ledger"
        for item in sorted(ours.keys() | theirs.keys() if whole else ours.keys() & theirs.keys()):
            if ours.get(item) != theirs.get(item):
                return f"{name}.{item} {ours.get(item)} and {theirs.get(item)}"
    tables = set() if one_set else OTHER_COLUMNS
    for item in sorted((a.artifacts.keys() & b.artifacts.keys()) - tables):
        if a.artifacts[item]["sha256"] != b.artifacts[item]["sha256"]:
            return f"artifact {item}"
    for item in _FACTS:
        if None not in (a.info.get(item), b.info.get(item)) and a.info[item] != b.info[item]:
            return f"info.{item}"
    return ""


def chosen(records: Iterable[Record]) -> Record:
    """The record that is used of several of one run: a labelled one, then the one of the latest set
    of metrics and with the most artifacts, whatever order they came in."""
    return min(
        records,
        key=lambda r: (
            not r.info.get("label"), -_set_of(r), -len(r.artifacts), r.digest,
        ),
    )  # fmt: skip


def _set_of(record: Record) -> int:
    """Number of the set of metrics; of a record whose shape nobody has checked yet."""
    value = record.info.get("metrics", 1)
    return value if type(value) is int else 1


def one_run(old: Record, new: Record, places: str = "") -> Record:
    """The record that is used of two of one key.

    Args:
        old, new: The records.
        places: Where they came from, for messages.

    Raises:
        InputError: Their results differ.
    """
    what = difference(old, new)
    if what:
        digests = " and ".join(sorted((old.digest[:16], new.digest[:16])))
        raise InputError(
            f"two records of key {old.key} differ{places}: {what} (digests {digests})",
            where="leaderboard",
            accepted="one result per specification; `prunebench drop` moves one aside",
        )
    return chosen((old, new))
