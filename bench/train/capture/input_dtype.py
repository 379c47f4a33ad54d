"""Whether a network's input may be stored in bf16: it may where autocast rounds it anyway."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.bench.train.capture.readers import watched_pass
from prunebench.bench.train.step import Stepper


def input_dtype(stepper: Stepper, x: Tensor, scores: bool) -> torch.dtype:
    """What a network's input can be stored in without a change of any bit of its results.

    Args:
        stepper: Gives network and precision; the network's buffers are as before afterwards.
        x: Input of one batch, float32 or the numbers of words.
        scores: Whether the network also reads it in eval mode, to choose samples.

    Returns:
        bfloat16 where every forward pass reads ``x`` through autocast's rounding alone, and goes
        on in the same way where it is rounded already; that of ``x`` otherwise.
    """
    if not stepper.half or not x.is_floating_point():
        return x.dtype
    for training in (True, False)[: 1 + scores]:
        inputs = x, x.to(torch.bfloat16)
        plain, rounded = (watched_pass(stepper, [given], given, training) for given in inputs)
        if plain.direct or plain.noted != rounded.noted:
            return torch.float32
    return torch.bfloat16
