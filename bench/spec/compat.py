"""Quirks of official loops, each behind a switch of its own, to compare like with like.

None is on by default. Momentum that stays at its printed value and the official initialisation of
convolutions need no switch: ``cycle_momentum = false``, and ``init = "pytorch"`` of ``resnet18``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunebench.bench.spec.recipe import Recipe, Switch
from prunebench.errors import InputError

#: What each switch does, and whose loop it copies.
SWITCHES: dict[Switch, tuple[str, str]] = {
    "bn-split-2": (
        "batch normalisation over each half of the batch, running statistics of the first half",
        "InfoBatch and SeTa wrap the network in DataParallel; the paper's machine had two cards",
    ),
    "head-100": (
        "100 outputs whatever the number of classes",
        "SeTa's loop (examples/cifar/main.py) runs CIFAR-10 with the head for CIFAR-100",
    ),
    "lr-per-epoch": (
        "learning rate and momentum of an epoch's start, held until its end",
        "co-teaching+ (main.py) sets the rate once per epoch",
    ),
    "seta-lr": (
        "one-cycle stretched over samples instead of batches, set anew where each epoch starts",
        "SeTa's loop gives OneCycleLR the number of samples as steps per epoch",
    ),
}

#: Outputs under ``head-100``.
HEAD = 100


def head_classes(recipe: Recipe, num_classes: int) -> int:
    """Number of outputs of the network.

    Raises:
        InputError: ``head-100`` on 100 classes or more, where it would change nothing.
    """
    if "head-100" not in recipe.compat:
        return num_classes
    if num_classes >= HEAD:
        raise InputError(
            f"head-100 on {num_classes} classes",
            where=f"recipe {recipe.name}: compat",
            accepted=f"data sets of fewer than {HEAD} classes",
        )
    return HEAD


def schedule_point(
    recipe: Recipe, step: int, steps: int, started: int, trained: int, num_samples: int
) -> tuple[float, int]:
    """Where in its schedule a step is.

    Args:
        recipe: Its ``compat`` decides.
        step: Position of the step in its epoch.
        steps: Steps of the epoch.
        started: Samples trained before the epoch.
        trained: Samples trained before the step.
        num_samples: N.

    Returns:
        The share of the epoch that counts as done, and the samples that count as trained
        (arguments of ``Clock.fraction``).
    """
    if "lr-per-epoch" in recipe.compat:
        return 0.0, started
    if "seta-lr" in recipe.compat:
        return step / num_samples, started + step
    return step / steps, trained


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
