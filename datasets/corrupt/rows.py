"""Which training images are corrupted, and their pixels."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.corrupt.kinds import CORRUPT
from prunebench.datasets.corrupt.names import MIXED, SINGLE, Corruption
from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.source import RawData
from prunebench.errors import InputError
from prunebench.rng import Stream

#: Pixels that are corrupted at once.
_AT_ONCE = 1 << 21
#: Resident arrays with corrupted images that a process keeps; each is as large as the data set.
_KEPT = 2


@dataclass(frozen=True, eq=False)
class CorruptedRows:
    """Rows of a data set whose images are corrupted.

    Attributes:
        corruption: How.
        stream: Of the run; draws are by row.
        rows: bool [N], by row of ``RawData.train_x``.
    """

    corruption: Corruption
    stream: Stream
    rows: NDArray[np.bool_]

    def change(self, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        """Corrupts in place those of some images whose rows are corrupted.

        Args:
            images: uint8 [n, c, h, w].
            rows: int64 [n], their rows.
        """
        chosen = self.rows[rows].nonzero()[0]
        size = max(1, _AT_ONCE // max(1, math.prod(images.shape[1:])))
        for begin in range(0, len(chosen), size):
            part = chosen[begin : begin + size]
            images[part] = self._corrupt(images[part], rows[part])

    def _corrupt(self, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        kind, severity = self.corruption.kind, self.corruption.severity
        if kind != MIXED:
            return CORRUPT[kind](images, rows, severity, self.stream.child(kind))
        drawn = self.stream.child(MIXED).uniform_at(torch.from_numpy(rows)).numpy()
        kinds = (drawn * len(SINGLE)).astype(np.int64)
        out = np.empty_like(images)
        for number, single in enumerate(SINGLE):
            own = kinds == number
            if own.any():
                stream = self.stream.child(single)
                out[own] = CORRUPT[single](images[own], rows[own], severity, stream)
        return out


def choose_rows(share: float, train: Tensor, stream: Stream) -> Tensor:
    """Which training samples are corrupted: floor(share * N + 0.5), first in the stream's order.

    Args:
        share: 0 to 1; a smaller share is a part of a larger one.
        train: int64 [N], sample ids.
        stream: Draws are by sample id.

    Returns:
        bool [N].

    Raises:
        InputError: The share is less than half an image.
    """
    count = math.floor(share * len(train) + 0.5)
    if count == 0:
        raise InputError(f"share {share:g} of {len(train)} training images is none",
                         where="corrupt", accepted="a larger share, or none")  # fmt: skip
    chosen = torch.zeros(len(train), dtype=torch.bool)
    chosen[stream.bits(train).argsort(stable=True)[:count]] = True
    return chosen


def _check(x: Tensor | ImageFiles, corruption: Corruption) -> None:
    if x.dtype != torch.uint8 or len(x.shape) != 4:
        raise InputError(f"{corruption.name} of vectors", where="corrupt",
                         accepted="none: the data set has no images")  # fmt: skip
    if x.shape[1] not in (1, 3):
        raise InputError(f"{corruption.name} of images with {x.shape[1]} channels",
                         where="corrupt", accepted="images of 1 or 3 channels")  # fmt: skip


def corrupted_samples(
    raw: RawData, train: Tensor, corruption: Corruption, stream: Stream
) -> Tensor:
    """``choose_rows`` of a data set.

    Raises:
        InputError: The samples are vectors, or images with neither one nor three channels; or the
            share is less than half an image.
    """
    _check(raw.train_x, corruption)
    return choose_rows(corruption.share, train, stream)


_arrays: OrderedDict[tuple[object, ...], tuple[Tensor, Tensor]] = OrderedDict()


def corrupt_training(
    raw: RawData, train: Tensor, corruption: Corruption, stream: Stream
) -> tuple[RawData, Tensor]:
    """The data set with corrupted images in a part of its training split.

    Resident pixels are copied and changed once for all runs of the process that ask for the same;
    streamed ones are changed as they are decoded.

    Args:
        raw: The data set.
        train: int64 [N], sample ids of the training split.
        corruption: What is corrupted and how.
        stream: Of the run.

    Returns:
        The data set, with all other samples as they are, and bool [N], which are corrupted.

    Raises:
        InputError: As of ``corrupted_samples``.
    """
    x, chosen = raw.train_x, corrupted_samples(raw, train, corruption, stream)
    rows = np.zeros(len(x), dtype=bool)
    rows[train[chosen].numpy()] = True
    corrupted = CorruptedRows(corruption, stream, rows)
    if not isinstance(x, Tensor):
        return replace(raw, train_x=replace(x, change=corrupted.change)), chosen
    return replace(raw, train_x=_resident(x, corrupted)), chosen


def _resident(x: Tensor, corrupted: CorruptedRows) -> Tensor:
    setting = corrupted.corruption
    key = (x.data_ptr(), tuple(x.shape), setting.kind, setting.severity, corrupted.stream.key,
           corrupted.rows.tobytes())  # fmt: skip
    if key not in _arrays:
        while len(_arrays) >= _KEPT:
            _arrays.popitem(last=False)
        made = x.clone()
        rows = corrupted.rows.nonzero()[0]
        changed = made[torch.from_numpy(rows)]
        corrupted.change(changed.numpy(), rows)
        made[torch.from_numpy(rows)] = changed
        # The original is kept too, so that no other array gets its address.
        _arrays[key] = made, x
    _arrays.move_to_end(key)
    return _arrays[key][0]
