"""Reads the zip files of ``torch.save``: named tensors and plain values, by an unpickler that makes
stand-ins only. torch's own weights-only reader makes what a file asks for, of any size."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunebench.datasets.restricted_pickle import restricted
from prunebench.errors import InputError
from prunebench.untrusted import check_archive

_DTYPES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}  # fmt: skip


class _Fixed:
    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a state for what has none")


@dataclass(frozen=True)
class _Storage(_Fixed):
    """Stands for numbers of one type in a member of the archive; ``key`` is empty for the type
    alone."""

    dtype: torch.dtype
    key: str = ""
    count: int = 0


@dataclass(frozen=True)
class Stored(_Fixed):
    """Stands for a tensor: a part of a storage that no number of it is in twice."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Table(dict[Any, Any]):
    """Stands for an ``OrderedDict``; attributes that a file gives it are dropped."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        return


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Stored:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, _Storage) or not storage.key or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor without storage or shape")
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor of no shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.count or (math.prod(size) and last >= storage.count):
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(size)} in {storage.count} numbers")
    return Stored(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: Any, *_: Any) -> Stored:
    if not isinstance(tensor, Stored):
        raise pickle.UnpicklingError("a parameter that is no tensor")
    return tensor


#: What such files name.
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Table,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _Storage(dtype) for name, dtype in _DTYPES.items()},
}


def _storage(pid: Any) -> _Storage:
    if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
        raise pickle.UnpicklingError("refers to something outside")
    _, kind, key, _, count = pid
    if not isinstance(kind, _Storage) or type(key) is not str or not key.isdecimal():
        raise pickle.UnpicklingError("a storage without type or name")
    if type(count) is not int or count < 0:
        raise pickle.UnpicklingError("a storage of no size")
    return _Storage(kind.dtype, key, count)


class TorchZip:
    """An opened file.

    Args:
        content: The file's bytes.
        where: Its path, for messages.

    Attributes:
        value: What was saved, ``Stored`` in place of tensors.

    Raises:
        InputError: It unpacks to far more than it is.
        Exception: It is damaged, or names anything but tensors; pickle's error for the latter.
    """

    def __init__(self, content: bytes, where: str) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        check_archive(self._archive, len(content), where)
        names = [n for n in self._archive.namelist() if n.endswith("/data.pkl")]
        if len(names) != 1:
            raise InputError("is no file of torch.save", where=where)
        self._root = names[0].removesuffix("data.pkl")
        order = f"{self._root}byteorder"
        if order in self._archive.namelist() and self._archive.read(order) != b"little":
            raise InputError("holds big-endian numbers", where=where, accepted="little-endian")
        self.value = restricted(self._archive.read(names[0]), ALLOWED, _storage)
        self._storages: dict[str, bytearray] = {}

    def tensor(self, stored: Stored) -> Tensor:
        """The tensor that a stand-in stands for.

        Raises:
            Exception: Its member is missing or of another length.
        """
        storage = stored.storage
        if storage.key not in self._storages:
            member = f"{self._root}data/{storage.key}"
            self._storages[storage.key] = bytearray(self._archive.read(member))
        data, itemsize = self._storages[storage.key], storage.dtype.itemsize
        if len(data) != storage.count * itemsize:
            raise ValueError(f"{len(data)} bytes for {storage.count} numbers of {itemsize}")
        if not data:
            return torch.empty(stored.size, dtype=storage.dtype)
        flat = torch.frombuffer(data, dtype=storage.dtype)
        return flat.as_strided(stored.size, stored.stride, stored.offset)


def is_stored(value: Any) -> bool:
    """Whether a value is a table of names and tensors' stand-ins."""
    return isinstance(value, Mapping) and all(isinstance(v, Stored) for v in value.values())
