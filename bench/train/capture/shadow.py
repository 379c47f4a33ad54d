"""Weights in bf16 beside the trained ones, in place of the casts that autocast makes in every step.

Autocast rounds the weights of convolutions and linear layers to bf16, each by a call of its own,
and casts each of their gradients back. A shadow holds the rounded weights in one buffer, which one
call fills at the beginning of a step; the network reads them, and their gradients, in bf16, go to
the optimiser as they are. Bits are those of autocast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor

from prunebench.bench.train.capture.readers import Readers, watched_pass
from prunebench.bench.train.device_optimizers import OnDevice
from prunebench.bench.train.step import Stepper


class Shadow:
    """Lends a network the rounded weights, see above.

    Args:
        stepper: Gives network, optimiser and precision.
        x: Input of one batch.
        scores: Whether the network also reads it in eval mode, to choose samples.
    """

    def __init__(self, stepper: Stepper, x: Tensor, scores: bool) -> None:
        self.optimizer = cast(OnDevice, stepper.optimizer)
        modules = list(stepper.model.modules())
        params = list(stepper.model.parameters())
        weights = [p.detach() for p in params]
        self._places = [(m._parameters, name) for m in modules for name in m._parameters]
        self.optimizer.shadow([])
        if not stepper.half:
            return
        modes = (True, False)[: 1 + scores]
        before = [watched_pass(stepper, weights, x, mode) for mode in modes]
        self.optimizer.shadow(p for n, p in enumerate(params) if _is_rounded(p, n, before))
        with self.lent():
            after = [watched_pass(stepper, weights, x, mode) for mode in modes]
        if [readers.noted for readers in before] != [readers.noted for readers in after]:
            self.optimizer.shadow([])  # the network asks for the type of its weights

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While entered, the network has the rounded weights of now."""
        self.optimizer.round_weights()
        halves = self.optimizer.halves
        taken = []
        for owner, name in self._places:
            p = owner[name]
            if p is not None and p in halves:
                taken.append((owner, name, p))
                owner[name] = halves[p]
        try:
            yield
        finally:
            for owner, name, p in taken:
                owner[name] = p


def _is_rounded(p: Tensor, number: int, watches: list[Readers]) -> bool:
    """Whether every forward pass reads a tensor by one cast to bf16 alone.

    With two casts the parts of its gradient would be summed in single precision.
    """
    return p.dtype == torch.float32 and all(
        w.casts[number] == 1 and number not in w.direct | w.viewed for w in watches
    )
