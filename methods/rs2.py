"""RS2 (Okanovic et al., ICLR 2024): repeated random subsets that walk through a permutation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import (
    Card,
    DynamicPruner,
    Plan,
    Progress,
    Tables,
    TrainView,
    kept_count,
    register_method,
)
from prunebench.methods.keep_k import members_by_class, quotas
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["next_subset"]

TAILS = ("carry", "wrap", "drop")


def next_subset(
    order: Tensor, position: int, size: int, fresh: Tensor, tail: str = "carry"
) -> tuple[Tensor, Tensor, int]:
    """The samples of the next epoch, where every epoch takes the next part of one permutation.

    What differs is the epoch for which the permutation in force does not suffice. ``carry`` (ours)
    takes what is left over and completes it from the new permutation, so that every epoch has
    ``size`` distinct samples and visits never differ by more than 1. ``wrap`` (RS2:
    uniform_no_replacement.py) completes it from the start of the same permutation, one sample
    short, and then counts it as used up. ``drop`` (DataCull: methods/RS2.py) leaves the rest out.

    Args:
        order: int64 [N], the permutation in force.
        position: How many of it are used, 0..N; N is used up.
        size: Samples of the epoch, 1..N.
        fresh: int64 [N], a new permutation, read only where the old one does not suffice.
        tail: ``carry``, ``wrap`` or ``drop``.

    Returns:
        int64 [size] (one fewer where ``wrap`` wraps), the permutation now in force, and how many
        of it are used.

    Raises:
        ValueError: ``size``, ``position`` or ``tail`` is none of those.
    """
    total = len(order)
    if not (0 <= position <= total and 1 <= size <= total) or tail not in TAILS:
        raise ValueError(f"no subset of {size} from {position} of {total} used, tail {tail!r}")
    if position + size <= total:
        return order[position : position + size], order, position + size
    if tail == "drop" or position == total:
        return fresh[:size], fresh, size
    left = order[position:]
    missing = size - len(left)
    if tail == "wrap":
        return torch.cat([left, order[: missing - 1]]), order, total
    head = _without(fresh, left)[:missing]
    return torch.cat([left, head]), torch.cat([head, _without(fresh, head)]), missing


def _without(order: Tensor, removed: Tensor) -> Tensor:
    """A permutation less some of its entries."""
    stays = torch.ones(len(order), dtype=torch.bool, device=order.device)
    stays[removed] = False
    return order[stays[order]]


def draw_balanced(labels: Tensor, size: int, rng: Stream) -> Tensor:
    """A uniform draw from every class, with sizes in proportion to the classes.

    Args:
        labels: int64 [N].
        size: 0..N.
        rng: Draws, and equal remainders of the class shares.

    Returns:
        int64 [size].
    """
    parts = [labels.new_empty(0)]
    members = members_by_class(labels)
    for cls, count in quotas(labels, size, rng).items():
        own = members[cls]
        parts.append(own[rng.child("class", cls).sample(len(own), count, labels.device)])
    return torch.cat(parts)


@register_method("rs2")
class RS2(DynamicPruner):
    """Trains each epoch on the next (1 - p) N samples of a random permutation.

    A new permutation is taken when the old one is used up. Weights are 1 and there is no annealing
    phase. With ``replacement`` every epoch is an independent draw, which is ``random-dynamic``.
    """

    options = {
        "tail": Option(
            "carry", "where a permutation ends in mid-epoch: carry (complete the epoch from the "
            "next one), wrap (from its own start, as the official code), drop (skip the rest)",
            choices=TAILS,
        ),
        "replacement": Option(False, "draw every epoch anew instead (random-dynamic)"),
        "balanced": Option(False, "draw in proportion to the classes; needs replacement"),
    }  # fmt: skip
    card = Card(
        "RS2",
        "Okanovic et al., Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning,"
        " ICLR 2024",
        "https://github.com/PatrikOkanovic/RS2",
        "okanovic2024rs2",
        side="uniform, without replacement across epochs",
    )
    randomised = True
    tail: str
    replacement: bool
    balanced: bool

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        if self.balanced and not self.replacement:
            raise InputError(
                "a balanced draw is one with replacement across epochs",
                where=f"{self.name}.balanced", accepted="true with replacement = true, or false",
            )  # fmt: skip

    def begin(self, view: TrainView) -> None:
        """Starts with a permutation that is used up."""
        super().begin(view)
        self.order = torch.arange(view.num_samples, device=view.device)
        self.position = view.num_samples

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """The next subset."""
        total, device = self.view.num_samples, self.view.device
        size = max(1, kept_count(total, self.view.ratio))
        if self.balanced:
            return Plan(draw_balanced(self.view.labels, size, rng))
        if self.replacement:
            return Plan(rng.sample(total, size, device))
        enough = self.position + size <= total
        fresh = self.order if enough else rng.permutation(total, device)
        chosen, self.order, self.position = next_subset(
            self.order, self.position, size, fresh, self.tail
        )
        return Plan(chosen)

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """The permutation in force and how much of it is used."""
        return {"order": self.order, "position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        self.order = state["order"].to(self.view.device)
        self.position = int(state["position"])
