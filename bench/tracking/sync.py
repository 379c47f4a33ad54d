"""Rebuilds the mirror from the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prunebench.bench.tracking.client import TrackingError, one_line
from prunebench.bench.tracking.database import default_uri
from prunebench.bench.tracking.mirror import Mirror, RunRef, writer_lock
from prunebench.bench.tracking.payload import build_payload
from prunebench.errors import InputError
from prunebench.record import Record


@dataclass(frozen=True)
class SyncReport:
    """What a rebuild did.

    Attributes:
        created: Runs written.
        unchanged: Records that had their run.
        superseded: Older runs of a rewritten record, newly tagged ``superseded_by``.
        orphaned: Runs whose record is gone, newly tagged ``orphaned``.
        reaped: Runs left RUNNING without a record and ended as KILLED.
    """

    created: int
    unchanged: int
    superseded: int
    orphaned: int
    reaped: int


def sync(
    results: Path,
    records: Iterable[Record],
    uri: str | None = None,
    experiment: str | None = None,
) -> SyncReport:
    """Makes the mirror agree with the records.

    Afterwards the folder's runs tagged neither ``superseded_by`` nor ``orphaned`` are one per
    record, each with that record's digest. Runs of other folders are not touched. A record whose
    run was deleted by hand gets a new one.

    Args:
        results: Results folder; its ``artifacts/<key>`` folders hold the curves.
        records: All sealed records of the folder.
        uri: Tracking URI; None means SQLite in the results folder.
        experiment: Name of the experiment; by default that of the results folder.

    Raises:
        InputError: The store is an SQLite file that MLflow did not write.
        TrackingError: The store cannot be used; what was written until then stays.
    """
    current = {record.key: record for record in records}
    name = experiment or default_experiment(results)
    try:
        with writer_lock(results):
            return _sync(Mirror(uri or default_uri(results), results, name), results, current)
    except InputError:
        raise
    except Exception as error:
        raise TrackingError(f"MLflow sync stopped: {one_line(error)}") from error


def default_experiment(results: Path) -> str:
    """Experiment of a results folder: ``prunebench/<folder name>``, as text that MLflow takes."""
    name = results.resolve().name.encode(errors="backslashreplace").decode()
    return f"prunebench/{name}"


def _sync(mirror: Mirror, results: Path, records: dict[str, Record]) -> SyncReport:
    existing: dict[str, list[RunRef]] = defaultdict(list)
    for run in mirror.runs():
        existing[run.key].append(run)
    created = superseded = orphaned = reaped = 0
    for key, record in sorted(records.items()):
        payload = build_payload(record, results / "artifacts" / key, _finished(results, key))
        new, older = mirror.reconcile(payload, existing.pop(key, []))
        created += new
        superseded += older
    gone = (run for runs in existing.values() for run in runs)
    for run in (run for run in gone if mirror.owns(run, recorded=False)):
        if run.status == "RUNNING":
            mirror.end_as_killed(run)
            reaped += 1
        if not run.orphaned and not run.superseded:
            mirror.mark_orphaned(run)
            orphaned += 1
    return SyncReport(created, len(records) - created, superseded, orphaned, reaped)


def _finished(results: Path, key: str) -> float | None:
    try:
        return (results / "records" / f"{key}.json").stat().st_mtime
    except OSError:
        return None
