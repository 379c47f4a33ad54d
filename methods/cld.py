"""CLD: whether a sample's loss moves from epoch to epoch as that of clean samples of its class."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from prunebench.errors import InputError, SkipCell
from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    Sampler,
    ScorePruner,
    Subset,
    register_method,
)
from prunebench.rng import Stream

__all__ = ["cld_scores"]

#: Share of the largest loss of a curve below which the spread of its differences is rounding.
_ROUNDING = 1e-13


def _deviations(curves: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of each curve less their mean, and their root mean square; both 0 where the
    differences are equal but for rounding.

    Args:
        curves: float64 [E, n].

    Returns:
        [E-1, n] and [n].
    """
    steps = curves.diff(dim=0)
    steps = steps - steps.mean(0)
    spread = steps.square().mean(0).sqrt()
    flat = spread <= _ROUNDING * curves.abs().amax(0)
    return steps.masked_fill(flat, 0.0), spread.masked_fill(flat, 0.0)


def cld_scores(
    losses: Tensor, labels: Tensor, val_losses: Tensor, val_labels: Tensor, num_classes: int
) -> Tensor:
    """Pearson correlation of a sample's loss differences with those of its class's mean loss.

    As in CLD_Coresets_from_Trajectories: Compute_CLD_scores.py, with population moments. Equal
    differences of either curve give 0.

    Args:
        losses: [E, N], after each epoch, E >= 2.
        labels: int64 [N], noisy.
        val_losses: [E, V], of clean samples.
        val_labels: int64 [V].
        num_classes: C.

    Returns:
        float64 [N]; NaN for a class without validation samples (the official code drops these) and
        where a loss is NaN.

    Raises:
        InputError: Fewer than two epochs, or shapes that do not belong together.
    """
    fits = losses.shape[1:] == labels.shape and val_losses.shape[1:] == val_labels.shape
    if len(losses) < 2 or len(losses) != len(val_losses) or not fits:
        raise InputError(
            f"losses {tuple(losses.shape)} and {tuple(val_losses.shape)} with "
            f"{len(labels)} and {len(val_labels)} labels",
            where="cld", accepted="[E, N], [E, V], [N] and [V], E >= 2",
        )  # fmt: skip
    scores = losses.new_full((len(labels),), torch.nan, dtype=torch.float64)
    for cls in range(num_classes):
        members, own = labels == cls, val_labels == cls
        if not bool(own.any()):
            continue
        steps, spread = _deviations(losses[:, members].double())
        target, other = _deviations(val_losses[:, own].double().mean(1, keepdim=True))
        product = spread * other
        score = (steps * target).mean(0) / product.masked_fill(product == 0, 1.0)
        scores[members] = score.clamp(-1.0, 1.0)
    return scores


@register_method("cld")
class CLD(ScorePruner):
    """Keeps, in every (noisy) class, the samples whose loss falls and rises as that of the clean
    reference samples of the class does.

    A wrong label's loss does not fall with the reference loss of the class that it names.
    """

    side = "high"
    hard = "low"
    sampler = "balanced"
    clean_data = "the reference set"
    card = Card(
        title="CLD",
        paper="Nagaraj, Ravikumar, Roy: Coresets from Trajectories: Selecting Data via Correlation "
        "of Loss Differences, TMLR 2025",
        repository="https://github.com/manishnagaraj/CLD_Coresets_from_Trajectories",
        bibtex_key="nagaraj2025coresets",
        cost="one full-data run, one forward pass over training and reference samples after each "
        "of its epochs",
        side="high, in every class",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Losses of training and reference samples after each epoch.

        Raises:
            SkipCell: A recipe of one epoch has no differences.
        """
        if epochs < 2:
            raise SkipCell("differences of losses need at least 2 epochs")
        return EvidenceSpec(signals=frozenset({"loss", "reference_loss"}))

    def keep_by(self, sampler: Sampler, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps k samples, and says how many of the N have no score, which are kept first."""
        subset = super().keep_by(sampler, evidence, k, rng)
        assert subset.scores is not None
        undefined = int(subset.scores.isnan().sum())
        return replace(subset, info={**subset.info, "undefined": undefined})

    def scores(self, evidence: Evidence) -> Tensor:
        """float64 [N]; NaN in a class without reference samples."""
        return cld_scores(
            evidence.loss, evidence.labels, evidence.reference_loss, evidence.reference_labels,
            evidence.num_classes,
        )  # fmt: skip
