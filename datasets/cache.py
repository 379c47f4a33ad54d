"""Computed arrays kept on this machine; nothing depends on the cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.files import replacing

#: Folder that is used instead of the user's cache.
CACHE_VARIABLE = "PRUNEBENCH_CACHE"


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
