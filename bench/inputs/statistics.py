"""Named pixel statistics that a recipe may ask for in place of the data set's own."""

from __future__ import annotations

from dataclasses import replace

from prunebench.datasets.source import RawData
from prunebench.errors import InputError

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
        name: ``dataset``, or a key of ``STATISTICS``.

    Raises:
        InputError: The data have no such channels.
    """
    if name == "dataset":
        return raw
    mean, std = STATISTICS[name]
    if len(raw.mean) != len(mean):
        raise InputError(
            f"{name} statistics for data of {len(raw.mean)} channels",
            where="recipe: normalise", accepted=f"dataset, or images of {len(mean)} channels",
        )  # fmt: skip
    return replace(raw, mean=mean, std=std)
