"""The proxy of airbench96_faster: a small network chooses the hardest samples of every batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    DynamicPruner,
    Evidence,
    EvidenceSpec,
    Plan,
    Progress,
    Tables,
    kept_count,
    register_method,
)
from prunebench.options import Option
from prunebench.progress import counted
from prunebench.rng import Stream

__all__ = ["hardest_in_batches"]


def hardest_in_batches(p_target: Tensor, batches: Tensor, ratio: float, rng: Stream) -> Tensor:
    """Marks the samples of each batch with the largest loss, that is the smallest probability of
    their label.

    With n samples in the batches up to one, ``kept_count(n, ratio)`` are kept in these: 512 of
    every 1,024 at ratio 0.5, and over the epoch as many as of all samples at once; at least one.

    Args:
        p_target: float [N], probability of the (noisy) label.
        batches: int64 [N], number of the batch that each sample is in, from 0.
        ratio: Share to leave out.
        rng: Order among equal losses.

    Returns:
        bool [N].
    """
    sizes = torch.bincount(batches)
    ends = sizes.cumsum(0)
    kept = torch.tensor([kept_count(end, ratio) for end in ends.tolist()])
    kept[-1].clamp_(min=1)
    quotas = kept.diff(prepend=kept.new_zeros(1))
    order = rng.permutation(len(batches))
    order = order[p_target[order].argsort(stable=True)]
    order = order[batches[order].argsort(stable=True)]
    home = batches[order]
    rank = torch.arange(len(order)) - (ends - sizes)[home]
    mask = torch.zeros(len(order), dtype=torch.bool)
    mask[order] = rank < quotas[home]
    return mask


@register_method("airbench-proxy")
class AirbenchProxy(DynamicPruner):
    """Trains a small network first and replays, epoch by epoch, which samples of its batches had
    the largest loss.

    Both runs see the same batches of the same views: order and augmentation are drawn by seed,
    epoch and sample. An epoch beyond the last one of the small network takes the masks from the
    first epoch on again.
    """

    kind = "batch"
    options = {
        "width": Option(
            32, "channels of the small network's first stage; the next two have twice as many",
            1, 1024, search=(8, 64), log=True,
        ),
        "batch": Option(
            None, "samples of which the hardest are kept; none: the recipe's batch",
            2, optional=True, kind=int,
        ),
        "epochs": Option(
            None, "epochs of the small network, whose masks come again after them; none: the "
            "recipe's", 1, optional=True, kind=int, scales=True,
        ),
    }  # fmt: skip
    card = Card(
        "airbench proxy",
        repository="https://github.com/KellerJordan/cifar10-airbench",
        bibtex_key="jordan2024airbench",
        cost="a full-data run of a small network (32, 64 and 64 channels), shared with no method; "
        "ours: its recipe, a backward pass for every batch, one run for all ratios",
        side="high within each batch, by the small network",
        year=2024,
    )
    width: int
    batch: int | None
    epochs: int | None

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """The probability of the label at every visit, which gives the loss."""
        return EvidenceSpec(frozenset({"p_target"}))

    def needs_at(self, epochs: int, warmup: int, ratio: float) -> EvidenceSpec:
        """Nothing at ratio 0, where everything is kept."""
        return self.needs(epochs, warmup) if ratio > 0 else EvidenceSpec()

    def proxy_recipe(self, epochs: int) -> Mapping[str, Any]:
        """The small network; optimiser, rates and views are those of the cell's recipe."""
        fields = {
            "name": self.name,
            "version": 1,
            "model": "airbench-proxy",
            "model_params": {"width": self.width},
            "epochs": min(self.epochs or epochs, epochs),
            "warmup": None,
            "weights": "",
            "train": "all",
            "compat": (),
            "drop_last": False,  # every sample has a loss in every epoch
            "eval_every": 0,
        }
        return fields if self.batch is None else {**fields, "batch_size": self.batch}

    def prepare(self, evidence: Evidence, ratio: float, rng: Stream) -> None:
        """The masks of all epochs, bool [E, N]."""
        self.masks = torch.stack(
            [
                hardest_in_batches(p, evidence.batches(epoch), ratio, rng.child("ties", epoch))
                for epoch, p in enumerate(counted(evidence.p_target))
            ]
        )

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """What was hard for the small network in this epoch; all samples at ratio 0."""
        if self.view.ratio == 0:
            return self.everything()
        mask = self.masks[progress.epoch % len(self.masks)]
        return Plan(mask.nonzero().squeeze(1).to(self.view.device))
