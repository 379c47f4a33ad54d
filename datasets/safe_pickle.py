"""Reads pickles that may hold plain values and numpy arrays, and nothing else."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.errors import InputError


def _reconstruct() -> Any:
    module = getattr(np, "_core", None) or np.core
    return module.multiarray._reconstruct


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


#: What such files name: array parts under numpy's old and new module names, and bytes.
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct(),
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return ALLOWED[module, name]


def read_arrays(path: Path) -> Any:
    """Reads a pickle of dicts, lists, text, numbers and numpy arrays; Python 2 text is latin-1.

    Nothing that the file names is called beyond the parts of an array.

    Raises:
        InputError: It is damaged, or names anything else.
    """
    try:
        return _Restricted(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # damaged pickles raise nearly everything
        raise InputError(
            f"cannot be read ({error or type(error).__name__})",
            where=str(path),
            accepted="a pickle of plain values and numpy arrays",
        ) from None
