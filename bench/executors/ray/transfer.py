"""Results as bytes: from the results folder of a node to the driver's, and back.

Nothing here needs torch, so that the processes of the actors stay small.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.bench.results.names import STATE, check_name, is_key
from prunebench.bench.results.store import Store
from prunebench.files import is_private, private_folder

#: Content of a flat folder by file name.
Files = dict[str, bytes]
MANIFEST = "manifest.json"
_ABANDONED_S = 86400.0


@dataclass(frozen=True)
class JobFiles:
    """What a node needs beside a job.

    Attributes:
        evidence: Digest of the manifest and a Ray reference to the files, by key.
        checkpoint: Of an earlier attempt.
    """

    evidence: dict[str, tuple[str, list[Any]]]
    checkpoint: Files | None


@dataclass(frozen=True)
class NewResults:
    """What a node has made.

    Attributes:
        records: Record and artifacts by key.
        evidence: Files by key.
    """

    records: dict[str, tuple[bytes, Files]]
    evidence: dict[str, Files]


def run_folder(kind: str, name: str, longest: int = 4096, shared: bool = False) -> Path:
    """A private folder for one run on this machine; those unused for a day are removed.

    Args:
        kind: First part of the folder's name.
        name: Second part, different for every run.
        longest: Characters that the path of the temporary folder may have; /tmp replaces it else.
        shared: Whether another process of the run may have made it already.

    Raises:
        InputError: Somebody else has put something there.
    """
    place = Path(tempfile.gettempdir())
    if len(str(place)) > longest:
        place = Path("/tmp")
    for old in place.glob(f"{kind}-*"):
        with suppress(OSError):
            if is_private(old):
                used = max(one.lstat().st_mtime for one in (old, *old.rglob("*")))
                if time.time() - used > _ABANDONED_S:
                    shutil.rmtree(old, ignore_errors=True)
    return private_folder(place / f"{kind}-{name}", shared)


def read_files(folder: Path) -> Files | None:
    """Content of a flat folder without its temporary files; None where there is no folder."""
    files: Files = {}
    try:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                with suppress(FileNotFoundError):
                    files[path.name] = path.read_bytes()
    except FileNotFoundError:
        return None
    return files


def read_checkpoint(folder: Path) -> Files | None:
    """A checkpoint with the files that it names; None where there is none.

    A run may be writing beside this. The files that a checkpoint names are there before it, so
    that it is read first.
    """
    try:
        state = (folder / STATE).read_bytes()
    except OSError:
        return None
    return {**(read_files(folder) or {}), STATE: state}


def write_files(store: Store, final: Path, files: Files) -> None:
    """Makes a folder of a results folder, all files at once.

    Raises:
        InputError: A name is no file name.
    """
    for name in files:
        check_name(name)
    with store.temporary_folder("transfer") as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        store.publish_folder(folder, final)


def manifest_digest(files: Files) -> str:
    """Differs between two recordings of evidence: the manifest holds the digests of all files."""
    return hashlib.sha256(files.get(MANIFEST, b"")).hexdigest()[:16]


class StagingFolder:
    """The results folder of a node that cannot see the driver's; its workers share it.

    Args:
        root: The folder; made here.
    """

    def __init__(self, root: Path) -> None:
        self.store = Store.open(root)
        self._known = root / "known"
        self.store.own.make(self._known)
        self._sent: dict[str, int] = {}

    def has_evidence(self, key: str, digest: str) -> bool:
        """Whether the evidence with this manifest is here, or has been sent to the driver."""
        return (self._known / f"{key}-{digest}").exists()

    def add_evidence(self, key: str, files: Files) -> None:
        """Stores evidence that the driver has."""
        write_files(self.store, self.store.evidence_path(key), files)
        self._note(key, files)

    def add_checkpoint(self, key: str, checkpoint: Files) -> None:
        """Stores the checkpoint of a cell that another node began, unless this one is as far."""
        folder = self.store.checkpoint_path(key)
        if not (folder / STATE).exists():
            write_files(self.store, folder, checkpoint)

    def new_checkpoint(self, key: str) -> Files | None:
        """A cell's checkpoint, unless this call has returned it before."""
        folder = self.store.checkpoint_path(key)
        try:
            age = (folder / STATE).stat().st_mtime_ns
        except OSError:
            return None
        if self._sent.get(key) == age:
            return None
        self._sent[key] = age
        return read_checkpoint(folder)

    def take_results(self, keys: list[str]) -> NewResults:
        """Records with their artifacts, which leave this folder, and evidence that is new.

        Args:
            keys: Cells whose records may be here.
        """
        results = NewResults({}, {})
        for key in keys:
            with suppress(FileNotFoundError):
                path = self.store.records / f"{key}.json"
                artifacts = self.store.artifacts / key
                results.records[key] = (path.read_bytes(), read_files(artifacts) or {})
                self.store.own.remove(path)
                with suppress(OSError):
                    self.store.own.remove(artifacts)
        for folder in sorted((self.store.root / "evidence").iterdir()):
            key = folder.name
            files = read_files(folder) if is_key(key) else None
            if files and MANIFEST in files and not self.has_evidence(key, manifest_digest(files)):
                results.evidence[key] = files
                self._note(key, files)
        return results

    def _note(self, key: str, files: Files) -> None:
        self.store.own.write(self._known / f"{key}-{manifest_digest(files)}", b"")
