"""What MLflow holds, read with its own client."""

from __future__ import annotations

import atexit
import os
import shutil
import struct
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from prunebench.bench.tracking.client import quiet_client
from prunebench.bench.tracking.database import NAME, default_uri, sqlite_uri
from prunebench.bench.tracking.sync import default_experiment


def client(uri: str) -> Any:
    """MLflow's client of a store."""
    return quiet_client(uri)


@cache
def _schema() -> Path:
    """A database with MLflow's tables and nothing in them; making one takes seconds."""
    path = Path(mkdtemp(prefix="prunebench-mlflow-")) / NAME
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    client(sqlite_uri(path)).search_experiments()
    return path


def fresh_database(path: Path) -> Path:
    """Puts a database without runs at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(_schema(), path))


def journal_that_removes(database: Path, victim: Path) -> None:
    """Puts a rollback journal beside an SQLite file that has SQLite remove another file, once it
    has rolled back (https://sqlite.org/fileformat2.html, super-journal)."""
    magic, page = bytes.fromhex("d9d505f920a163d7"), 4096
    name = os.fsencode(victim)
    head = magic + struct.pack(">5I", 0, 0, database.stat().st_size // page, 512, page)
    end = struct.pack(">I", (1 << 30) // page + 1) + name
    end += struct.pack(">2I", len(name), sum(name)) + magic
    Path(f"{database}-journal").write_bytes(head.ljust(512, b"\0") + end)


def all_tags(uri: str) -> list[dict[str, str]]:
    """The tags of every run of a store, in order of time."""
    api = client(uri)
    places = [found.experiment_id for found in api.search_experiments()]
    runs = api.search_runs(places, order_by=["attributes.start_time ASC"])
    return [dict(run.data.tags) for run in runs]


def mirrored(root: Path) -> dict[str, str]:
    """Record digest by key of the current runs of a results folder, each key once."""
    api = client(default_uri(root))
    experiment = api.get_experiment_by_name(default_experiment(root))
    assert experiment is not None
    runs, token = [], None
    while True:
        page = api.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            break
    assert all(run.info.status != "RUNNING" for run in runs)
    tags = [run.data.tags for run in runs]
    live = [t for t in tags if "superseded_by" not in t and "orphaned" not in t]
    assert len({tag["cell_key"] for tag in live}) == len(live)
    return {tag["cell_key"]: tag["record_digest"] for tag in live}
