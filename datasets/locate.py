"""Where data sets lie on this machine, and whether their files are the published ones."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError
from prunebench.options import Option
from prunebench.record import file_digest
from prunebench.untrusted import user_path

#: Folder in which named data sets are looked for when no path is given.
ROOT_VARIABLE = "PRUNEBENCH_DATA"
_LIMIT_SEED = 20240607
#: Options of every image set that can be loaded in part, see ``limited_rows``.
LIMITS: Mapping[str, Option] = {
    "limit": Option(None, "at most this many training images", 1, kind=int, optional=True),
    "test_limit": Option(None, "at most this many test images", 1, kind=int, optional=True),
}


@dataclass(frozen=True)
class DataFile:
    """A published file.

    Attributes:
        path: Relative to the data set's folder.
        digest: ``md5:HEX`` or ``sha256:HEX``; empty where none is published.
        content: Likewise of the unpacked bytes of a ``.gz`` file.
    """

    path: str
    digest: str = ""
    content: str = ""


def data_root() -> Path:
    """``$PRUNEBENCH_DATA``, else ``data`` in the working directory."""
    return user_path(os.environ.get(ROOT_VARIABLE) or "data", ROOT_VARIABLE)


def find_folder(given: str | None, subfolders: Sequence[str], files: Sequence[str],
                where: str) -> Path:  # fmt: skip
    """The first folder that holds one of some files.

    Args:
        given: The user's path, or None for ``data_root()``.
        subfolders: Places below it, tried in order; ``""`` is the folder itself.
        files: Names of which one must be there.
        where: Data set, for the message.

    Raises:
        InputError: None of the folders holds one; the line says what to put where.
    """
    root = user_path(given, f"dataset {where}") if given is not None else data_root()
    for sub in subfolders:
        if any((root / sub / name).exists() for name in files):
            return root / sub
    wanted = " or ".join(files[:2])
    raise InputError(
        f"{wanted} not found below {root}",
        where=f"dataset {where}",
        accepted=f"{where}:FOLDER, or {ROOT_VARIABLE}=FOLDER with "
        f"{', '.join(repr(s or '.') for s in subfolders)}; `prunebench data prepare {where}`",
    )


def unpacked_checksum(path: Path, algorithm: str) -> str:
    """Digest of the bytes inside a ``.gz`` file, in hex.

    Raises:
        OSError, EOFError, zlib.error: It is damaged.
    """
    with gzip.open(path) as file:
        return hashlib.file_digest(
            cast(Any, file), lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file in hex; read again only when its size or time changed."""
    state = path.stat()
    return _checksum(path.resolve(), algorithm, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _checksum(path: Path, algorithm: str, mtime_ns: int, size: int) -> str:
    if algorithm == "sha256":
        return file_digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)
                                   ).hexdigest()  # fmt: skip


def require(path: Path, where: str, digest: str = "") -> Path:
    """A file that must be there and, where a digest is given, be the published one.

    Raises:
        InputError: Missing, unreadable or different.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}", where=f"dataset {where}")
    algorithm, _, wanted = digest.partition(":")
    if wanted and checksum(path, algorithm) != wanted:
        raise InputError(
            f"{algorithm} is {checksum(path, algorithm)}",
            where=f"dataset {where}: {path}",
            accepted=f"the published file, {algorithm} {wanted}",
        )
    return path


def files_identity(paths: Iterable[Path]) -> str:
    """SHA-256 over the digests of some files, in order; it replaces the path in keys."""
    return hashlib.sha256(" ".join(checksum(path) for path in paths).encode()).hexdigest()


def limited_rows(n: int, limit: int | None) -> NDArray[np.int64]:
    """All rows, or the first ``limit`` of one fixed shuffle, ascending; nested in ``limit``."""
    if limit is None or limit >= n:
        return np.arange(n)
    rng = np.random.Generator(np.random.PCG64(_LIMIT_SEED))
    return np.sort(rng.permutation(n)[:limit])
