"""Results that travel: flat folders as bytes, from a node's own results folder to the driver's.

Nothing here needs torch, so that the processes that relay stay small.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from prunebench.bench.results.names import check_name, is_key
from prunebench.bench.results.store import Store

Files = dict[str, bytes]
MANIFEST = "manifest.json"


def read_files(folder: Path) -> Files | None:
    """Content by name of a flat folder, half-written files left out; None where there is none."""
    files: Files = {}
    try:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                with suppress(FileNotFoundError):
                    files[path.name] = path.read_bytes()
    except FileNotFoundError:
        return None
    return files


def write_files(store: Store, final: Path, files: Files) -> None:
    """Makes a folder of a results folder, whole at once.

    Raises:
        InputError: A name is no file name.
    """
    for name in files:
        check_name(name)
    with store.temporary_folder("parcel") as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        store.publish_folder(folder, final)


def stamp(files: Files) -> str:
    """What tells one recording of evidence from another: its manifest holds every digest."""
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

    def has(self, key: str, mark: str) -> bool:
        """Whether a recording of evidence lies here."""
        return (self._known / f"{key}-{mark}").exists()

    def take_in(self, key: str, files: Files) -> None:
        """Stores evidence that the driver has."""
        write_files(self.store, self.store.evidence_path(key), files)
        self._note(key, files)

    def _note(self, key: str, files: Files) -> None:
        self.store.own.write(self._known / f"{key}-{stamp(files)}", b"")

    def resume(self, key: str, checkpoint: Files) -> None:
        """Stores the checkpoint of a cell that was begun elsewhere."""
        folder = self.store.checkpoint_path(key)
        if not folder.exists():
            write_files(self.store, folder, checkpoint)

    def checkpoint(self, key: str) -> Files | None:
        """A cell's checkpoint, unless it has been handed out before."""
        folder = self.store.checkpoint_path(key)
        try:
            age = max(path.stat().st_mtime_ns for path in folder.glob("[!.]*"))
        except (FileNotFoundError, ValueError):
            return None
        if self._sent.get(key) == age:
            return None
        self._sent[key] = age
        return read_files(folder) or None

    def hand_out(self, keys: list[str]) -> dict[str, Any]:
        """Everything new: records with their artifacts, which leave this folder, and evidence.

        Args:
            keys: Cells whose records may be here.
        """
        records: dict[str, tuple[bytes, Files]] = {}
        for key in keys:
            with suppress(FileNotFoundError):
                path = self.store.records / f"{key}.json"
                records[key] = (path.read_bytes(), read_files(self.store.artifacts / key) or {})
                self.store.own.remove(path)
                with suppress(OSError):
                    self.store.own.remove(self.store.artifacts / key)
        evidence: dict[str, Files] = {}
        for folder in sorted((self.store.root / "evidence").iterdir()):
            files = read_files(folder) if is_key(folder.name) else None
            if files and MANIFEST in files and not self.has(folder.name, stamp(files)):
                evidence[folder.name] = files
                self._note(folder.name, files)
        return {"records": records, "evidence": evidence}
