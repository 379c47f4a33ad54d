"""Pickles without surprises: an unpickler that finds named things only, and published arrays."""

from __future__ import annotations

import codecs
import hashlib
import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.errors import InputError

#: What the published pickles name: the parts of an array, under numpy's old and new module names.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


def _nothing(pid: Any) -> Any:
    raise pickle.UnpicklingError("refers to something outside")


class _Restricted(pickle.Unpickler):
    def __init__(
        self, data: bytes, allowed: Mapping[tuple[str, str], Any], outside: Callable[[Any], Any]
    ) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._allowed, self._outside = allowed, outside

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return self._allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        return self._outside(pid)


def restricted(
    data: bytes,
    allowed: Mapping[tuple[str, str], Any],
    outside: Callable[[Any], Any] = _nothing,
) -> Any:
    """What a pickle holds; Python 2 text is latin-1.

    Args:
        data: The pickle.
        allowed: (module, name) -> what is taken for it; nothing else is found.
        outside: Gives what a reference to something outside the pickle means.

    Raises:
        Exception: It is damaged, or names anything else.
    """
    for code, argument, _ in pickletools.genops(data):
        number = argument if code.name in ("PUT", "BINPUT", "LONG_BINPUT") else 0
        # The unpickler makes room for the highest number that a file gives a value.
        if isinstance(number, int) and number > len(data):
            raise pickle.UnpicklingError(f"numbers a value {number}")
    return _Restricted(data, allowed, outside).load()


def read_published(path: Path, digest: str) -> Any:
    """Reads a published pickle of plain values and numpy arrays. Of any other file nothing is
    unpickled: the checksum is that of the very bytes that are read.

    Args:
        path: The file.
        digest: ``md5:HEX`` or ``sha256:HEX``, as published.

    Raises:
        InputError: It is another file, or cannot be read.
    """
    algorithm, _, wanted = digest.partition(":")
    data = path.read_bytes()
    measured = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
    if measured != wanted:
        accepted = f"the published file, {algorithm} {wanted}"
        raise InputError(f"{algorithm} is {measured}", where=str(path), accepted=accepted)
    try:
        return restricted(data, ALLOWED)
    except Exception as error:  # damaged pickles raise nearly everything
        reason = str(error)[:200] or type(error).__name__
        raise InputError(f"cannot be read ({reason})", where=str(path)) from None
