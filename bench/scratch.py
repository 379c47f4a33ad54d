"""Temporary files and folders of a results folder, and how they become visible whole."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prunebench.bench.machine import alive, here
from prunebench.errors import FolderError, InputError
from prunebench.record import write_atomic

_STALE_S = 3600.0
_FOREIGN_STALE_S = 7 * 86400.0


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Around whatever writes to a results folder.

    Args:
        path: What is written, for the message.

    Raises:
        FolderError: The system refuses.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or f"a file was cut short: {error}"  # so says numpy
        raise FolderError.of(path, why) from error


class Scratch:
    """The folder ``.tmp`` of a results folder; names in it tell who made them.

    Args:
        root: The results folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / ".tmp"

    def path(self, prefix: str) -> Path:
        """A fresh name that tells its maker, so that others know when it is abandoned."""
        me = here()
        name = f"{prefix}~{me.machine}~{me.pid}~{me.start}~{secrets.token_hex(6)}"
        return self.folder / name

    @contextmanager
    def work(self, prefix: str) -> Iterator[Path]:
        """A fresh folder, removed at the end unless it was published."""
        path = self.path(prefix)
        with storing(path):
            path.mkdir(parents=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file atomically; temporaries meet here, so that cleaning is one listing.

        Raises:
            FolderError: It cannot be written.
        """
        temporary = self.path("file")
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(temporary, data)
            try:
                os.replace(temporary, path)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                write_atomic(path, data)  # a part of the results folder is a link to another disk
            finally:
                temporary.unlink(missing_ok=True)

    def publish(self, tmp: Path, final: Path) -> None:
        """Renames a finished folder into place; see ``Store.publish_folder``."""
        root = self.root.resolve()
        if root not in (final.parent.resolve() / final.name).parents or final.name == "..":
            raise InputError("lies outside the results folder", where=str(final))
        final.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                os.rename(tmp, final)
                return
            except OSError as error:
                taken = error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
                if not taken or not tmp.is_dir():
                    raise
            trash = self.path("trash")
            with suppress(FileNotFoundError):
                os.rename(final, trash)
            remove(trash)

    def clean(self) -> None:
        """Removes temporaries older than an hour whose maker is dead, or unknown and silent.

        The hour is that of the file system: this machine's clock may be wrong.
        """
        mark = self.path("clock")
        mark.touch()
        now = mark.stat().st_mtime
        mark.unlink()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    age = now - entry.stat(follow_symlinks=False).st_mtime
                    if age > _STALE_S and _abandoned(entry, age):
                        remove(Path(entry.path))


def _abandoned(entry: os.DirEntry[str], age: float) -> bool:
    parts = entry.name.lstrip(".").split("~")
    if len(parts) >= 5 and parts[1] == here().machine and parts[2].isdigit():
        return not alive(int(parts[2]), parts[3])
    # A file is written within seconds; a folder of another machine may collect for hours.
    return age > _FOREIGN_STALE_S or not entry.is_dir(follow_symlinks=False)


def remove(path: Path) -> None:
    """Deletes a file or a folder; what is gone already is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
