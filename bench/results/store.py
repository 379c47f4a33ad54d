"""The results folder: records, and everything else under the keys of its records.

Every file becomes visible whole, by a rename on one file system, so that readers need no lock
and a killed writer leaves at most a temporary file behind.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prunebench.bench.results.atomic import TemporaryFiles, folder_errors
from prunebench.bench.results.collector import collector_paused
from prunebench.bench.results.names import cell_folder, check_key, check_name, is_key
from prunebench.errors import InputError
from prunebench.files import OwnFolder, open_regular, read_at_most
from prunebench.record import FINAL, NewerRecord, Record, RecordError, parse

FOLDERS = ("records", "artifacts", "evidence", "claims", "checkpoints", "quarantine", ".tmp")
_SIZE_LIMIT = 1 << 20
#: Everything that is written in a results folder, with the levels below that are looked at for
#: links beforehand; ``artifacts/<key>`` only where a cell is to be run, for there are many.
_WRITTEN = {
    "records": 1, "artifacts": 1, "evidence": 2, "claims": 1, "checkpoints": 2, "quarantine": 0,
    ".tmp": 1, "logs": 1, "planned": 1, "leaderboard": 2, "report": 2, "tuning": 1, "known": 1,
    "mlartifacts": 2, "mlflow.lock": 0, "mlflow.json": 0,
    **{f"mlflow.db{more}": 0 for more in ("", "-journal", "-wal", "-shm")},
}  # fmt: skip
#: Optuna's lock is a link by design; a killed study of an earlier version may have left one.
_UNUSED = ".journal.lock"


@dataclass(frozen=True)
class Problem:
    """A file among the records that is no valid record, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Scan:
    """What a results folder holds: the valid records sorted by key, and the rest."""

    records: list[Record]
    problems: list[Problem]


