"""Reads pickles that may hold plain values and numpy arrays, and nothing else.

No class that a file names is ever made: stand-ins take what the file says of an array, and the
array is built from that afterwards, so that no state of numpy's own can be forged.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.errors import InputError


class _Kind:
    """Stands for a dtype: numbers and byte order only."""

    def __init__(self, code: Any, *_: Any) -> None:
        code = code.decode("latin1") if isinstance(code, bytes) else code
        if not isinstance(code, str) or code.lstrip("<>|=")[:1] not in tuple("biuf"):
            raise pickle.UnpicklingError(f"an array of {code!r}")
        self.kind = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order: Any = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"byte order {order!r}")
        self.kind = self.kind.newbyteorder(order)


class _Array:
    """Stands for an array until its bytes are known."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Kind):
            raise pickle.UnpicklingError("an array without a type")
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(data, bytes) or not all(type(n) is int and n >= 0 for n in shape):
            raise pickle.UnpicklingError("an array without bytes or shape")
        if len(data) != math.prod(shape) * kind.kind.itemsize:
            raise pickle.UnpicklingError(f"{len(data)} bytes for an array of shape {shape}")
        flat = np.frombuffer(data, kind.kind)
        self.value = flat.reshape(shape, order="F" if fortran else "C").copy()


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("an array of a foreign class")
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


#: What such files name: array parts under numpy's old and new module names, and bytes.
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _encode,
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
    """What a pickle holds, made of plain values and stand-ins; Python 2 text is latin-1.

    Args:
        data: The pickle.
        allowed: (module, name) -> stand-in; nothing else is found.
        outside: What a reference to something outside the pickle stands for.

    Raises:
        Exception: It is damaged, or names anything else.
    """
    _check_memo(data)
    return _Restricted(data, allowed, outside).load()


def read_arrays(path: Path) -> Any:
    """Reads a pickle of dicts, lists, text, numbers and numpy arrays; Python 2 text is latin-1.

    Raises:
        InputError: It is damaged, or names anything else.
    """
    try:
        return _plain(restricted(path.read_bytes(), ALLOWED), {})
    except Exception as error:  # damaged pickles raise nearly everything
        raise InputError(
            f"cannot be read ({str(error)[:200] or type(error).__name__})",
            where=str(path),
            accepted="a pickle of plain values and numpy arrays",
        ) from None


def _check_memo(data: bytes) -> None:
    """The unpickler makes room for the highest number that a file gives a value."""
    for code, argument, _ in pickletools.genops(data):
        number = argument if code.name in ("PUT", "BINPUT", "LONG_BINPUT") else 0
        if isinstance(number, int) and number > len(data):
            raise pickle.UnpicklingError(f"numbers a value {number}")


def _plain(value: Any, seen: dict[int, Any], depth: int = 0) -> Any:
    """Arrays in place of their stand-ins; what stands in several places is visited once."""
    if depth > 10:
        raise pickle.UnpicklingError("nested too deep")
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if id(value) not in seen:
        seen[id(value)] = _made(value, seen, depth + 1)
    return seen[id(value)]


def _made(value: Any, seen: dict[int, Any], depth: int) -> Any:
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if isinstance(value, dict):
        return {_plain(k, seen, depth): _plain(v, seen, depth) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item, seen, depth) for item in value)
    raise pickle.UnpicklingError(f"holds a {type(value).__name__.strip('_').lower()}")
