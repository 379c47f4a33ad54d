"""Whether a network's input may be stored in bf16: it may where autocast rounds it anyway."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.bench.train.capture.readers import Readers
from prunebench.bench.train.step import Stepper, autocast


@torch.no_grad()
def input_dtype(stepper: Stepper, x: Tensor, scores: bool) -> torch.dtype:
    """What a network's input can be stored in without a change of any bit of its results.

    Args:
        stepper: Gives network and precision; the network's buffers are as before afterwards.
        x: float32, input of one batch.
        scores: Whether the network also reads it in eval mode, to choose samples.

    Returns:
        bfloat16 where every forward pass reads ``x`` through autocast's rounding alone, and goes
        on in the same way where it is rounded already; float32 otherwise.
    """
    if not stepper.half:
        return torch.float32
    model = stepper.model
    before, mode = [buffer.clone() for buffer in model.buffers()], model.training
    try:
        for training in (True, False)[: 1 + scores]:
            model.train(training)
            inputs = (x, x.to(torch.bfloat16))
            readers = [Readers([given]) for given in inputs]
            for given, reader in zip(inputs, readers, strict=True):
                with autocast(True, x.device), reader:
                    model(given)
            if readers[0].direct or readers[0].noted != readers[1].noted:
                return torch.float32
    finally:
        model.train(mode)
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
    return torch.bfloat16
