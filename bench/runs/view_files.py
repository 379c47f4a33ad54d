"""Views of a scoring run between the epoch that took them and the run's end: files beside its
checkpoint, which holds no more of them than their digests."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from prunebench.bench.results.atomic import folder_errors
from prunebench.bench.runs.checkpoint_file import DamagedCheckpoint
from prunebench.files import OwnFolder

_AT_ONCE = 1 << 20


class ViewFiles:
    """The arrays of one run, each in the npy file that its evidence will hold.

    A file is whole before the checkpoint that names it is written, and stays until the run is
    recorded; one that no checkpoint names is written again by the epoch that takes it.

    Args:
        folder: ``Store.checkpoint_path`` of the run.
        writes: False in processes that only train along; nothing is kept of what they compute.
    """

    def __init__(self, folder: Path, writes: bool = True) -> None:
        self.folder, self.writes = folder, writes
        self._own = OwnFolder(folder.parents[1])

    def add(self, name: str, values: Tensor) -> str:
        """Writes an array atomically.

        Args:
            name: Of the array.
            values: The array.

        Returns:
            SHA-256 of the file, in hex; empty where this process writes nothing.

        Raises:
            FolderError: It cannot be written.
        """
        if not self.writes:
            return ""
        file = io.BytesIO()
        np.save(file, values.cpu().numpy(), allow_pickle=False)
        data = file.getvalue()
        path = self._path(name)
        with folder_errors(path):
            self._own.write(path, data)
        return hashlib.sha256(data).hexdigest()

    def check(self, name: str, digest: str) -> None:
        """Looks whether an array is there as it was written.

        Raises:
            DamagedCheckpoint: It is missing or was changed.
        """
        for _ in self._parts(name, digest):
            pass

    def copy(self, name: str, digest: str, folder: Path) -> None:
        """Copies the file of an array into a folder, a part at a time.

        Raises:
            DamagedCheckpoint: It is missing or was changed.
            OSError: The copy cannot be written.
        """
        with open(folder / self._path(name).name, "wb") as file:
            for part in self._parts(name, digest):
                file.write(part)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _parts(self, name: str, digest: str) -> Iterator[bytes]:
        """The content of a file; it is known to be whole once the last part is read."""
        path, found = self._path(name), hashlib.sha256()
        try:
            with os.fdopen(self._own.open(path, os.O_RDONLY), "rb") as file:
                while part := file.read(_AT_ONCE):
                    found.update(part)
                    yield part
        except OSError as error:
            raise DamagedCheckpoint(f"{path}: cannot be read ({error.strerror})") from None
        if found.hexdigest() != digest:
            raise DamagedCheckpoint(f"{path}: changed since the run wrote it")
