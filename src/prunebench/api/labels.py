"""The labels of a map-style data set, where they can be had without loading its samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from prunebench.errors import InputError

_NAMES = ("targets", "labels", "label", "y")
_ACCEPTED = (
    "labels=..., one whole number for each sample, or a data set with an attribute or column "
    f"{', '.join(_NAMES)}"
)


def labels_of(data: Any, labels: Any = None, num_classes: int | None = None) -> Tensor:
    """Labels of a data set.

    Args:
        data: Map-style: a length and samples by number.
        labels: The labels, where the caller has them; N whole numbers from 0.
        num_classes: C, where the caller knows it.

    Returns:
        int64 [N].

    Raises:
        InputError: They would have to be loaded with the samples, are no whole numbers from 0 to
            C - 1, or not as many as samples.
    """
    found = _cheap(data) if labels is None else labels
    if found is None:
        raise InputError(
            "its labels cannot be read without loading every sample", where="train_set",
            accepted=_ACCEPTED,
        )  # fmt: skip
    array = found.cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"{array.dtype} of shape {array.shape}", where="labels",
                         accepted="whole numbers, one dimension")  # fmt: skip
    if len(array) != len(data):
        raise InputError(f"{len(array)} labels", where="labels",
                         accepted=f"{len(data)}, one for each sample")  # fmt: skip
    highest = np.iinfo(np.int64).max if num_classes is None else num_classes - 1
    bad = np.flatnonzero((array < 0) | (array > highest))
    if len(bad):
        accepted = "0 to C-1" if num_classes is None else f"0 to {highest}, of num_classes"
        raise InputError(f"{array[bad[0]]} at sample {bad[0]}", where="labels", accepted=accepted)
    return torch.from_numpy(array.astype(np.int64))


def _cheap(data: Any) -> Any:
    if isinstance(data, Subset):
        inner = _cheap(data.dataset)
        if inner is None:
            return None
        rows: Sequence[int] = data.indices
        return np.asarray(inner)[np.asarray(rows, dtype=np.int64)]
    if isinstance(data, ConcatDataset):
        parts = [_cheap(part) for part in data.datasets]
        return None if any(p is None for p in parts) else np.concatenate(parts)
    if isinstance(data, TensorDataset):
        return data.tensors[-1]
    columns = getattr(data, "column_names", None)
    for name in _NAMES:
        if isinstance(columns, list) and name in columns:  # of Hugging Face
            return data[name][:]
        if hasattr(data, name):
            return getattr(data, name)
    return None
