"""The base of per-sample losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from prunebench.options import Option, resolve
from prunebench.registry import CRITERIA
from prunebench.rng import Stream


def register_criterion(name: str, *, version: int = 1) -> Callable[[type], type]:
    """Class decorator: registers a per-sample loss."""
    return CRITERIA.register(name, version=version)


class Criterion(ABC):
    """Per-sample loss; may own per-sample parameters, indexed by original sample id.

    Attributes:
        views: 2 when a strongly augmented second view is wanted.
        plain: Whether ``per_sample`` is cross-entropy, so that tables need no second loss.
        capturable: Whether a step may be recorded once and replayed: the same tensor operations
            every time, nothing read back to the host, no decisions of Python's that change.
    """

    options: ClassVar[Mapping[str, Option]] = {}
    views: int = 1
    plain: bool = False
    capturable: bool = False

    def __init__(self, **params: Any) -> None:
        self.params = resolve(self.options, params, "criterion")
        for name, value in self.params.items():
            setattr(self, name, value)

    def begin(self, num_samples: int, num_classes: int, device: torch.device, rng: Stream) -> None:
        """Creates per-sample parameters for ids 0..num_samples-1 of the original split."""

    @abstractmethod
    def per_sample(
        self,
        logits: Tensor,
        labels: Tensor,
        sample_ids: Tensor,
        strong_logits: Tensor | None = None,
    ) -> Tensor:
        """float32 [B] from logits [B, C]; weights are applied to it by the trainer."""

    def batch_term(
        self,
        logits: Tensor,
        labels: Tensor,
        sample_ids: Tensor,
        strong_logits: Tensor | None = None,
    ) -> Tensor | None:
        """A scalar added unweighted, or None."""
        return None

    def step(self) -> None:
        """Updates the criterion's own parameters after the backward pass."""

    def state_dict(self) -> dict[str, Tensor]:
        """Own parameters, for checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores them."""
