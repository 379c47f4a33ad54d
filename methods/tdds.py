"""TDDS: how much the change of a sample's output from epoch to epoch varies in late windows."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor

from prunebench.errors import InputError, SkipCell
from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.keep_k import real
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["divergence", "divergence_scores", "tdds_scores"]

#: Keeps the logarithm of a probability of 0 finite, as published.
_FLOOR = 1e-8


def divergence(new: Tensor, old: Tensor) -> Tensor:
    """Sum over classes of |p_new (ln(p_new + 1e-8) - ln(p_old + 1e-8))|.

    As in TDDS: importance_evaluation.py. The absolute value is inside the sum and the weight is the
    later probability, so that this is no Kullback-Leibler divergence.

    Args:
        new: [N, C], softmax probabilities at this visit.
        old: [N, C], those at the visit before.

    Returns:
        [N], at least float32.
    """
    p, before = real(new), real(old)
    change = (p + _FLOOR).log_() - (before + _FLOOR).log_()
    return change.mul_(p).abs_().sum(1)


def check_lengths(epochs: int, window: int, where: str = "window") -> None:
    """Raises InputError unless 3 <= J <= T."""
    if not 3 <= window <= epochs:
        raise InputError(
            f"a window of {window} visits does not fit {epochs} epochs",
            where=where,
            accepted=f"3 to {epochs}" if epochs >= 3 else "at least 3 epochs",
        )


def divergence_scores(divergences: Tensor, window: int = 10, decay: float = 0.9) -> Tensor:
    """Decayed sum over windows of the root of the summed squared deviations.

    A window of J visits holds J - 1 divergences. The last window has weight ``decay``, each one
    before it (1 - decay) times the weight of the next.

    Args:
        divergences: [T-1, N]: row t - 1 is d(t), between visits t - 1 and t of T.
        window: J, 3..T.
        decay: 0..1.

    Returns:
        float64 [N]; NaN where a divergence that counts is NaN.

    Raises:
        InputError: The window does not fit.
    """
    rows, total = divergences.shape
    check_lengths(rows + 1, window)
    width = window - 1
    scores = divergences.new_zeros(total, dtype=torch.float64)
    for age, begin in enumerate(range(rows - width, -1, -1)):
        part = divergences[begin : begin + width].double()
        spread = (part - part.mean(0)).square_().sum(0).sqrt_()
        scores += decay * (1 - decay) ** age * spread
    return scores


def tdds_scores(probabilities: Tensor, window: int = 10, decay: float = 0.9) -> Tensor:
    """``divergence_scores`` of a recorded trajectory.

    Args:
        probabilities: [T, N, C], softmax of each of the first T visits, train mode.
        window: J, 3..T.
        decay: 0..1.

    Returns:
        float64 [N]; the largest are kept.

    Raises:
        InputError: The window does not fit.
    """
    check_lengths(len(probabilities), window)
    steps = [divergence(new, old) for old, new in pairwise(probabilities)]
    return divergence_scores(torch.stack(steps), window, decay)


#: (T, J) of 200 epochs by the share pruned; that of 0.9 is confirmed by TDDS issue 3.
_LENGTHS = {"0.3": (90, 10), "0.5": (70, 10), "0.7": (60, 20), "0.8": (20, 10), "0.9": (10, 5)}
_LISTED_EPOCHS = 200


@register_method("tdds")
class TDDS(ScorePruner):
    """Keeps the largest scores over the first T epochs.

    No label enters. T and J are those that are listed for the nearest pruned share, for 200 epochs,
    scaled to the recipe.
    """

    epochs: int | None
    window: int | None
    decay: float
    options = {
        "epochs": Option(
            None,
            "leading epochs T that count; auto = as listed for the share pruned, scaled",
            low=3,
            optional=True,
            kind=int,
            search=(10, 90),
            scales=True,
        ),
        "window": Option(
            None,
            "visits J of a window, J - 1 divergences; auto = as listed, at most T / 2, at least 3",
            low=3,
            optional=True,
            kind=int,
            search=(5, 20),
            scales=True,
        ),
        "decay": Option(
            0.9,
            "weight of the last window; each one before it weighs 1 - decay times the next",
            low=0.0,
            high=1.0,
            search=(0.1, 0.95),
        ),
    }
    card = Card(
        title="TDDS",
        paper="Zhang, Du, Li, Xie, Zhou: Spanning Training Progress: Temporal Dual-Depth Scoring "
        "(TDDS) for Enhanced Dataset Pruning, CVPR 2024",
        repository="https://github.com/zhangxin-xd/Dataset-Pruning-TDDS",
        bibtex_key="zhang2024spanning",
        cost="the first T epochs of one full-data run; no extra pass",
        side="high",
    )

    def lengths(self, epochs: int, pruned: str) -> tuple[int, int]:
        """(T, J) for a recipe of E epochs at one of the listed shares.

        Raises:
            InputError: Options that do not fit the recipe.
            SkipCell: The recipe has fewer than 3 epochs.
        """
        if epochs < 3:
            raise SkipCell("windows of divergences need at least 3 epochs")
        listed, window = _LENGTHS[pruned]
        total = self.epochs or round(Fraction(listed, _LISTED_EPOCHS) * epochs)
        visits = self.window or max(3, min(window, total // 2))
        total = self.epochs or min(epochs, max(total, visits + 1))
        if total > epochs:
            raise InputError(
                f"{total} epochs are asked for and the recipe has {epochs}",
                where=f"{self.name}.epochs", accepted=f"3 to {epochs}",
            )  # fmt: skip
        check_lengths(total, visits, f"{self.name}.window")
        return total, visits

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Divergences of the most epochs that any pruned share counts; see ``lengths``."""
        most = max(self.lengths(epochs, share)[0] for share in _LENGTHS)
        return EvidenceSpec(signals=frozenset({"divergence"}), until=most)

    def needs_at(self, epochs: int, warmup: int, ratio: float) -> EvidenceSpec:
        """Divergences of the epochs that count at a ratio."""
        total, _ = self.lengths(epochs, nearest_listed(Fraction(str(ratio))))
        return EvidenceSpec(signals=frozenset({"divergence"}), until=total)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], by the epochs that count where half of the samples are pruned."""
        return self._scores(evidence, Fraction(1, 2))

    def scores_for(self, evidence: Evidence, k: int, rng: Stream) -> Tensor:
        """[N], by the epochs that count where k samples are kept."""
        total = max(len(evidence.labels), 1)
        return self._scores(evidence, Fraction(total - k, total))

    def _scores(self, evidence: Evidence, pruned: Fraction) -> Tensor:
        rows, epochs = evidence.divergence, evidence.epochs
        # The share pruned, rounded to samples, may be nearer to another listed one than the ratio
        # that decided what is recorded.
        recorded = [share for share in _LENGTHS if self.lengths(epochs, share)[0] <= len(rows)]
        total, visits = self.lengths(epochs, nearest_listed(pruned, recorded))
        return divergence_scores(rows[1:total], visits, self.decay)


def nearest_listed(pruned: Fraction, among: Iterable[str] = _LENGTHS) -> str:
    """The listed share nearest to a pruned share, the smaller of two."""
    return min(among, key=lambda share: (abs(Fraction(share) - pruned), Fraction(share)))
