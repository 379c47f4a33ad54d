"""DUAL: uncertainty times difficulty, from the first epochs only; optionally Beta-sampled."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    StaticPruner,
    Subset,
    register_method,
)
from prunebench.methods.keep_k import DUAL_PROXY, check_count, real, take
from prunebench.methods.windows import check_window, window_length, window_moments
from prunebench.options import Option
from prunebench.rng import Stream

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


def log_beta_weights(scores: Tensor, mean_p: Tensor, ratio: float, c: float = 4.0) -> Tensor:
    """Unnormalised log of ``beta_weights``, float64 [N]; -inf where the weight is 0."""
    s, mu = scores.double(), mean_p.double()
    defined = ~(s.isnan() | mu.isnan())
    top = s.masked_fill(~defined, -math.inf).argsort(stable=True)[-10:]
    top = top[defined[top]]
    difficulty = 1 - float(mu[top].mean()) if len(top) else 0.0
    b = 15 * difficulty * (1 - ratio**c)
    a = 16 - b
    below_one = 1 - torch.finfo(torch.float64).eps / 2  # b < 1 has a pole at mu = 1
    mu = mu.clamp(0.0, below_one)
    density = torch.special.xlogy(a - 1, mu) + (b - 1) * torch.log1p(-mu)
    weight = density + s.clamp_min(0.0).log()
    return torch.where(defined, weight, -math.inf)


def beta_weights(scores: Tensor, mean_p: Tensor, ratio: float, c: float = 4.0) -> Tensor:
    """Sampling probabilities of DUAL's Beta variant (dual-pruning: exp_cifar/data_subset.py).

    w_i = BetaPDF(mu_i; a, b) S_i with b = 15 (1 - mu_D)(1 - r^c), a = 16 - b, where mu_D is the
    mean mu of the 10 samples with the highest S. A larger r moves the mass to easy samples.

    Args:
        scores: [N], DUAL scores S.
        mean_p: [N], mean target probability mu over the same epochs.
        ratio: r, the share that is pruned, 0..1.
        c: Exponent c_D.

    Returns:
        float64 [N], summing to 1; all 0 where no weight is positive. 0 where an input is NaN.
    """
    log_weights = log_beta_weights(scores, mean_p, ratio, c)
    if not bool((log_weights > -math.inf).any()):
        return torch.zeros_like(log_weights)
    return torch.softmax(log_weights, dim=0)


def draw(log_weights: Tensor, k: int, rng: Stream) -> Tensor:
    """k of N without replacement, one after the other in proportion to the weights left.

    Exponential race: the k earliest of Exp(w_i) arrivals have that law, and stay in log space.

    Args:
        log_weights: float64 [N]; -inf is never drawn.
        k: At most the number of finite entries.
        rng: Stream of the draw.

    Returns:
        int64 [k], in the order drawn.
    """
    uniform = rng.uniform(len(log_weights), log_weights.device)
    waiting = (-torch.log1p(-uniform)).clamp_min(torch.finfo(torch.float64).tiny)
    return (log_weights - waiting.log()).argsort(descending=True, stable=True)[:k]


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
_CARD = {
    "paper": "Cho, Shin, Kang, Yun: Lightweight Dataset Pruning without Full Training via Example "
    "Difficulty and Prediction Uncertainty, ICML 2025",
    "repository": "https://github.com/behaapyy/dual-pruning",
    "bibtex_key": "cho2025lightweight",
    "cost": "the first T epochs of one full-data run; no extra pass",
}


@register_method("dual")
class Dual(StaticPruner):
    """Keeps the k largest scores."""

    own_proxy = DUAL_PROXY

    window: int | None
    epochs: int | None
    options = _OPTIONS
    card = Card(title="DUAL", side="high", **_CARD)

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

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps the k largest scores."""
        counted, window = self.lengths(evidence.epochs)
        scores = dual_scores(evidence.p_target, counted, window)
        indices, tied = take(scores, k, "high", rng)
        return Subset(indices, scores, {"tied_at_cut": tied})


@register_method("dual-beta")
class DualBeta(Dual):
    """Draws k samples by Beta-weighted scores; a fresh draw per k, so not nested."""

    randomised = True
    c_d: float
    options = {
        **_OPTIONS,
        "c_d": Option(
            4.0, "exponent of the pruned share in b", low=0.0, high=100.0, search=(2.0, 12.0)
        ),
    }
    card = Card(title="DUAL+Beta", side="high, sampled towards easy at high ratios", **_CARD)

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Draws k; where too few weights are positive, the highest scores fill up."""
        counted, window = self.lengths(evidence.epochs)
        scores = dual_scores(evidence.p_target, counted, window)
        total = len(scores)
        check_count(k, total)
        mean_p = evidence.p_target[:counted].double().mean(0)
        log_weights = log_beta_weights(scores, mean_p, 1 - k / max(total, 1), self.c_d)
        # Undefined scores are kept first: 1e6 lies above every log weight.
        log_weights = log_weights.masked_fill(scores.isnan(), 1e6)
        drawable = int((log_weights > -math.inf).sum())
        drawn = draw(log_weights, min(k, drawable), rng.child("beta", k))
        rest = torch.ones(total, dtype=torch.bool, device=drawn.device)
        rest[drawn] = False
        others = rest.nonzero().squeeze(1)
        filled, tied = take(scores[others], k - len(drawn), "high", rng)
        indices = torch.cat([drawn, others[filled]]).sort().values
        return Subset(indices, scores, {"tied_at_cut": tied, "filled": len(filled)})
