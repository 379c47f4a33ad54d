"""Statistics that a recipe may ask for in place of the data set's own: of pixels by name, of
vectors by measurement."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from prunebench.datasets.source import RawData
from prunebench.errors import InputError

#: Arrays whose statistics are kept.
_KEPT = 2
#: Mean and standard deviation per channel, of pixels in [0, 1].
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar10-n": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100-official": ((0.5074, 0.4867, 0.4411), (0.2011, 0.1987, 0.2025)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clothing1m-dividemix": ((0.6959, 0.6537, 0.6371), (0.3113, 0.3192, 0.3214)),
}


def with_statistics(raw: RawData, name: str) -> RawData:
    """A data set under a recipe's ``normalise``.

    Args:
        raw: The data set.
        name: ``dataset``, a key of ``STATISTICS``, or ``train``: of vectors every feature's mean
            and deviation over the original training split; of images ``dataset``.

    Raises:
        InputError: The data have no such channels, or are texts.
    """
    if name == "dataset" or (name == "train" and raw.mean):
        return raw
    if name == "train":
        if not raw.train_x.dtype.is_floating_point:
            raise InputError("'train' standardises features, and these are the numbers of words",
                             where="recipe: normalise", accepted="dataset")  # fmt: skip
        mean, std = _measured(cast(Tensor, raw.train_x))
        return replace(raw, mean=mean, std=std)
    mean, std = STATISTICS[name]
    if len(raw.mean) != len(mean):
        raise InputError(
            f"{name} statistics for data of {len(raw.mean)} channels",
            where="recipe: normalise", accepted=f"dataset, or images of {len(mean)} channels",
        )  # fmt: skip
    return replace(raw, mean=mean, std=std)


# By array, which is kept so that no other gets its address.
_known: OrderedDict[tuple[int, ...], tuple[Tensor, tuple[float, ...], tuple[float, ...]]] = (
    OrderedDict()
)


def _measured(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column, 1 for a constant one; measured once for the runs
    of a process on the same array."""
    key = (x.data_ptr(), *x.shape)
    if key not in _known:
        std, mean = torch.std_mean(x.double(), 0, correction=0)
        std[(x == x[0]).all(0)] = 1.0
        _known[key] = x, tuple(mean.tolist()), tuple(std.tolist())
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return _known[key][1:]
