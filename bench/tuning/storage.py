"""Where a study is kept: an Optuna journal beside the records, or any Optuna storage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from prunebench.errors import InputError
from prunebench.record import canonical

_SETTINGS = "design"

Direction = Literal["maximize", "minimize"]


def journal_path(folder: Path, name: str) -> Path:
    """The journal of a study."""
    return folder / f"{name}.journal"


@contextmanager
def open_study(
    folder: Path, name: str, url: str | None, directions: Sequence[Direction]
) -> Iterator[optuna.Study]:
    """Opens a study for one driver; a second one is turned away.

    The driver is the only writer, so whatever a killed one left behind (Optuna's lock file, half
    a line) can be cleared at once.

    Args:
        folder: ``tuning`` of the results folder.
        name: Name of the study.
        url: Storage URL of Optuna; None for a journal in the folder.
        directions: ``maximize``, and ``minimize`` for the cost.

    Raises:
        InputError: Another driver works on it, or the storage cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{name}.lock", timeout=0):
            yield _open(folder, name, url, directions)
    except Timeout:
        raise InputError(
            f"study {name!r} is being run by another process",
            where=str(folder),
            accepted="one driver per study, or another --study",
        ) from None


def _open(
    folder: Path, name: str, url: str | None, directions: Sequence[Direction]
) -> optuna.Study:
    path = journal_path(folder, name)
    try:
        storage: str | BaseStorage
        if url is None:
            Path(f"{path}.lock").unlink(missing_ok=True)
            _cut_torn_line(path)
            storage = JournalStorage(JournalFileBackend(str(path)))
        else:
            _not_mlflow(url)
            storage = optuna.storages.get_storage(url)
        return optuna.create_study(
            study_name=name, storage=storage, directions=directions, load_if_exists=True
        )
    except InputError:
        raise
    except Exception as error:  # Optuna hands on whatever its back ends raise
        line = " ".join(str(error).split())[:200]
        raise InputError(
            f"the study cannot be opened ({type(error).__name__}: {line})",
            where=url or str(path),
            accepted="a journal as it was written, or a storage URL of Optuna",
        ) from None


def _cut_torn_line(path: Path) -> None:
    """Drops half a line that a killed writer left at the end of a journal."""
    with suppress(FileNotFoundError), open(path, "r+b") as file:
        data = file.read()
        if not data.endswith(b"\n"):
            file.truncate(data.rfind(b"\n") + 1)


def _not_mlflow(url: str) -> None:
    """Two programs that migrate one database break each other.

    Raises:
        InputError: The database holds MLflow's tables.
    """
    scheme, _, rest = url.partition("///")
    path = Path(rest)
    if not scheme.startswith("sqlite") or not path.is_file():
        return
    with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.DatabaseError):
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if {"experiments", "runs"} <= {name for (name,) in rows}:
            raise InputError(
                "this database belongs to MLflow", where=url, accepted="a database of its own"
            )


def declared(study: optuna.Study) -> dict[str, Any] | None:
    """The declaration that a study was begun with."""
    found: dict[str, Any] | None = study.user_attrs.get(_SETTINGS)
    return found


def declare(study: optuna.Study, content: dict[str, Any]) -> None:
    """Begins a study, or checks that it goes on under the declaration it was begun with.

    Raises:
        InputError: A difference, which is named.
    """
    old = declared(study)
    if old is None and not study.trials:
        study.set_user_attr(_SETTINGS, content)
        return
    path, (was, now) = _difference(old or {}, content)
    if path:
        raise InputError(
            f"study {study.study_name!r} was begun with {path} = {_show(was)}, not {_show(now)}",
            where="tune",
            accepted="the command it was begun with, or another --study",
        )


def _difference(old: Any, new: Any, path: str = "") -> tuple[str, tuple[Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            found = _difference(old.get(name), new.get(name), f"{path}.{name}" if path else name)
            if found[0]:
                return found
    elif canonical(old) != canonical(new):
        return path, (old, new)
    return "", (None, None)


def _show(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."
