"""Which rows of a data set are trained on, and which are held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from prunebench.datasets.imbalance import Imbalance, keep_imbalanced
from prunebench.datasets.source import RawData
from prunebench.errors import InputError
from prunebench.rng import Streams

ReferenceMode = Literal["held_out", "overlap"]


@dataclass(frozen=True)
class SplitRows:
    """Rows of ``RawData.train_x``, int64, ascending.

    Attributes:
        train: What is trained on; an imbalance has been taken from it.
        reference: The clean reference set; empty for none.
        validation: Carved from training for tuning; empty for none.
    """

    train: Tensor
    reference: Tensor
    validation: Tensor


def default_reference_size(n: int) -> int:
    """Reference samples held out of a training split of n: min(1000, 7 %)."""
    return min(1000, n * 7 // 100)


def split_rows(
    raw: RawData,
    streams: Streams,
    *,
    reference_size: int | None = None,
    reference_mode: ReferenceMode = "held_out",
    validation_size: int = 0,
    imbalance: Imbalance | None = None,
) -> SplitRows:
    """Draws the splits; arguments as of ``datasets.build.make_task``. Reference and validation are
    drawn before the imbalance, which changes neither.

    Raises:
        InputError: An unknown mode, splits that leave no training, or an imbalance that leaves a
            class empty.
    """
    if reference_mode not in get_args(ReferenceMode):
        raise InputError(
            f"{reference_mode!r}", where="reference_mode", accepted="held_out, overlap"
        )
    own = raw.reference_rows
    if own is not None and reference_mode == "overlap":
        raise InputError(
            "'overlap' is not accepted: this data set has reference samples of its own",
            where="reference_mode",
            accepted="held_out",
        )
    training = raw.training_rows
    n, given = len(training), 0 if own is None else len(own)
    wanted = (given or default_reference_size(n)) if reference_size is None else reference_size
    taken_out = validation_size + (wanted if own is None else 0)
    if wanted < 0 or validation_size < 0 or taken_out >= n or (own is not None and wanted > given):
        raise InputError(
            f"{wanted} reference and {validation_size} validation samples out of {n}",
            where="reference_size, validation_size",
            accepted=f"0 or more each, together below {n}"
            if own is None
            else f"0 to {given} of its own reference samples, validation 0 or more below {n}",
        )
    reference = streams.get("reference").sample(n if own is None else given, wanted)
    if own is not None:
        reference = own[reference]
    taken = torch.ones(len(raw.train_y), dtype=torch.bool)
    taken[training] = False
    if own is None:
        taken[reference] = True
    order = training[streams.get("validation").permutation(n)]
    validation = order[~taken[order]][:validation_size].sort().values
    if reference_mode == "overlap":
        taken[:] = False
    taken[validation] = True
    train = (~taken).nonzero().flatten()
    if imbalance is not None:
        labels, stream = raw.train_y[train], streams.get("imbalance")
        train = keep_imbalanced(imbalance, train, labels, raw.num_classes, stream)
    return SplitRows(train, reference, validation)
