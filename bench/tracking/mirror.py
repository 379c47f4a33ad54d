"""The runs of a results folder in MLflow, written through its client with explicit run ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from prunebench.bench.results.atomic import lock_file
from prunebench.bench.tracking import view
from prunebench.bench.tracking.client import (
    TrackingError,
    all_pages,
    one_line,
    quiet_client,
    without_password,
)
from prunebench.bench.tracking.database import NAME, check_database, sqlite_path
from prunebench.bench.tracking.identity import identity
from prunebench.bench.tracking.payload import Payload, Point
from prunebench.bench.tracking.schema import make_whole
from prunebench.files import OwnFolder

METRICS_PER_BATCH, ENTRIES_PER_BATCH = 1000, 100
LOCK_TIMEOUT = 60.0
#: Tag that names the results folder of a run; runs of earlier versions have none.
FOLDER_TAG = "results_id"
#: What databases say where a migration is begun a second time, and MLflow before it begins one.
_HALF_MADE = re.compile(
    r"already exists|duplicate|no such (table|column)|does not exist|out-of-date", re.IGNORECASE
)


@dataclass(frozen=True)
class RunRef:
    """A run that is already there, as far as the mirror needs it."""

    run_id: str
    key: str
    digest: str
    status: str
    start: int
    superseded: bool
    orphaned: bool
    folder: str


def writer_lock(results: Path) -> FileLock:
    """The lock of the one process that writes the mirror of this folder."""
    results.mkdir(parents=True, exist_ok=True)
    return lock_file(OwnFolder(results), results / "mlflow.lock", LOCK_TIMEOUT)


class Mirror:
    """Writes and reads the runs of one results folder; those of others in the same store are
    left alone.

    Evaluation runs live in ``experiment``, tuning runs in ``experiment/tuning``, so that no
    table shows a tuning seed beside an evaluation seed. Creating an instance imports MLflow and
    creates schema and experiment: callers hold ``writer_lock`` for that and for every write.

    Args:
        uri: Tracking URI.
        results: Results folder; artifacts of the runs would go to ``mlartifacts`` in it.
        experiment: Name of the experiment.

    Raises:
        InputError: The store is an SQLite file that MLflow did not write.
        Exception: Whatever MLflow raises where the store cannot be reached.
    """

    def __init__(self, uri: str, results: Path, experiment: str) -> None:
        file = sqlite_path(uri)
        if file is not None and file.is_file():
            check_database(file, writing=True, partly=True)
        self._identity = identity(results)
        self._private = file is not None and file.resolve() == results.resolve() / NAME
        if self._private:
            make_whole(results, self._identity)
        self._client = _opened(uri)
        self._artifacts = (results.resolve() / "mlartifacts").as_uri()
        self._names = {"eval": experiment, "tune": f"{experiment}/tuning"}
        self._ids: dict[str, str] = {}
        self.experiment_id = self._experiment("eval", create=True)

    def _experiment(self, role: str, create: bool) -> str:
        role = role if role in self._names else "eval"
        if role not in self._ids:
            name = self._names[role]
            found = self._client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage != "active":
                raise TrackingError(f"experiment {name!r} was deleted; restore it or rename")
            if found is None and not create:
                return ""
            location = f"{self._artifacts}/{role}"
            self._ids[role] = (
                found.experiment_id
                if found is not None
                else self._client.create_experiment(
                    name, artifact_location=location, tags=view.experiment_tags()
                )
            )
        return self._ids[role]

    def owns(self, run: RunRef, recorded: bool) -> bool:
        """Whether a run belongs to this results folder.

        A run of an earlier version names no folder: it belongs to this one where the folder has a
        record of its key, and in the folder's own database.

        Args:
            run: The run.
            recorded: Whether the folder has a record of its key.
        """
        if not run.folder:
            return recorded or self._private
        mine = run.folder == self._identity.name
        return mine or (self._private and run.folder in self._identity.former)

    def runs(self, key: str | None = None) -> Iterator[RunRef]:
        """Runs of every results folder, or those of one record key; deleted ones are left out."""
        known = [self._experiment(role, create=False) for role in self._names]
        chosen = f"tags.cell_key = '{key}'" if key else "tags.cell_key LIKE '%'"
        for run in all_pages(self._client.search_runs, [name for name in known if name], chosen):
            tags, info = run.data.tags, run.info
            yield RunRef(
                run_id=info.run_id,
                key=tags["cell_key"],
                digest=tags.get("record_digest", ""),
                status=info.status,
                start=info.start_time or 0,
                superseded="superseded_by" in tags,
                orphaned="orphaned" in tags,
                folder=tags.get(FOLDER_TAG, ""),
            )

    def write(self, payload: Payload) -> str:
        """Creates one finished run and returns its id.

        The digest tag is written with the last batch: a run that has it holds every value.
        """
        from mlflow import entities

        experiment = self._experiment(payload.role, create=True)
        run_id: str = self._client.create_run(
            experiment,
            start_time=payload.start,
            tags={**payload.tags, FOLDER_TAG: self._identity.name},
            run_name=payload.name,
        ).info.run_id
        name, digest, source = payload.dataset
        data = entities.Dataset(name=name, digest=digest, source_type="prunebench", source=source)
        role = entities.InputTag("mlflow.data.context", "training")
        self._client.log_inputs(run_id, [entities.DatasetInput(data, [role])])
        seal = entities.RunTag("record_digest", payload.digest)
        batches = _batches(payload)
        for position, (metrics, params) in enumerate(batches, start=1):
            self._client.log_batch(
                run_id,
                metrics=[entities.Metric(p.name, p.value, p.timestamp, p.step) for p in metrics],
                params=[entities.Param(key, value) for key, value in params],
                tags=[seal] if position == len(batches) else [],
                synchronous=True,
            )
        self._client.set_terminated(run_id, payload.status, payload.end)
        return run_id

    def reconcile(self, payload: Payload, existing: Sequence[RunRef]) -> tuple[bool, int]:
        """Leaves exactly one current run for a record.

        Args:
            payload: What the run of the record holds.
            existing: All runs of its key; those of other folders are not touched.

        Returns:
            Whether a run was created, and how many older ones were tagged ``superseded_by``.
        """
        own = [run for run in existing if self.owns(run, recorded=True)]
        same = [run for run in own if run.digest == payload.digest]
        same.sort(key=lambda run: (run.superseded, run.orphaned, run.start, run.run_id))
        if same:
            kept, created = same[0].run_id, False
            for tag, present in (
                ("superseded_by", same[0].superseded),
                ("orphaned", same[0].orphaned),
            ):
                if present:
                    self._client.delete_tag(kept, tag)
            if same[0].folder != self._identity.name:
                self._client.set_tag(kept, FOLDER_TAG, self._identity.name)
            if same[0].status != payload.status:
                self._client.set_terminated(kept, payload.status, payload.end)
        else:
            kept, created = self.write(payload), True
        older = [run for run in own if run.run_id != kept and not run.superseded]
        for run in older:
            if run.status == "RUNNING":
                self.end_as_killed(run)
            self._client.set_tag(run.run_id, "superseded_by", kept)
        return created, len(older)

    def end_as_killed(self, run: RunRef) -> None:
        """Ends a run whose writer died."""
        self._client.set_terminated(run.run_id, "KILLED")

    def mark_orphaned(self, run: RunRef) -> None:
        """Marks a run whose record is gone; it is not deleted."""
        self._client.set_tag(run.run_id, "orphaned", "true")


def _opened(uri: str) -> Any:
    try:
        return quiet_client(uri)
    except Exception as error:
        line = one_line(error)
        if not _HALF_MADE.search(line):
            raise
        raise TrackingError(
            f"{without_password(uri)}: MLflow's schema is out of date or half made; "
            "run `mlflow db upgrade` on a copy; where that fails, an older copy or an empty "
            f"database in its place ({line[:90]})"
        ) from error


def _batches(payload: Payload) -> list[tuple[Sequence[Point], list[tuple[str, str]]]]:
    metrics, params = payload.metrics, list(payload.params.items())
    count = max(1, -(-len(metrics) // METRICS_PER_BATCH), -(-len(params) // ENTRIES_PER_BATCH))
    return [
        (
            metrics[i * METRICS_PER_BATCH : (i + 1) * METRICS_PER_BATCH],
            params[i * ENTRIES_PER_BATCH : (i + 1) * ENTRIES_PER_BATCH],
        )
        for i in range(count)
    ]
