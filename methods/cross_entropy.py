"""Cross-entropy, with label smoothing where the recipe asks for it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from prunebench.methods.base import Criterion, register_criterion
from prunebench.options import Option


@register_criterion("ce")
class CrossEntropy(Criterion):
    """Per-sample cross-entropy in float32.

    Smoothing changes the score of a sample as it changes its loss; the reference curve of
    AlignPrune uses the same criterion, so that both have the same shape.
    """

    options = {
        "smoothing": Option(
            None, "label smoothing; none: the recipe's", 0.0, 1.0, optional=True, kind=float
        )
    }
    is_cross_entropy = True
    capturable = True
    smoothing: float | None

    def per_sample(
        self,
        logits: Tensor,
        labels: Tensor,
        sample_ids: Tensor,
        strong_logits: Tensor | None = None,
    ) -> Tensor:
        """float32 [B] (float64 for float64 logits)."""
        if not logits.is_floating_point() or logits.element_size() < 4:
            logits = logits.float()
        smoothing = self.smoothing or 0.0
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
