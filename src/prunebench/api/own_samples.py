"""Samples that carry their number, and what is said of a data set that does not give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from prunebench.errors import InputError


class SampleError(InputError):
    """A sample that the data set does not give as it should.

    A loader makes the error of a worker process anew from the text of its traceback; the last line
    of that text is the error's own, and only that is kept.
    """

    def __init__(self, what: str, *, where: str = "", accepted: str = "") -> None:
        if what.startswith("Caught ") and "\n" in what:
            what = what.rstrip().splitlines()[-1].partition(": ")[2]
        super().__init__(what, where=where, accepted=accepted)


class Numbered(Dataset[Any]):
    """A data set whose samples end with their number: ``(x, y, number)``, or ``sample`` in a dict.

    Args:
        data: Map-style; its samples are tuples, lists or dicts.
        where: Its name in messages.
    """

    def __init__(self, data: Any, where: str = "train_set") -> None:
        self.data, self.where = data, where

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> Any:
        return self._one_by_one([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """A batch in one call, which is what a loader asks for; in one read where the data can."""
        read = getattr(self.data, "__getitems__", None)
        if not callable(read):
            return self._one_by_one(numbers)
        try:
            items = read(numbers)
        except Exception:
            return self._one_by_one(numbers)  # which names the sample
        if len(items) != len(numbers):
            raise SampleError(
                f"__getitems__ gave {len(items)} samples for {len(numbers)} numbers",
                where=self.where, accepted="one sample for each number",
            )  # fmt: skip
        return [self._numbered(item, number) for item, number in zip(items, numbers, strict=True)]

    def _one_by_one(self, numbers: Sequence[int]) -> list[Any]:
        data, found = self.data, []
        for number in numbers:
            try:
                item = data[number]
            except Exception as error:
                raise self._unreadable(number, error) from error
            # A call for every sample would be a large part of what Pruning adds to a step.
            found.append((*item, number) if type(item) is tuple else self._numbered(item, number))
        return found

    def _numbered(self, item: Any, number: int) -> Any:
        """A sample with its number."""
        if isinstance(item, dict):
            return {**item, "sample": number}
        if isinstance(item, (tuple, list)):
            return (*item, number)
        raise SampleError(
            f"sample {number} is a {type(item).__name__}", where=self.where,
            accepted="tuples (input, label) or dicts",
        )  # fmt: skip

    def _unreadable(self, number: int, error: Exception) -> SampleError:
        said = (str(error).splitlines() or [""])[0][:120]
        return SampleError(
            f"sample {number} cannot be read ({type(error).__name__}: {said})",
            where=self.where, accepted="samples that can all be read",
        )  # fmt: skip


def size_of(data: Any, where: str) -> int:
    """Samples of a map-style data set.

    Args:
        data: The data set.
        where: Its name in the message.

    Raises:
        InputError: It has no length or no samples by number, or is empty.
    """
    try:
        size = len(data)
        by_number = hasattr(data, "__getitem__") and not isinstance(data, IterableDataset)
    except (TypeError, NotImplementedError):
        by_number = False
    if not by_number:
        raise InputError(
            f"{type(data).__name__} has no samples by number", where=where,
            accepted="a map-style data set (__len__ and __getitem__), no iterable one",
        )  # fmt: skip
    if size < 1:
        raise InputError("no samples", where=where, accepted="at least one")
    return int(size)
