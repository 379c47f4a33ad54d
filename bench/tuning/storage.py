"""Where a study is kept: an Optuna journal beside the records, or any Optuna storage."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import Timeout
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from prunebench.bench.results.atomic import lock_file
from prunebench.bench.tracking.database import check_journal
from prunebench.errors import InputError
from prunebench.files import OwnFolder
from prunebench.record import any_wide, canonical, first_difference

_SETTINGS = "design"
_ACCEPTED = "a journal as it was written, or a storage URL of Optuna"
#: A change takes a few hundred bytes, a trial some twenty changes.
_LONGEST = 1 << 29

Direction = Literal["maximize", "minimize"]


def journal_path(folder: Path, name: str) -> Path:
    """The journal of a study."""
    return folder / f"{name}.journal"


@contextmanager
def open_study(
    folder: Path, name: str, url: str | None, directions: Sequence[Direction]
) -> Iterator[optuna.Study]:
    """Opens a study for one driver and refuses a second.

    The driver is the only writer, so half a line that a killed driver wrote is cut off.

    Args:
        folder: ``tuning`` of the results folder.
        name: Name of the study.
        url: Storage URL of Optuna; None for a journal in the folder.
        directions: ``maximize``, and ``minimize`` for the cost.

    Raises:
        InputError: Another driver works on it, or the storage cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    own = OwnFolder(folder.parent)
    own.make(folder)
    try:
        with lock_file(own, folder / f".{name}.lock", 0), ExitStack() as stack:
            place = url or stack.enter_context(Journal.open(own, folder, name))
            yield _open(name, place, directions)
    except Timeout:
        raise InputError(
            f"study {name!r} is being run by another process",
            where=str(folder),
            accepted="one driver per study, or another --study",
        ) from None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_slot(value: Any) -> bool:
    """Attributes of a new trial, which has its slot from the start."""
    return isinstance(value, dict) and _is_count(value.get("slot"))


def _is_change(value: Any) -> bool:
    return isinstance(value, dict) and _is_count(value.get("slot", 0))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_values(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and value != [] and all(map(_is_number, value))
    )


def _of(*accepted: Any) -> Callable[[Any], bool]:
    """A check: of one of some types, or equal to one of some values of its own type."""
    return lambda value: any(
        isinstance(value, one)
        if isinstance(one, type)
        else type(value) is type(one) and value == one
        for one in accepted
    )


_TEXT, _TABLE = _of(str), _of(dict)
#: Fields by Optuna's number of the change; none deletes a study.
_ENTRIES: dict[int, dict[str, Callable[[Any], bool]]] = {
    0: {"study_name": _TEXT, "directions": _of([1], [2], [1, 2], [2, 1])},
    2: {"study_id": _is_count, "user_attr": _TABLE},
    3: {"study_id": _is_count, "system_attr": _TABLE},
    4: {"study_id": _is_count, "user_attrs": _is_slot,
        "state": _of(int(TrialState.RUNNING), int(TrialState.WAITING))},
    5: {"trial_id": _is_count, "param_name": _TEXT, "param_value_internal": _is_number,
        "distribution": _TEXT},
    6: {"trial_id": _is_count, "state": _of(*map(int, TrialState)), "values": _is_values},
    7: {"trial_id": _is_count, "step": _is_count, "intermediate_value": _is_number},
    8: {"trial_id": _is_count, "user_attr": _is_change},
    9: {"trial_id": _is_count, "system_attr": _TABLE},
}  # fmt: skip


def _is_entry(log: Any) -> bool:
    """Whether a value is an entry as Optuna writes it: fields of its kinds, numbers that fit."""
    return (
        isinstance(log, dict)
        and type(log.get("op_code")) is int
        and log["op_code"] in _ENTRIES
        and isinstance(log.get("worker_id"), str)
        and all(check(log.get(name)) for name, check in _ENTRIES[log["op_code"]].items())
        and not (log["op_code"] == 6 and log["state"] == TrialState.COMPLETE and not log["values"])
        and not any_wide(log)
    )


class Journal(BaseJournalBackend):
    """Optuna's journal in a file that is held open: a line of JSON per change, as Optuna's own
    back end writes it.

    Args:
        handle: The file, open for reading and appending. Half a line at its end is cut off.
        where: Its path, for messages.
    """

    def __init__(self, handle: int, where: str) -> None:
        self._file = os.fdopen(handle, "r+b")
        self.where = where
        data = self._file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise InputError(
                f"is larger than {_LONGEST >> 20} MiB", where=where, accepted="a journal as written"
            )
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            self._file.truncate(len(whole))
        self._logs: list[dict[str, Any]] = []
        for line in whole.splitlines():
            self._logs.append(self._parsed(line))

    @classmethod
    @contextmanager
    def open(cls, own: OwnFolder, folder: Path, name: str) -> Iterator[Journal]:
        """The journal of a study; made where it is missing."""
        path = journal_path(folder, name)
        journal = cls(own.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), str(path))
        try:
            yield journal
        finally:
            journal._file.close()

    def _parsed(self, line: bytes | str) -> dict[str, Any]:
        try:
            log = json.loads(line)
            fits = _is_entry(log)
            canonical(log)  # no NaN
        except (ValueError, RecursionError):
            fits = False
        if not fits:
            what = f"the study cannot be opened (line {len(self._logs) + 1} is no journal entry)"
            raise InputError(what, where=self.where, accepted=_ACCEPTED)
        return dict(log)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """Entries from a number on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Writes entries to the disk."""
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._logs += map(self._parsed, lines)


def _open(name: str, place: str | Journal, directions: Sequence[Direction]) -> optuna.Study:
    where = place if isinstance(place, str) else place.where
    try:
        storage: str | BaseStorage
        if isinstance(place, Journal):
            storage = JournalStorage(place)
        else:
            _not_mlflow(place)
            storage = optuna.storages.get_storage(place)
        return optuna.create_study(
            study_name=name, storage=storage, directions=directions, load_if_exists=True
        )
    except InputError:
        raise
    except Exception as error:  # Optuna lets every error of its back ends through
        line = " ".join(str(error).split())[:200]
        raise InputError(
            f"the study cannot be opened ({type(error).__name__}: {line})",
            where=where, accepted=_ACCEPTED,
        ) from None  # fmt: skip


def _not_mlflow(url: str) -> None:
    """Refuses MLflow's database: two programs that migrate one database break each other.

    Raises:
        InputError: The database holds MLflow's tables, or has a journal that removes other files.
    """
    scheme, _, rest = url.partition("///")
    path = Path(rest)
    if not scheme.startswith("sqlite") or not path.is_file():
        return
    check_journal(path)
    with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.DatabaseError):
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if {"experiments", "runs"} <= {name for (name,) in rows}:
            raise InputError(
                "this database belongs to MLflow", where=url, accepted="a database of its own"
            )


def declared(study: optuna.Study) -> dict[str, Any] | None:
    """The declaration that a study was started with."""
    found: dict[str, Any] | None = study.user_attrs.get(_SETTINGS)
    return found


def declare(study: optuna.Study, content: dict[str, Any]) -> None:
    """Declares a new study, or checks that an existing one has the same declaration.

    Raises:
        InputError: A difference, which is named.
    """
    old = declared(study)
    if old is None and not study.trials:
        study.set_user_attr(_SETTINGS, content)
        return
    found = first_difference(old or {}, content)
    if found is not None:
        path, was, now = found
        raise InputError(
            f"study {study.study_name!r} was started with {path} = {_show(was)}, not {_show(now)}",
            where="tune",
            accepted="the command it was started with, or another --study",
        )


def _show(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."
