"""Reads records from an MLflow tracking store, as the mirror wrote them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunebench.bench.tracking.client import (
    all_pages,
    one_line,
    quiet_client,
    quiet_mlflow,
    without_password,
)
from prunebench.bench.tracking.database import NAME, check_database, sqlite_path, sqlite_uri
from prunebench.bench.tracking.schema import is_whole
from prunebench.errors import InputError
from prunebench.record import Record, parse

#: Tag that holds the whole record.
RECORD_TAG = "record_json"
#: Seconds for a whole store: a database or server may take a call and never answer it.
TIMEOUT_S = 45.0
_RUNS = "tags.cell_key LIKE '%'"
_WITHDRAWN = ("superseded_by", "orphaned")
_ACCEPTED = "a results folder, an mlflow.db or an MLflow tracking URI"


def mirrored_records(store: str) -> list[tuple[Record, str]]:
    """Every current record of a tracking store, with the run that holds it.

    Nothing is created or changed in the store.

    Args:
        store: Tracking URI, such as ``sqlite:///results/demo/mlflow.db``; or the path of a results
            folder or of its ``mlflow.db``.

    Raises:
        InputError: The store is missing, damaged, foreign, out of reach or takes too long; or it
            holds no records of ours.
    """
    where = without_password(store)
    path = _file(store, where)
    address = store if path is None else sqlite_uri(path.resolve(), read_only=True)
    found: list[tuple[Record, str]] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            if path is not None:
                _need_whole(path, where)
            found.extend(_records(quiet_client(address)))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="mlflow-reader", daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    if thread.is_alive():
        raise InputError(f"no answer within {TIMEOUT_S:g} s", where=where, accepted=_ACCEPTED)
    if failed:
        raise _as_line(failed[0], where) from None
    if not found:
        raise InputError("no mirrored records", where=where,
                         accepted="a store written by prunebench; `prunebench sync` rebuilds it"
                         )  # fmt: skip
    return found


def _as_line(error: BaseException, where: str) -> InputError:
    if isinstance(error, InputError):
        return error
    if isinstance(error, ModuleNotFoundError):
        what = f"needs the Python package {error.name!r}, which is not installed"
    else:
        what = f"cannot be read ({one_line(error)})"
    return InputError(what, where=where, accepted=_ACCEPTED)


def _file(store: str, where: str) -> Path | None:
    """The SQLite file of an existing store; None where it is another kind of store.

    Raises:
        InputError: There is no such file or folder, or it is no store of MLflow.
    """
    scheme, colon, rest = store.partition(":")
    if scheme in ("sqlite", "sqlite+pysqlite") and colon:
        try:
            path = sqlite_path(store)
        except Exception as error:
            raise _as_line(error, where) from None
    elif (colon and rest.startswith("//") and scheme != "file") or store == "databricks":
        return None
    else:
        path = Path(rest.removeprefix("//") if scheme == "file" and colon else store)
        if path.is_dir() and (path / NAME).exists():
            path = path / NAME
        elif path.is_dir() and any(path.glob("*/meta.yaml")):
            return None  # a store of plain files, from an early MLflow
        elif not path.is_file():
            raise InputError("no tracking store", where=where, accepted=_ACCEPTED)
    assert path is not None
    check_database(path)
    return path


def _need_whole(path: Path, where: str) -> None:
    """Refuses a schema that MLflow would have to complete; the file is not written."""
    quiet_mlflow()
    if not is_whole(path):
        raise InputError(
            "is half made, or of another version of MLflow", where=where,
            accepted="a whole store; `prunebench sync` makes or migrates that of a results folder",
        )  # fmt: skip


def _records(client: Any) -> Iterator[tuple[Record, str]]:
    experiments = [e.experiment_id for e in all_pages(client.search_experiments)]
    for run in all_pages(client.search_runs, experiments, _RUNS) if experiments else ():
        tags = run.data.tags
        if RECORD_TAG in tags and not any(name in tags for name in _WITHDRAWN):
            name = f"MLflow run {run.info.run_id}"
            yield parse(tags[RECORD_TAG], name), name
