"""One copy of a data set's pixels on the device for all runs of a process."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from prunebench.bench.inputs.view import Inputs
from prunebench.datasets.source import RawData

#: Training and test split of two data sets.
KEPT = 4
# The host's array is kept too, so that no other array gets its address.
_kept: OrderedDict[tuple[Any, ...], tuple[Inputs, Tensor]] = OrderedDict()


def resident(x: Tensor, raw: RawData, **options: Any) -> Inputs:
    """The inputs of an array, shared by every run that views it in the same way.

    Args:
        x: The array on the host.
        raw: The data set.
        options: As in ``View``.
    """
    view = (raw.mean, raw.std, getattr(raw, "crop", None)) if x.dtype == torch.uint8 else ()
    key = (x.data_ptr(), tuple(x.shape), x.dtype, *view, *sorted(options.items(), key=str))
    if key not in _kept:
        made = Inputs(x, raw, **options)
        if made.device.type == "cuda":
            torch.cuda.synchronize(made.device)  # whatever stream asks next finds it there
        _kept[key] = made, x
    _kept.move_to_end(key)
    while len(_kept) > KEPT:
        _, (old, _) = _kept.popitem(last=False)
        if old.device.type == "cuda":
            torch.cuda.synchronize(old.device)
    return _kept[key][0]


def forget() -> None:
    """Lets go of all copies; runs under way keep theirs."""
    _kept.clear()
