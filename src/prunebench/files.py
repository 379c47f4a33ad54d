"""Files that appear whole, and folders in which no link leads anywhere else."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from operator import or_
from pathlib import Path
from typing import IO

from prunebench.errors import InputError


def _flags(*names: str) -> int:
    """Flags of ``os.open``; those that this system lacks count as 0."""
    return reduce(or_, (getattr(os, f"O_{name}", 0) for name in names))


_NO_LINK = _flags("NOFOLLOW")
_HAS_OPEN_FOLDERS = os.open in os.supports_dir_fd
_FOLDER = _flags("RDONLY", "DIRECTORY", "CLOEXEC")
#: Opening a pipe must not block, opening a terminal must not make it the process's own.
_CALM = _flags("NONBLOCK", "NOCTTY", "CLOEXEC", "BINARY")


def _open_folder(path: Path) -> int:
    """A descriptor of a folder.

    Raises:
        InputError: This system cannot open files within an open folder, as Windows cannot.
    """
    if not _HAS_OPEN_FOLDERS:
        raise InputError(
            f"{sys.platform} cannot write without following links", where=str(path),
            accepted="Linux, macOS, or the Windows Subsystem for Linux",
        )  # fmt: skip
    return os.open(path, _FOLDER)


def open_regular(path: str | Path, *, folder: int | None = None, follow: bool = True) -> int:
    """Opens a file for reading; pipes, devices and sockets are not opened.

    Args:
        path: The file, relative to ``folder`` where one is given.
        folder: Descriptor of an open folder.
        follow: Whether the last part of the path may be a link.

    Returns:
        A descriptor, which the caller closes.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    _need_regular(os.stat(path, dir_fd=folder, follow_symlinks=follow), path)
    flags = os.O_RDONLY | _CALM | (0 if follow else _NO_LINK)
    return _checked(os.open(path, flags, dir_fd=folder), path)


def read_at_most(path: str | Path, size: int) -> bytes:
    """The first ``size`` + 1 bytes of a regular file.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        there = os.fstat(file.fileno()).st_size  # a record may claim any number
        return file.read(min(max(0, size), there) + 1)


def _need_regular(found: os.stat_result, path: str | Path) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "is a link", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ENXIO, "is no regular file", str(path))


def _checked(handle: int, path: str | Path) -> int:
    try:
        _need_regular(os.fstat(handle), path)
    except OSError:
        os.close(handle)
        raise
    return handle


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` once it is whole; its folder is made.

    A reader sees the old content or the new one, never a part. A link at ``path`` is replaced, not
    followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = _open_folder(path.parent)
    try:
        with _replacing(path.name, folder, folder, f".{path.name[:100]}.{_random()}.tmp") as file:
            yield file
    except OSError as error:
        if error.filename is None or os.sep not in os.fsdecode(error.filename):
            error.filename = str(path)
        raise
    finally:
        os.close(folder)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file so that a reader sees the old bytes or the new ones, never a part."""
    with replacing(path) as file:
        file.write(data)


def _random() -> str:
    return secrets.token_hex(6)


@contextmanager
def _replacing(name: str, folder: int, staging: int, temporary: str) -> Iterator[IO[bytes]]:
    """The one atomic writer: ``temporary`` is made in one open folder and renamed into another."""
    flags = _flags("RDWR", "CREAT", "EXCL", "NOFOLLOW", "CLOEXEC")
    handle = os.open(temporary, flags, 0o666, dir_fd=staging)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=staging, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=staging)
        raise


def is_private(folder: Path) -> bool:
    """Whether a path is a folder, no link, that only this user owns and can open."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    user = os.geteuid() if hasattr(os, "geteuid") else None  # Windows has no user ids
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == user
    return mine and not stat.S_IMODE(found.st_mode) & 0o077


def private_folder(folder: Path, shared: bool = False) -> Path:
    """Makes a folder for this user alone, in a place where everybody may write.

    Args:
        folder: The folder.
        shared: Whether another process of this user may have made it already.

    Raises:
        InputError: Somebody else has put something there.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not (shared and is_private(folder)):
            raise InputError(
                "is there already, and not a folder of this user alone", where=str(folder),
                accepted="nothing of that name; TMPDIR chooses another place",
            ) from None  # fmt: skip
    return folder


