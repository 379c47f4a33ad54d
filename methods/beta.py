"""DUAL's Beta sampling: the more is pruned, the further the draw moves towards easy samples."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    Sampler,
    Scored,
    StaticPruner,
    register_sampler,
)
from prunebench.methods.keep_k import check_count, take
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["beta_weights"]

C_D = Option(4.0, "exponent of the pruned share in b", low=0.0, high=100.0, search=(2.0, 12.0))


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


@register_sampler("beta")
class Beta(Sampler):
    """Draws k samples by Beta-weighted scores; a fresh draw per k, so not nested.

    Scores that go below 0 are shifted by their minimum. Where too few weights are positive, the
    highest scores fill up.
    """

    randomised = True
    c_d: float
    options = {"c_d": C_D}
    card = Card(
        title="Beta sampling",
        paper="Cho, Shin, Kang, Yun: Lightweight Dataset Pruning without Full Training via Example "
        "Difficulty and Prediction Uncertainty, ICML 2025",
        repository="https://github.com/behaapyy/dual-pruning",
        bibtex_key="cho2025lightweight",
        cost="the target probabilities of the epochs that the score reads",
        side="a draw by score, towards easy at high ratios",
    )

    def needs(self, need: EvidenceSpec) -> EvidenceSpec:
        """Target probabilities of the epochs that the score reads, all where it reads none."""
        until = need.until if need.trains else None
        return replace(need, signals=need.signals | {"p_target"}, until=until)

    def read(self, scored: Scored, evidence: Evidence, score: StaticPruner) -> Scored:
        """Adds the mean target probability."""
        need = self.needs(score.needs(evidence.epochs, evidence.warmup))
        return replace(scored, mean_p=evidence.p_target[: need.until].double().mean(0))

    def keep(self, scored: Scored, k: int, rng: Stream) -> tuple[Tensor, dict[str, Any]]:
        """Draws k; see ``beta_weights``."""
        scores, total = scored.scores, len(scored)
        check_count(k, total)
        undefined, finite = scores.isnan(), scores[scores.isfinite()]
        if len(finite) and float(finite.min()) < 0:
            scores = scores - finite.min()
        mean_p = scored.need("mean_p", self.name)
        log_weights = log_beta_weights(scores, mean_p, 1 - k / max(total, 1), self.c_d)
        # Undefined scores are kept first: 1e6 lies above every log weight.
        log_weights = log_weights.masked_fill(undefined, 1e6)
        drawable = int((log_weights > -math.inf).sum())
        drawn = draw(log_weights, min(k, drawable), rng.child("beta", k))
        rest = torch.ones(total, dtype=torch.bool, device=drawn.device)
        rest[drawn] = False
        others = rest.nonzero().squeeze(1)
        filled, tied = take(scores[others], k - len(drawn), "high", rng)
        indices = torch.cat([drawn, others[filled]]).sort().values
        return indices, {"tied_at_cut": tied, "filled": len(filled)}
