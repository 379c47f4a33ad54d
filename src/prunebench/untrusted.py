"""Files that may be hostile: paths that can be used, and what a small file may grow to in
memory."""

from __future__ import annotations

import errno
import gzip
import io
import math
import os
import stat
import unicodedata
import zipfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError

#: An archive may hold this much, and ``TIMES`` its own size beyond; deflate packs up to 1000 to 1.
PLENTY, TIMES = 1 << 26, 64
_HEADER_LIMIT = 65_536
#: Systems take 4096 bytes; names are joined to what users give.
_LONGEST_PATH = 3000


def user_path(text: str | Path, where: str = "") -> Path:
    """A path as a user or a file gives it, ``~`` expanded; it need not exist.

    Raises:
        InputError: No path here: an unknown home folder, a NUL, too long, or unreadable.
    """
    try:
        path = Path(text).expanduser()
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with suppress(FileNotFoundError, NotADirectoryError):
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ValueError("neither a file nor a folder")  # reading it might never end
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        shown = repr(str(text))
        shown = shown if len(shown) <= 200 else f"{shown[:197]}..."
        raise InputError(f"{shown} is no usable path ({reason})", where=where) from None
    return path


def check_archive(archive: zipfile.ZipFile, size: int, where: str) -> None:
    """Refuses zip archives (npz, torch) that unpack to far more than they are.

    Args:
        archive: Opened; nothing of it is read but its directory.
        size: Its bytes.
        where: Its path, for messages.

    Raises:
        InputError: It is a decompression bomb.
    """
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > PLENTY + TIMES * size:
        raise InputError(
            f"{size} bytes claim to unpack to {unpacked}", where=where,
            accepted=f"at most {PLENTY >> 20} MiB and {TIMES} times that beyond",
        )  # fmt: skip


def read_npz(path: Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Some arrays of an npz file; none is made before its stored bytes are known to fill it.

    Args:
        path: The file.
        names: Arrays to read; those that are not there are left out.

    Raises:
        InputError: No archive, one that unpacks to far more than it is, objects, or an array that
            is damaged; the line names file and array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, path.stat().st_size, str(path))
            members = set(archive.namelist())
            return {
                name: _member(archive, name, f"{path}: {name}")
                for name in names
                if f"{name}.npy" in members
            }
    except InputError:
        raise
    except Exception as error:  # a damaged directory raises half a dozen types
        raise InputError(
            f"no readable npz archive ({error or type(error).__name__})", where=str(path),
            accepted="an .npz file",
        ) from None  # fmt: skip


def unpack_npz(data: bytes, where: str) -> dict[str, NDArray[Any]]:
    """Every array of an npz archive in memory; as ``read_npz``.

    Raises:
        InputError: As of ``read_npz``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_archive(archive, len(data), where)
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            return {name: _member(archive, name, f"{where}: {name}") for name in names}
    except InputError:
        raise
    except Exception:  # a damaged directory raises half a dozen types
        raise InputError("is no archive of arrays", where=where,
                         accepted="the artifact as a run wrote it") from None  # fmt: skip


def _member(archive: zipfile.ZipFile, name: str, where: str) -> NDArray[Any]:
    try:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as file:
            _check_header(file, info.file_size, where)
        with archive.open(info) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except InputError:
        raise
    except Exception as error:  # whatever damaged bytes provoke in zip, zlib or the header
        said = f"damaged ({type(error).__name__}: {error})"
        raise InputError(said, where=where, accepted="an intact array") from None


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an npy file, made only where the file's bytes fill it.

    Raises:
        InputError: Objects, or bytes that are no whole array.
    """
    try:
        with path.open("rb") as file:
            _check_header(file, path.stat().st_size, str(path))
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except InputError:
        raise
    except Exception as error:  # whatever damaged bytes provoke in the header
        said = f"cannot be read ({type(error).__name__}: {error})"
        raise InputError(said, where=str(path), accepted="a whole .npy file") from None


def _check_header(file: IO[bytes], stored: int, where: str) -> None:
    """Refuses objects, and shapes that the stored bytes cannot fill, before any allocation."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=_HEADER_LIMIT)
    if dtype.hasobject:
        raise InputError("holds Python objects", where=where, accepted="a plain array")
    if math.prod(shape) * dtype.itemsize > stored:
        raise InputError(
            f"truncated: shape {shape} of {dtype} in {stored} bytes",
            where=where,
            accepted="an intact array",
        )


def gunzip(file: IO[bytes], where: str, most: int | None = None) -> bytes:
    """Unpacks a gzip file.

    Args:
        file: Opened, at its beginning.
        where: Its path, for messages.
        most: Bytes that it may unpack to; None for ``PLENTY`` and ``TIMES`` its size.

    Raises:
        InputError: It unpacks to more.
        OSError, EOFError, zlib.error: It is damaged.
    """
    if most is None:
        most = PLENTY + TIMES * file.seek(0, os.SEEK_END)
        file.seek(0)
    with gzip.GzipFile(fileobj=file) as packed:
        content = packed.read(most + 1)
    if len(content) > most:
        raise InputError(
            f"unpacks to more than {most >> 20} MiB", where=where, accepted="the published file"
        )
    return content


def spreadsheet(value: str) -> str:
    """Text of a CSV cell that no spreadsheet takes for a formula, an apostrophe in front where it
    might; a single sign is none.

    Spreadsheets pass over blanks and signs without width in front, and some take a full-width sign
    for the plain one.
    """
    if value[:1].isascii() and value[:1].isalnum():
        return value
    seen = (n for n, sign in enumerate(value) if unicodedata.category(sign)[0] not in "ZC")
    start = value[next(seen, len(value)) :]
    first = unicodedata.normalize("NFKC", start[:1])
    if value[:1] in ("\t", "\r", "\n") or (len(start) > 1 and first in ("=", "+", "-", "@")):
        return f"'{value}"
    return value
