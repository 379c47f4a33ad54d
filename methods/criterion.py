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
    """Per-sample loss; may own per-sample parameters, indexed by sample id.

    A sample id is the row of a sample in ``RawData.train_x`` and stays the same whatever is held
    out of training; positions in the training split, which pruners work with, are other numbers.

    Attributes:
        views: 2 when a strongly augmented second view is wanted.
        is_cross_entropy: Whether ``per_sample`` is cross-entropy, so that tables need no second
            loss. Its former name ``plain`` is still read from subclasses that set it.
        capturable: Whether a step may be recorded once and replayed: the same tensor operations
            every time, nothing read back to the host, no decisions of Python's that change.
    """

    options: ClassVar[Mapping[str, Option]] = {}
    views: int = 1
    is_cross_entropy: bool = False
    capturable: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "plain" in vars(cls) and "is_cross_entropy" not in vars(cls):
            cls.is_cross_entropy = vars(cls)["plain"]

    def __init__(self, **params: Any) -> None:
        self.params = resolve(self.options, params, "criterion")
        for name, value in self.params.items():
            setattr(self, name, value)

    def begin(self, num_samples: int, num_classes: int, device: torch.device, rng: Stream) -> None:
        """Creates per-sample parameters for sample ids 0..num_samples-1.

        Args:
            num_samples: Of the whole data set, held-out samples included.
            num_classes: C.
            device: Where the parameters live.
            rng: The criterion's own stream.
        """

    @abstractmethod
    def per_sample(
        self,
        logits: Tensor,
        labels: Tensor,
        sample_ids: Tensor,
        strong_logits: Tensor | None = None,
    ) -> Tensor:
        """The losses of one batch, unweighted; the trainer passes all arguments by position.

        Args:
            logits: float32 [B, C].
            labels: int64 [B], noisy.
            sample_ids: int64 [B]; they index per-sample parameters.
            strong_logits: float32 [B, C] of the strong view where ``views`` is 2; None in passes
                without gradient.

        Returns:
            float32 [B].
        """

    def batch_term(
        self,
        logits: Tensor,
        labels: Tensor,
        sample_ids: Tensor,
        strong_logits: Tensor | None = None,
    ) -> Tensor | None:
        """A scalar added to the mean loss of the batch, unweighted, or None; see ``per_sample``."""
        return None

    def step(self) -> None:
        """Updates the criterion's own parameters after the backward pass."""

    def state_dict(self) -> dict[str, Tensor]:
        """Own parameters, for checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores them."""
