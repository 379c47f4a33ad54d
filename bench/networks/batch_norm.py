"""Batch normalisation over each half of a batch (the recipe switch ``bn-split-2``), and without a
counter of batches."""

from __future__ import annotations

from typing import Any

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


#: Forward passes that read the counter only where there is no momentum, and do without it.
_WITHOUT_COUNTER = (
    "torch.nn.modules.batchnorm._BatchNorm.forward",
    "prunebench.bench.networks.batch_norm.SplitBatchNorm.forward",
    "timm.layers.norm_act.BatchNormAct2d.forward",
)


def stop_counting(model: nn.Module) -> None:
    """Takes ``num_batches_tracked`` from batch normalisations that never read it, in place.

    With a momentum the counter changes no result and costs a kernel per layer and step. State
    dicts that have it still load. Layers without a momentum average over all batches so far and
    go on counting, and so do layers whose forward pass is not known here.
    """
    for module in model.modules():
        forward = type(module).forward
        if (
            isinstance(module, _BatchNorm)
            and module.momentum is not None
            and module.num_batches_tracked is not None
            and f"{forward.__module__}.{forward.__qualname__}" in _WITHOUT_COUNTER
        ):
            module.num_batches_tracked = None
            module.register_load_state_dict_pre_hook(_drop_counter)  # type: ignore[no-untyped-call]


def _drop_counter(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    state.pop(f"{prefix}num_batches_tracked", None)