class OwnFolder:
    """A folder that may come from somebody else. What is written, renamed or removed in it is
    reached through open folders, one part of the path after the other, and never through a link;
    the path of the folder itself is the user's and may hold links.

    Every method takes paths that begin with the folder's own and raises ``InputError`` where a
    part of one is a link, ``OSError`` where the system refuses.

    Args:
        root: The folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def check(self, path: Path, levels: int = 0, unused: str | None = None) -> None:
        """Looks for links, pipes and devices before anything is written.

        Args:
            path: What is looked at; it may be missing.
            levels: How many levels of folders below it are looked at too.
            unused: Ending of names that nothing opens, whatever they are.

        Raises:
            InputError: There is one; the line names it.
        """
        with suppress(FileNotFoundError), self._within(path) as (folder, name):
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise _refusal(path, stat.S_ISLNK(mode))
            if levels and stat.S_ISDIR(mode):
                self._check_entries(path, levels, unused)

    def _check_entries(self, path: Path, levels: int, unused: str | None) -> None:
        inner: list[str] = []
        with self._within(path / "x") as (folder, _), os.scandir(folder) as entries:
            for entry in entries:  # a look at each name, no system call
                below = entry.is_dir(follow_symlinks=False)
                if not below and not entry.is_file(follow_symlinks=False):
                    if unused and entry.name.endswith(unused):
                        continue
                    raise _refusal(path / entry.name, entry.is_symlink())
                if below and levels > 1:
                    inner.append(entry.name)
        for name in inner:
            with suppress(FileNotFoundError):
                self._check_entries(path / name, levels - 1, unused)

    def make(self, path: Path) -> None:
        """Makes a folder and those above it where they are missing."""
        with self._within(path / "x", make=True):
            pass

    def make_new(self, path: Path) -> None:
        """Makes a folder that must not exist; those above it are made where they are missing.

        Raises:
            FileExistsError: Something of that name is there.
        """
        with self._within(path, make=True) as (folder, name):
            os.mkdir(name, dir_fd=folder)

    def write(self, path: Path, data: bytes, staging: Path | None = None) -> None:
        """Writes a file atomically; its folder is made.

        Args:
            path: The file.
            data: Its content.
            staging: Name of the temporary file; by default a hidden one beside ``path``. One on
                another file system is not used.
        """
        with self._within(path, make=True) as (folder, name):
            self._need_no_link(folder, name, path)
            beside = f".{name[:100]}.{_random()}.tmp"
            if staging is not None:
                with self._within(staging, make=True) as (place, temporary):
                    try:
                        with _replacing(name, folder, place, temporary) as file:
                            file.write(data)
                        return
                    except OSError as error:
                        if error.errno != errno.EXDEV:  # a part of the folder is a mount
                            raise
            with _replacing(name, folder, folder, beside) as file:
                file.write(data)

    def open(self, path: Path, flags: int) -> int:
        """Opens a regular file as ``os.open`` does; folders above it are made with ``O_CREAT``.

        Returns:
            A descriptor, which the caller closes.
        """
        with self._within(path, make=bool(flags & os.O_CREAT)) as (folder, name):
            self._need_no_link(folder, name, path)
            with suppress(FileNotFoundError):
                _need_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
            handle = os.open(name, flags | _CALM | _NO_LINK, 0o666, dir_fd=folder)
            return _checked(handle, path)

    def rename(self, old: Path, new: Path) -> None:
        """Renames a file or a folder; the folder that receives it is made."""
        with self._within(old) as (source, name), self._within(new, make=True) as (target, other):
            self._need_no_link(source, name, old)
            self._need_no_link(target, other, new)
            os.rename(name, other, src_dir_fd=source, dst_dir_fd=target)

    def remove(self, path: Path) -> None:
        """Removes a file, or a folder with all it holds; what is gone already is fine. Links in a
        folder go with it, what they lead to stays."""
        with suppress(FileNotFoundError), self._within(path) as (folder, name):
            self._need_no_link(folder, name, path)
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)

    def entries(self, path: Path, links: bool = False) -> list[tuple[str, os.stat_result]]:
        """Files and folders in a folder, by name; links, pipes and devices with ``links`` only."""
        found: list[tuple[str, os.stat_result]] = []
        with suppress(FileNotFoundError), self._within(path / "x") as (folder, _):
            for name in sorted(os.listdir(folder)):
                with suppress(FileNotFoundError):
                    one = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if links or stat.S_ISREG(one.st_mode) or stat.S_ISDIR(one.st_mode):
                        found.append((name, one))
        return found

    @contextmanager
    def _within(self, path: Path, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder of a path, and the path's last part."""
        inner = path.relative_to(self.root).parts if path.is_relative_to(self.root) else ()
        if not inner or ".." in inner:
            raise InputError("lies outside the folder", where=str(path), accepted=str(self.root))
        *parts, name = inner
        if make and not self.root.is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
        folder, above = _open_folder(self.root), self.root
        try:
            for part in parts:
                above /= part
                below = self._enter(folder, part, above, make)
                os.close(folder)
                folder = below
            yield folder, name
        finally:
            os.close(folder)

    def _enter(self, folder: int, name: str, path: Path, make: bool) -> int:
        try:
            return os.open(name, _FOLDER | _NO_LINK, dir_fd=folder)
        except FileNotFoundError:
            if not make:
                raise
        except OSError:
            self._need_no_link(folder, name, path)
            raise
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        return self._enter(folder, name, path, make=False)

    def _need_no_link(self, folder: int, name: str, path: Path) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise _refusal(path)


def _refusal(path: Path, link: bool = True) -> InputError:
    what = "a link" if link else "a pipe, a device or a socket"
    return InputError(
        f"is {what}; nothing is written or removed there", where=str(path),
        accepted="real files and folders (the path of the whole folder may be a link)",
    )  # fmt: skip
