"""Batch normalisation over each half of a batch: the recipe switch ``bn-split-2``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunebench.errors import InputError


class SplitBatchNorm(_BatchNorm):
    """Batch normalisation that treats the two halves of a training batch apart.

    The running statistics follow the first half alone: of DataParallel's replicas only the one on
    the first card shares its buffers with the network. A half of one value per channel has no
    statistics; such a batch is normalised whole.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Same shape as the input, float [B, channels, ...]."""
        halves = input.chunk(2)
        if not self.training or len(halves) < 2 or halves[1].numel() == input.shape[1]:
            return super().forward(input)
        second = F.batch_norm(halves[1], None, None, self.weight, self.bias, True, 0.0, self.eps)
        return torch.cat([super().forward(halves[0]), second])


def split_batch_norm(model: nn.Module, where: str) -> None:
    """Replaces every batch normalisation of a network, in place; weights and names stay.

    Raises:
        InputError: There is none.
    """
    found = False
    for owner in list(model.modules()):
        for name, old in list(owner.named_children()):
            if not isinstance(old, _BatchNorm):
                continue
            new = SplitBatchNorm(
                old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats
            )
            new.load_state_dict(old.state_dict())
            setattr(owner, name, new)
            found = True
    if not found:
        raise InputError(
            "bn-split-2 needs batch normalisation, and this network has none",
            where=where, accepted="norm=batch, or no bn-split-2",
        )  # fmt: skip
