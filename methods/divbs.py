"""DivBS (Hong et al., ICML 2024): diverse batch selection in the space of last-layer gradients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from prunebench.methods.base import Batch, BatchPruner, Card, register_method
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["select_diverse"]

#: ||residual|| / ||mean gradient|| below which the residual is rounding noise.
_SPENT = 1e-6


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

    Holds the Gram matrix of the samples' gradients and, as a last row, of their mean. Removing a
    gradient is one step of the pivoted Cholesky factorisation. It works on the host: dozens of
    steps on a B x B matrix cost less there than their kernel launches.
    """

    def __init__(self, gram: Tensor) -> None:
        samples = gram.cpu().numpy()
        size = len(samples)
        mean = samples.mean(1)
        self._table = np.empty((size + 1, size + 1))
        self._table[:-1, :-1] = samples
        self._table[-1, :-1] = self._table[:-1, -1] = mean
        self._table[-1, -1] = mean.mean()
        self._update = np.empty_like(self._table)
        self._floor = np.maximum(_SPENT**2 * self._table.diagonal(), np.finfo(np.float64).tiny)

    @property
    def correlation(self) -> npt.NDArray[np.float64]:
        """[B], <g_i, R>."""
        return self._table[-1, :-1]

    @property
    def spent(self) -> bool:
        """Whether R is rounding noise, zero, or not a number."""
        energy, floor = self._table[-1, -1], self._floor[-1]
        return not energy > floor

    def remove(self, pick: int) -> None:
        """Projects R and all gradients off gradient ``pick``."""
        row = self._table[pick].copy()
        # A gradient within the span of those removed has only rounding noise left.
        np.multiply(row[:, None], row / max(row[pick], self._floor[pick]), out=self._update)
        self._table -= self._update


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
        int64 [k], distinct positions in pick order. Nothing is read back to the host.

    Raises:
        ValueError: k is not in 0..B, the rule is unknown, or ``multinomial`` lacks a stream.
    """
    size, device = len(logits), logits.device
    if not 0 <= k <= size:
        raise ValueError(f"cannot select {k} of {size}")
    if rule not in ("argmax", "multinomial") or (rule == "multinomial" and rng is None):
        raise ValueError(f"rule {rule!r} is not argmax, or multinomial with a stream")
    gram = gradient_gram(features, logits, labels)
    if device.type != "cpu":
        return pick_on_device(gram, k, rule, rng)
    residual = Residual(gram)
    luck = None
    if rule == "multinomial" and rng is not None:
        # argmax of log c + Gumbel noise draws in proportion to c; c / Exp(1) has the same order.
        uniform = rng.child("picks").uniform((k, size)).numpy()
        luck = 1 / np.maximum(-np.log1p(-uniform), np.finfo(np.float64).tiny)
    picks: list[int] = []
    taken = np.zeros(size)
    while len(picks) < k and not residual.spent:
        merit = np.abs(residual.correlation)
        if luck is not None:
            merit *= luck[len(picks)]
        merit += taken
        picks.append(int(merit.argmax()))
        taken[picks[-1]] = -np.inf
        residual.remove(picks[-1])
    if len(picks) < k:
        order = torch.arange(size) if rng is None else rng.child("fill").permutation(size)
        rest = order[torch.from_numpy(taken)[order] == 0]
        picks += rest[: k - len(picks)].tolist()
    return torch.tensor(picks, dtype=torch.int64, device=device)


def pick_on_device(gram: Tensor, k: int, rule: str, rng: Stream | None) -> Tensor:
    """The same choice as a fixed sequence of device operations, which a graph can record.

    Args:
        gram: float64 [B, B] of ``gradient_gram``.
        k: Number to choose, 0..B.
        rule: ``argmax`` or ``multinomial``.
        rng: As for ``select_diverse``.

    Returns:
        int64 [k].
    """
    size, tiny = len(gram), torch.finfo(torch.float64).tiny
    mean = gram.mean(1)
    table = torch.empty((size + 1, size + 1), dtype=torch.float64, device=gram.device)
    table[:-1, :-1] = gram
    table[-1, :-1] = mean
    table[:-1, -1] = mean
    table[-1, -1] = mean.mean()
    floor = (table.diagonal() * _SPENT**2).clamp_min(tiny)
    place = torch.arange(size, device=gram.device)
    order = place if rng is None else rng.child("fill").permutation(size, gram.device)
    # Once the residual is spent, the earliest in this order that is not taken goes next.
    late = torch.empty_like(place).index_copy_(0, order, place).neg_().double()
    luck = None
    if rule == "multinomial" and rng is not None:
        uniform = rng.child("picks").uniform((k, size), gram.device)
        luck = torch.log1p(-uniform).neg_().clamp_min_(tiny).reciprocal_()
    taken = torch.zeros(size, dtype=torch.float64, device=gram.device)
    spent = torch.zeros(1, dtype=torch.bool, device=gram.device)
    picks = []
    for step in range(k):
        spent = spent | ~(table[-1, -1:] > floor[-1:])
        merit = table[-1, :-1].abs()
        if luck is not None:
            merit = merit * luck[step]
        pick = (torch.where(spent, late, merit) + taken).argmax(0, keepdim=True)
        taken.index_fill_(0, pick, -torch.inf)
        row = table.index_select(0, pick)[0]
        bottom = torch.maximum(row.index_select(0, pick), floor.index_select(0, pick))
        table.sub_(row[:, None] * (row / bottom))
        picks.append(pick)
    return torch.cat(picks) if picks else place[:0]


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
    draws = ("picks", "fill")
    rule: str

    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """int64 [k], see ``select_diverse``."""
        if k >= len(batch.positions):
            return torch.arange(len(batch.positions), device=batch.positions.device)
        return select_diverse(batch.features, batch.logits, batch.labels, k, self.rule, rng)
