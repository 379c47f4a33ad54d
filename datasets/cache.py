"""Computed arrays kept on this machine; nothing depends on the cache."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.files import read_at_most, replacing, write_atomic

#: Folder that is used instead of the user's cache.
CACHE_VARIABLE = "PRUNEBENCH_CACHE"
#: Digests of more bytes than these are kept for other processes.
KEPT_FROM = 64 << 20
_digests: dict[str, str] = {}


def cache_folder() -> Path:
    """``$PRUNEBENCH_CACHE``, else ``prunebench`` in the user's cache folder."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "prunebench"


def read_arrays(path: Path, wanted: Mapping[str, str]) -> dict[str, Any]:
    """Arrays of an npz file, read without unpickling.

    Args:
        path: The file.
        wanted: Names with their types (``float32``).

    Returns:
        The arrays; empty where the file is missing, damaged or foreign.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in wanted}
    except Exception:  # damaged archives raise half a dozen types
        return {}
    return found if all(found[n].dtype == kind for n, kind in wanted.items()) else {}


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes arrays so that a reader sees all or nothing; a folder that cannot be written, or is
    full, is no obstacle. Unlike ``write_atomic`` it never holds the file in memory."""
    with suppress(OSError), replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def digest_once(files: Iterable[Path], what: str, compute: Callable[[], str]) -> str:
    """A digest of the content of some files; computed again only when one of them changed.

    Args:
        files: All that it depends on.
        what: What is computed of them.
        compute: Gives the digest, in hexadecimal digits and colons, or raises where a file cannot
            be read.
    """
    stamp, size = hashlib.sha256(what.encode()), 0
    for file in files:
        stamp.update(b"\0" + os.fsencode(file.absolute()))
        with suppress(OSError):
            state = file.stat()
            size += state.st_size
            # The time of the inode's last change cannot be set back, as that of the file can.
            facts = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
            stamp.update(repr(facts).encode())
    slot = stamp.hexdigest()
    if slot not in _digests:
        kept = cache_folder() / "digests" / f"{slot}.txt"
        _digests[slot] = (_digest_in(kept) if size > KEPT_FROM else "") or compute()
        if size > KEPT_FROM:
            with suppress(OSError):
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(kept, _digests[slot].encode())
    return _digests[slot]


def _digest_in(file: Path) -> str:
    with suppress(OSError):
        text = read_at_most(file, 200).decode("ascii", "replace")
        if re.fullmatch(r"([a-z]+:)?[0-9a-f]{32,64}(:[0-9a-f]{16})?", text):
            return text
    return ""
