"""MLflow's schema in a results folder's own database: there as a whole, or not at all.

MLflow makes and migrates its schema in many small transactions, and cannot go on where a process
was stopped between two of them. It does so in a temporary file here, and the result goes into
``mlflow.db`` in one transaction of SQLite's: a reader, MLflow's server too, sees the old content
or the new one, and what a killed process left of that transaction is rolled back.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from prunebench.bench.results.atomic import TemporaryFiles
from prunebench.bench.tracking.client import one_line, quiet_mlflow
from prunebench.bench.tracking.database import BUSY_S, MIRRORED, NAME, sqlite_uri
from prunebench.bench.tracking.identity import Identity
from prunebench.bench.tracking.view import EXPERIMENT_TAG
from prunebench.errors import InputError

_VERSIONS = "alembic_version"
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_whole(path: Path) -> bool:
    """Whether an SQLite file holds the schema of the installed MLflow.

    The version is the last thing that a migration writes.

    Args:
        path: The file; it may be missing.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    return path.is_file() and _versions(path) == [_scripts().get_current_head()]


def make_whole(results: Path, identity: Identity, anew: bool = True) -> None:
    """Makes or migrates the schema of a folder's own database; callers hold the writer lock.

    A database that MLflow cannot migrate, because a process was stopped while an earlier version
    of this package had MLflow make or migrate it, is made anew without runs: ``sync`` writes
    them from the records.

    Args:
        results: Results folder.
        identity: Its identity, which its runs hold.
        anew: Whether a database may be made anew.

    Raises:
        InputError: A newer MLflow wrote it; it cannot be migrated and holds what no ``sync``
            would write again; or ``anew`` is False and it would be made anew.
        Exception: Whatever MLflow, SQLite or the system raise.
    """
    quiet_mlflow()
    path = results.resolve() / NAME
    if is_whole(path):
        return
    with TemporaryFiles(results.resolve()).work("mlflow") as folder:
        made = folder / NAME
        reason = _migrated(path, made) if path.is_file() and _filled(path) else "it is empty"
        if reason:
            if not anew:
                raise InputError(
                    "was left half made", where=str(path),
                    accepted="a whole database; `prunebench sync` makes it anew",
                )  # fmt: skip
            made = folder / f"new-{NAME}"
            _create(made, results)
            if path.is_file():
                _need_replaceable(path, made, identity, reason)
        _copy(made, path)


@cache
def _scripts() -> Any:
    """The migrations of the installed MLflow."""
    import mlflow.store
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(str(mlflow.store.__file__)).with_name("db_migrations")))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    address = f"file:{quote_from_bytes(os.fsencode(path.absolute()))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=BUSY_S)


def _versions(path: Path) -> list[str]:
    with closing(_connect(path, "ro")) as database:
        if _VERSIONS not in _tables(database):
            return []
        return [str(one) for (one,) in database.execute(f"SELECT version_num FROM {_VERSIONS}")]


def _tables(database: sqlite3.Connection) -> list[str]:
    named = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [str(name) for (name,) in named if not str(name).startswith("sqlite_")]


def _filled(path: Path) -> dict[str, int]:
    """Number of rows by table; tables without rows, and that of the version, are left out."""
    with closing(_connect(path, "ro")) as database:
        counts = {
            name: int(database.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()[0])
            for name in _tables(database)
        }
    return {name: count for name, count in counts.items() if count and name != _VERSIONS}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _create(path: Path, results: Path) -> None:
    """A database with MLflow's schema and no runs, which nothing holds open."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    artifacts = (results.resolve() / "mlartifacts").as_uri()
    store: Any = SqlAlchemyStore
    store(sqlite_uri(path), artifacts).engine.dispose()


def _migrated(path: Path, made: Path) -> str:
    """Migrates a copy, and returns why that failed; empty where it did not.

    Raises:
        InputError: A newer MLflow wrote the database.
    """
    from mlflow.db import upgrade  # `mlflow db upgrade`

    migrate: Any = upgrade.callback
    known = {script.revision for script in _scripts().walk_revisions()}
    if not known.issuperset(_versions(path)):
        raise InputError(
            "a newer MLflow wrote it", where=str(path),
            accepted="that MLflow; or delete it, and `prunebench sync` makes it anew",
        )  # fmt: skip
    _copy(path, made)
    try:
        migrate(sqlite_uri(made))
    except Exception as error:
        return one_line(error)
    return "" if is_whole(made) else "it stays of another version"


def _need_replaceable(path: Path, fresh: Path, identity: Identity, reason: str) -> None:
    """Refuses where a database holds more than what ``sync`` writes.

    Raises:
        InputError: It does.
    """
    found, usual = _filled(path), _filled(fresh)
    more = [name for name, count in found.items() if count > usual.get(name, 0)]
    others = [name for name in more if name not in MIRRORED]
    kept = f"rows in table {others[0]!r}" if others else _of_a_user(path, identity) if more else ""
    if kept:
        raise InputError(
            f"MLflow cannot migrate it ({reason}), and it holds {kept}", where=str(path),
            accepted="a copy from before; or delete it, and `prunebench sync` makes it anew "
            "with the runs of this folder alone",
        )  # fmt: skip


def _of_a_user(path: Path, identity: Identity) -> str:
    """What of the mirrored tables the mirror did not write; empty where it wrote all."""
    names = [identity.name, *sorted(identity.former)]
    mine = ", ".join("?" * len(names))
    tagged = "SELECT run_uuid FROM tags WHERE key"
    queries: dict[str, tuple[str, list[str]]] = {
        "runs of others": (
            f"SELECT 1 FROM runs WHERE run_uuid NOT IN ({tagged} = 'cell_key') OR run_uuid IN "
            f"({tagged} = 'results_id' AND value NOT IN ({mine}))", names,
        ),
        "notes": (
            "SELECT 1 FROM tags WHERE key = 'mlflow.note.content' UNION ALL "
            "SELECT 1 FROM experiment_tags WHERE key = 'mlflow.note.content'", [],
        ),
        "experiments of others": (
            "SELECT 1 FROM experiments WHERE experiment_id != 0 AND experiment_id NOT IN "
            "(SELECT experiment_id FROM runs UNION ALL "
            "SELECT experiment_id FROM experiment_tags WHERE key = ?)", [EXPERIMENT_TAG],
        ),
    }  # fmt: skip
    try:
        with closing(_connect(path, "ro")) as database:
            for what, (query, values) in queries.items():
                if database.execute(query, values).fetchone():
                    return what
    except sqlite3.Error as error:
        return f"runs that cannot be read ({error})"
    return ""


def _copy(source: Path, target: Path) -> None:
    """Puts all of a database into another in one transaction; the other may be missing or open
    elsewhere."""

    def patient(status: int, remaining: int, total: int) -> None:
        if status in _BUSY:  # after BUSY_S; Python would try again without end
            raise sqlite3.OperationalError(f"{target}: database is locked")

    with closing(_connect(source, "ro")) as old, closing(_connect(target, "rwc")) as new:
        old.backup(new, progress=patient)
