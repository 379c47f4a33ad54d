"""DUAL: uncertainty times difficulty, from the first epochs only; optionally Beta-sampled."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.beta import C_D, beta_weights
from prunebench.methods.beta import draw as draw
from prunebench.methods.keep_k import DUAL_PROXY, real
from prunebench.methods.windows import check_window, window_length, window_moments
from prunebench.options import Option

__all__ = ["beta_weights", "dual_scores"]


def dual_scores(p_target: Tensor, epochs: int = 30, window: int = 10) -> Tensor:
    """Mean over the T-J+1 windows of 10 std (1 - mean) of p (std with ddof 1).

    Follows dual-pruning: exp_cifar/importance_evaluation.py; the product is inside the mean.

    Args:
        p_target: [E, N], softmax probability of the (noisy) label per epoch.
        epochs: T, the leading rows that count; J..E.
        window: J, 2..T.

    Returns:
        [N], at least float32; NaN where any p counted is NaN.

    Raises:
        InputError: T exceeds E, or the window does not fit T.
    """
    recorded, total = p_target.shape
    if epochs > recorded:
        raise InputError(
            f"{epochs} epochs are asked for and {recorded} are recorded",
            where="epochs",
            accepted=f"{window} to {recorded}",
        )
    check_window(epochs, window)
    scores = p_target.new_zeros(total, dtype=torch.float64)
    for columns, mean, spread in window_moments(p_target[:epochs], window):
        scores[columns] += spread.mul_(1 - mean).sum(0)
    return (10 * scores / (epochs - window + 1)).to(real(p_target).dtype)


_OPTIONS = {
    "window": Option(
        None,
        "epochs J per window; auto = min(10, epochs // 3)",
        low=2,
        optional=True,
        kind=int,
        search=(5, 20),
        scales=True,
    ),
    "epochs": Option(
        None,
        "leading epochs T that count; auto = max(J + 2, 15 % of the recipe's)",
        low=2,
        optional=True,
        kind=int,
        search=(15, 60),
        scales=True,
    ),
}
_CARD = Card(
    title="DUAL",
    paper="Cho, Shin, Kang, Yun: Lightweight Dataset Pruning without Full Training via Example "
    "Difficulty and Prediction Uncertainty, ICML 2025",
    repository="https://github.com/behaapyy/dual-pruning",
    bibtex_key="cho2025lightweight",
    cost="the first T epochs of one full-data run; no extra pass",
    side="high",
)


@register_method("dual")
class Dual(ScorePruner):
    """Keeps the k largest scores."""

    own_proxy = DUAL_PROXY

    window: int | None
    epochs: int | None
    options = _OPTIONS
    card = _CARD

    def lengths(self, epochs: int) -> tuple[int, int]:
        """(T, J) for a recipe of E epochs.

        Raises:
            InputError: Options that do not fit the recipe.
            SkipCell: The recipe has a single epoch.
        """
        window = window_length(epochs, self.window)
        auto = max(window + 2, round(Fraction(3, 20) * epochs))
        counted = self.epochs or min(epochs, auto)
        check_window(counted, window)
        if counted > epochs:
            raise InputError(
                f"{counted} epochs are asked for and the recipe has {epochs}",
                where=f"{self.name}.epochs",
                accepted=f"{window} to {epochs}",
            )
        return counted, window

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Target probabilities of the first T epochs; see ``lengths`` for errors."""
        return EvidenceSpec(signals=frozenset({"p_target"}), until=self.lengths(epochs)[0])

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], DUAL scores."""
        return dual_scores(evidence.p_target, *self.lengths(evidence.epochs))


@register_method("dual-beta")
class DualBeta(Dual):
    """``dual@beta``: draws k samples by Beta-weighted scores."""

    score_of, sampler = "dual", "beta"
    randomised = True
    options = {**_OPTIONS, "c_d": C_D}
    card = replace(_CARD, title="DUAL+Beta", side="high, sampled towards easy at high ratios")
