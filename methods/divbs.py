"""DivBS (Hong et al., ICML 2024): diverse batch selection in the space of last-layer gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.methods.base import Batch, BatchPruner, Card, register_method
from prunebench.options import Option
from prunebench.rng import Stream

#: ||residual|| / ||mean gradient|| below which the residual is rounding noise.
_SPENT = 1e-6
_TINY = torch.finfo(torch.float64).tiny


def gradient_gram(features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Inner products of the samples' last-layer weight gradients of the mean cross-entropy.

    g_i = ((softmax(z_i) - onehot(y_i)) / B) outer f_i, so that the B x (C D) matrix of gradients
    need not be formed: K = (P P^T) * (F F^T).

    Args:
        features: float [B, D], input of the last layer.
        logits: float [B, C].
        labels: int64 [B].

    Returns:
        float64 [B, B].
    """
    p = logits.double().softmax(1)
    p.scatter_add_(1, labels[:, None], p.new_full((len(p), 1), -1.0))
    p /= max(len(p), 1)
    f = features.double()
    return (p @ p.T) * (f @ f.T)


class Residual:
    """The mean gradient less its projection on the chosen gradients, in Gram space.

    Removing a gradient is one step of the pivoted Cholesky factorisation of the Gram matrix.

    Attributes:
        correlation: float64 [B], <g_i, R>.
        energy: float64 scalar, ||R||^2.
        spent: bool scalar, once R is rounding noise, zero, or not a number.
    """

    def __init__(self, gram: Tensor) -> None:
        self.gram = gram.clone()
        self.correlation = gram.mean(1)
        self.energy = self.correlation.mean()
        self._least = _SPENT**2 * self.energy
        self._own = (_SPENT**2 * gram.diagonal()).clamp_min(_TINY)
        self.spent = ~(self.energy > self._least)

    def remove(self, pick: Tensor) -> None:
        """Projects R and all gradients off gradient ``pick`` (int64 [1])."""
        row = self.gram.index_select(0, pick).view(-1)
        # A gradient within the span of those removed has only rounding noise left.
        norm = torch.maximum(row.index_select(0, pick), self._own.index_select(0, pick))
        onto = row * norm.rsqrt()
        along = self.correlation.index_select(0, pick) * norm.rsqrt()
        self.correlation = torch.addcmul(self.correlation, along, onto, value=-1)
        self.energy = torch.addcmul(self.energy, along, along, value=-1)
        self.spent = self.spent | ~(self.energy > self._least)
        self.gram.addr_(onto, onto, alpha=-1.0)


def select_diverse(
    features: Tensor,
    logits: Tensor,
    labels: Tensor,
    k: int,
    rule: str = "argmax",
    rng: Stream | None = None,
) -> Tensor:
    """Greedy choice of samples whose gradients span the batch's mean gradient.

    At each step every sample has c_i = |<g_i, R>| with R the part of the mean gradient outside
    the span of those chosen. ``argmax`` takes the largest (the paper's guarantee); ``multinomial``
    draws in proportion to c (the released code). Unlike that code, no sample is chosen twice, and
    once R is spent (below 1e-6 of the mean gradient, or not a number) the rest is filled at random.

    Args:
        features: float [B, D].
        logits: float [B, C].
        labels: int64 [B].
        k: Number to choose, 0..B.
        rule: ``argmax`` or ``multinomial``.
        rng: Draws of ``multinomial`` and of the fill; None fills in index order.

    Returns:
        int64 [k], distinct positions in pick order. Runs without reading values back.

    Raises:
        ValueError: k is not in 0..B, the rule is unknown, or ``multinomial`` lacks a stream.
    """
    size, device = len(logits), logits.device
    if not 0 <= k <= size:
        raise ValueError(f"cannot select {k} of {size}")
    if rule not in ("argmax", "multinomial") or (rule == "multinomial" and rng is None):
        raise ValueError(f"rule {rule!r} is not argmax, or multinomial with a stream")
    residual = Residual(gradient_gram(features, logits, labels))
    ahead = torch.arange(size, 0, -1, dtype=torch.float64, device=device)
    fill = ahead if rng is None else 1 + rng.child("fill").uniform(size, device)
    luck: tuple[Tensor, ...] = ()
    if rule == "multinomial" and rng is not None:
        # argmax of log c + Gumbel noise draws in proportion to c; c / Exp(1) has the same order.
        uniform = rng.child("picks").uniform((k, size), device)
        luck = torch.log1p(-uniform).neg_().clamp_min_(_TINY).reciprocal_().unbind(0)
    picks: list[Tensor] = []
    taken = torch.zeros(size, dtype=torch.float64, device=device)
    for step in range(k):
        merit = residual.correlation.abs()
        if luck:
            merit *= luck[step]
        merit = torch.where(residual.spent, fill, merit) + taken
        picks.append(merit.argmax(0, keepdim=True))
        taken.index_fill_(0, picks[-1], -torch.inf)
        residual.remove(picks[-1])
    return torch.cat(picks) if picks else torch.empty(0, dtype=torch.int64, device=device)


@register_method("divbs")
class DivBS(BatchPruner):
    """Selects within each batch; saves backward passes only, weights stay 1.

    Scores come from an eval-mode pass. The number chosen is floor(B (1 - p)), at least 1,
    unless the budget says otherwise.
    """

    options = {
        "rule": Option(
            "multinomial", "draw as the released code, or take the largest as the paper",
            choices=("multinomial", "argmax"),
        )
    }  # fmt: skip
    card = Card(
        "DivBS",
        "Hong et al., Diversified Batch Selection for Training Acceleration, ICML 2024",
        "https://github.com/Feng-Hong/DivBS",
        "hong2024divbs",
        cost="one forward pass per sample and epoch",
        side="diverse",
    )
    randomised = True
    rule: str

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """int64 [k], see ``select_diverse``."""
        if k >= len(batch.index):
            return torch.arange(len(batch.index), device=batch.index.device)
        return select_diverse(batch.features, batch.logits, batch.labels, k, self.rule, rng)
