"""Streams whose keys are on the device, for draws inside a captured step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from prunebench.rng import Stream, mix64

_HALF = 1 << 63


def signed_keys(stream: Stream, names: Sequence[str]) -> list[int]:
    """The keys of a stream's children as int64 values."""
    return [(stream.child(name).key + _HALF) % (2 * _HALF) - _HALF for name in names]


class KeyedStream(Stream):
    """Draws of a stream whose key is read from the device: equal numbers, no host value.

    Args:
        key: int64, 0-dim.
    """

    def __init__(self, key: Tensor) -> None:
        super().__init__(0)
        self.__dict__["tensor"] = key

    def bits(self, counters: Tensor) -> Tensor:
        """int64 of the same shape."""
        return mix64(counters, self.__dict__["tensor"])

    @property
    def numpy(self) -> Any:
        """Refused: it would need the key on the host."""
        raise TypeError("a captured step draws on the device only")

    def child(self, name: str, *numbers: int) -> Stream:
        """Refused, likewise."""
        raise TypeError("a captured step knows the children that were declared")


class ParentStream(KeyedStream):
    """A stream of which only declared children are known.

    Args:
        keys: int64 [n], one for each name.
        names: The children.
    """

    def __init__(self, keys: Tensor, names: Sequence[str]) -> None:
        super().__init__(keys)
        children: Mapping[str, Stream] = {
            name: KeyedStream(key) for name, key in zip(names, keys.unbind(), strict=True)
        }
        self.__dict__["children"] = children

    def bits(self, counters: Tensor) -> Tensor:
        """Refused: only the children draw."""
        raise TypeError("this stream draws through its children")

    def child(self, name: str, *numbers: int) -> Stream:
        """One of the declared children.

        Raises:
            TypeError: It was not declared.
        """
        found: Stream | None = self.__dict__["children"].get(name)
        if numbers or found is None:
            raise TypeError(f"a captured step did not declare the draws {name!r}")
        return found