class Store:
    """A results folder. Cheap to make: it holds nothing but its path.

    Args:
        root: The folder; ``Store.open`` creates and checks it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.records = self.root / "records"
        self.artifacts = self.root / "artifacts"
        self.claims = self.root / "claims"
        self.own = OwnFolder(self.root)
        self._temporary = TemporaryFiles(self.root)

    @classmethod
    def open(cls, path: str | Path, create: bool = True) -> Store:
        """Opens a results folder and clears what killed writers left more than an hour ago.

        Args:
            path: The folder.
            create: Make it where it is missing and insist that it can be written. False opens an
                existing one for reading and changes nothing.

        Raises:
            InputError: It cannot be created or written, holds links where files are written, or
                (``create=False``) is no such folder.
        """
        store = cls(Path(path))
        if not create:
            if not store.records.is_dir():
                raise InputError(
                    "is no results folder", where=str(path), accepted="a folder with records/"
                )
            return store
        try:
            store.check()
            for name in FOLDERS:
                store.own.make(store.root / name)
            for folder in (store.records, store._temporary.folder):
                probe = folder / f".{store._temporary.path('probe').name}.tmp"
                os.close(store.own.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                store.own.remove(probe)
            store._temporary.remove_stale()
        except OSError as error:
            raise InputError(
                f"the results folder cannot be written ({error.strerror or error})",
                where=str(path),
                accepted="a writable folder, or a place where one can be made",
            ) from None
        return store

    def check(self) -> None:
        """Looks for links, pipes and devices where this program writes or removes.

        Raises:
            InputError: There is one; the line names it.
        """
        for name, levels in _WRITTEN.items():
            self.own.check(self.root / name, levels, _UNUSED)

    def check_artifacts(self, keys: Iterable[str]) -> None:
        """As ``check``, of the artifacts of cells that are to be run."""
        for key in keys:
            self.own.check(self.artifacts / check_key(key), 1)

    def get(self, key: str) -> Record | None:
        """The record of a key, or None where there is none.

        Raises:
            RecordError: The file is torn, edited or unreadable.
        """
        path = self._record_path(key)
        try:
            return _read(str(path), key)
        except FileNotFoundError:
            if path.is_symlink():
                raise RecordError("is a dangling link", where=str(path)) from None
            return None
        except OSError as error:
            raise RecordError(f"cannot be read ({error.strerror})", where=str(path)) from None

    def save(self, record: Record, artifacts: Mapping[str, bytes] | None = None) -> Record:
        """Writes artifacts first, then the record that names them by digest.

        Args:
            record: Artifacts it names already stay named.
            artifacts: File name -> content, below ``artifacts/<key>/``.

        Returns:
            The sealed record as it lies on disk.

        Raises:
            InputError: A malformed key or artifact name; nothing is written then.
            FolderError: It cannot be written.
        """
        path, files = self._record_path(record.key), dict(artifacts or {})
        paths = {name: self.artifact_path(record.key, name) for name in files}
        named: dict[str, dict[str, Any]] = dict(record.artifacts)
        for name, data in files.items():
            self._temporary.write(paths[name], data)
            named[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        sealed = replace(record, artifacts=named).sealed()
        self._temporary.write(path, (sealed.dumps() + "\n").encode())
        return sealed

    def artifact(self, key: str, name: str) -> bytes:
        """The content of an artifact, checked against its record.

        Raises:
            RecordError: No such record or artifact, or its bytes are not the recorded ones.
        """
        path = self.artifact_path(key, name)
        record = self.get(key)
        if record is None or name not in record.artifacts:
            known = ", ".join(sorted(record.artifacts)) if record else "no record of this key"
            raise RecordError(f"no artifact {name!r}", where=key, accepted=known or "none")
        try:
            data = read_at_most(path, record.artifacts[name]["bytes"])
        except OSError as error:
            raise RecordError(f"cannot be read ({error.strerror})", where=str(path)) from None
        if hashlib.sha256(data).hexdigest() != record.artifacts[name].get("sha256"):
            raise RecordError("digest mismatch: the artifact was edited or torn", where=str(path))
        return data

    def artifact_path(self, key: str, name: str) -> Path:
        """Where an artifact lies; ``artifact`` reads it with its digest checked."""
        return cell_folder(self.artifacts, key) / check_name(name)

    def keys(self) -> set[str]:
        """Keys that have a record file, whole or not; reads no content."""
        return {name[:-5] for name in self._names() if _is_record_name(name)}

    def scan(self) -> Scan:
        """Reads every record. Bad files become problems; none of them raises."""
        records: list[Record] = []
        problems: list[Problem] = []
        with collector_paused():
            for name in sorted(self._names()):
                path = os.path.join(self.records, name)
                if not _is_record_name(name):
                    problems.append(Problem(Path(path), "not named as a record"))
                    continue
                try:
                    records.append(_read(path, name[:-5]))
                except FileNotFoundError:
                    if os.path.islink(path):
                        problems.append(Problem(Path(path), "is a dangling link"))
                except RecordError as error:
                    problems.append(Problem(Path(path), error.what))
                except OSError as error:
                    problems.append(Problem(Path(path), f"cannot be read ({error.strerror})"))
        return Scan(records, problems)

    def quarantine(self, path_or_key: str | Path, reason: str) -> Path:
        """Moves a record and its artifacts aside, with the reason beside them.

        Args:
            path_or_key: A key, or a file in ``records/`` as ``scan`` reports it.
            reason: Written to ``reason.json``.

        Returns:
            Its folder there.

        Raises:
            InputError: Nothing of that name lies in the folder.
        """
        path = Path(path_or_key)
        if isinstance(path_or_key, str) and is_key(path_or_key):
            path = self._record_path(path_or_key)
        if path.parent.resolve() != self.records.resolve() or path.name in ("", ".."):
            raise InputError("is no record", where=str(path), accepted=f"a file in {self.records}")
        artifacts = self.artifacts / path.stem if is_key(path.stem) else None
        if not os.path.lexists(path) and not (artifacts and artifacts.is_dir()):
            raise InputError("nothing to quarantine", where=str(path))
        # The record goes last: where this is broken off, the key is still there to be moved again.
        own = {path.name: self.records / path.name}
        parts = {"artifacts": artifacts, **own} if artifacts else own
        return self._move_aside(parts, path.stem, reason)

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file of the results folder whole or not at all.

        Raises:
            FolderError: It cannot be written.
        """
        self._temporary.write(path, data)

    def set_aside(self, folder: Path, reason: str) -> None:
        """Moves an evidence folder, checkpoint or plan to ``quarantine/<kind>-<key>.<n>/``.

        Args:
            folder: As ``evidence_path`` and ``checkpoint_path`` give it; missing is fine.
            reason: Written beside it, to ``reason.json``.
        """
        if os.path.lexists(folder):
            kind = folder.parent.name
            self._move_aside({kind: folder}, f"{kind}-{folder.name}", reason)

    def _move_aside(self, parts: Mapping[str, Path], stem: str, reason: str) -> Path:
        """Moves paths, in order, to a new folder under the names given; the last names it."""
        with folder_errors(self.root / "quarantine"):
            aside = self._unique(stem)
            source = str(list(parts.values())[-1])
            note = {"from": source, "reason": reason, "time": time.time()}
            self.own.write(aside / "reason.json", (json.dumps(note) + "\n").encode())
            for name, path in parts.items():
                with suppress(FileNotFoundError):  # another process was quicker
                    self.own.rename(path, aside / name)
        return aside

    def _unique(self, stem: str) -> Path:
        for number in itertools.count(1):
            path = self.root / "quarantine" / f"{stem}.{number}"
            with suppress(FileExistsError):
                self.own.make_new(path)
                return path
        raise AssertionError

    def remove_checkpoint(self, key: str) -> None:
        """Removes a cell's checkpoints, where there are any and they can be."""
        with suppress(OSError):
            self.own.remove(self.checkpoint_path(key))

    def checkpoint_path(self, key: str) -> Path:
        """Folder of a cell's checkpoints; made by whoever writes there."""
        return cell_folder(self.root / "checkpoints", key)

    def evidence_path(self, key: str) -> Path:
        """Folder of an evidence run, published whole."""
        return cell_folder(self.root / "evidence", key)

    def publish_folder(self, tmp: Path, final: Path) -> None:
        """Makes a finished folder visible under its name at once.

        Args:
            tmp: A folder from ``temporary_folder``.
            final: Its place inside the results folder. What was there is replaced; for the
                length of one rename nothing is there, never a mixture.

        Raises:
            InputError: ``final`` lies outside the results folder.
        """
        self._temporary.publish(Path(tmp), Path(final))

    def temporary_folder(self, prefix: str = "work") -> AbstractContextManager[Path]:
        """A temporary folder on the results folder's file system, removed at the end.

        Raises:
            InputError: The prefix is no file name.
        """
        return self._temporary.work(check_name(prefix))

    def _record_path(self, key: str) -> Path:
        return self.records / f"{check_key(key)}.json"

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.records) as entries:
                return [entry.name for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            why = f"cannot be listed ({error.strerror})"
            raise InputError(why, where=str(self.records)) from None


def _is_record_name(name: str) -> bool:
    return len(name) == 21 and name.endswith(".json") and is_key(name[:16])


def _read(path: str, key: str) -> Record:
    with os.fdopen(open_regular(path), "rb") as file:
        data = file.read(_SIZE_LIMIT)
    if len(data) == _SIZE_LIMIT:
        raise RecordError("is too large for a record", where=path)
    record = parse(data, path)
    if record.key != key:
        raise RecordError(f"file name differs from key {record.key}", where=path)
    return record


def final_record(store: Store, key: str, retry_failed: bool = False) -> Record | None:
    """The record of a cell that needs no further run; a damaged one is quarantined and counts as
    missing.

    Args:
        store: The results folder.
        key: Of the cell.
        retry_failed: Whether a failed cell is to be run again.

    Raises:
        NewerRecord: It is of a later format.
    """
    try:
        record = store.get(key)
    except RecordError as error:
        if isinstance(error, NewerRecord):
            raise
        with suppress(InputError):  # another process was quicker
            store.quarantine(key, str(error))
        return None
    if record is None:
        return None
    final = record.status in FINAL or (record.status == "failed" and not retry_failed)
    return record if final else None
