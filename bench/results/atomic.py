"""Temporary files and folders of a results folder, and how they become visible whole."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from prunebench.bench.results.process import alive, this_process
from prunebench.errors import FolderError
from prunebench.files import OwnFolder

_STALE_S = 3600.0
_FOREIGN_STALE_S = 7 * 86400.0


@contextmanager
def folder_errors(path: Path) -> Iterator[None]:
    """Turns an ``OSError`` of the enclosed statements into a ``FolderError``.

    Args:
        path: What is written, for the message.

    Raises:
        FolderError: The system refuses.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or f"a file was cut short: {error}"  # an error of numpy
        raise FolderError.of(path, why) from error


def lock_file(own: OwnFolder, path: Path, timeout_s: float) -> FileLock:
    """A lock on a file of a results folder; the file is never removed.

    Raises:
        InputError: A link, a pipe or a device is in its place.
    """
    own.check(path)
    return FileLock(path, timeout=timeout_s)  # opened with O_NOFOLLOW


class TemporaryFiles:
    """The folder ``.tmp`` of a results folder; each name in it holds the process that made it.

    Args:
        root: The results folder.
    """

    def __init__(self, root: Path) -> None:
        self.folder, self._own = root / ".tmp", OwnFolder(root)

    def path(self, prefix: str) -> Path:
        """A new name that holds this process, so that others see when it is abandoned."""
        me = this_process()
        name = f"{prefix}~{me.machine}~{me.pid}~{me.start}~{secrets.token_hex(6)}"
        return self.folder / name

    @contextmanager
    def work(self, prefix: str) -> Iterator[Path]:
        """A fresh folder, removed at the end unless it was published."""
        path = self.path(prefix)
        with folder_errors(path):
            self._own.make_new(path)
        try:
            yield path
        finally:
            with suppress(OSError):
                self._own.remove(path)

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file atomically. All temporary files lie in one folder: one listing finds them.

        Raises:
            FolderError: It cannot be written.
        """
        with folder_errors(path):
            self._own.write(path, data, staging=self.path("file"))

    def publish(self, tmp: Path, final: Path) -> None:
        """Renames a finished folder into place; see ``Store.publish_folder``."""
        while True:
            try:
                self._own.rename(tmp, final)
                return
            except OSError as error:
                taken = error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
                if not taken or not tmp.is_dir():
                    raise
            trash = self.path("trash")
            with suppress(FileNotFoundError):
                self._own.rename(final, trash)
            self._own.remove(trash)

    def remove_stale(self) -> None:
        """Removes what is older than an hour and whose maker has ended, or cannot be known.

        The hour is that of the file system: this machine's clock may be wrong.
        """
        probe = self.path("clock")
        handle = self._own.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            now = os.fstat(handle).st_mtime
        finally:
            os.close(handle)
        self._own.remove(probe)
        for name, found in self._own.entries(self.folder):
            age = now - found.st_mtime
            if age > _STALE_S and _abandoned(name, stat.S_ISDIR(found.st_mode), age):
                with suppress(OSError):
                    self._own.remove(self.folder / name)


def _abandoned(name: str, folder: bool, age: float) -> bool:
    parts = name.lstrip(".").split("~")
    if len(parts) >= 5 and parts[1] == this_process().machine and parts[2].isdigit():
        return not alive(int(parts[2]), parts[3])
    # A file is written within seconds; a folder of another machine may collect for hours.
    return age > _FOREIGN_STALE_S or not folder
