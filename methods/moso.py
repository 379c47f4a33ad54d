"""MoSo: how the training loss would change were a sample left out, along one training run."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    Sampler,
    ScorePruner,
    register_method,
)
from prunebench.methods.last_layer import mean_gradient, projections, residuals
from prunebench.options import Option
from prunebench.progress import counted
from prunebench.registry import SAMPLERS

__all__ = ["last_layer_moso", "last_layer_term", "moso_scores"]


def moso_scores(gradients: Tensor, learning_rates: Tensor, exact: bool = True) -> Tensor:
    """Scores from gradients of any parameters (MoSo: scoring.py).

    With G the mean gradient, a checkpoint adds its learning rate times <G - g_i / N, g_i>, or, in
    the exact form, (2N-3)/(N-1)^2 |G|^2 - |g_i|^2/(N-1)^2 + (2N-4)/(N-1)^2 <G - g_i / N, g_i>.

    Args:
        gradients: [T, N, P], of each sample at each checkpoint.
        learning_rates: [T].
        exact: Which form; the exact one needs N >= 2.

    Returns:
        float64 [N]; high scores matter most.

    Raises:
        InputError: Lengths that differ, or fewer than two samples.
    """
    _check_rates(len(gradients), learning_rates)
    scores = gradients.new_zeros(gradients.shape[1], dtype=torch.float64)
    for g, rate in zip(gradients.double(), learning_rates.tolist(), strict=True):
        mean = g.mean(0)
        scores += rate * _term(mean @ mean, g.square().sum(1), g @ mean, exact)
    return scores


def last_layer_moso(
    logits: Tensor,
    features: Tensor,
    labels: Tensor,
    learning_rates: Tensor,
    exact: bool = True,
) -> Tensor:
    """``moso_scores`` of the gradients of the last linear layer, none of which is formed.

    Args:
        logits: [T, N, C].
        features: [T, N, D], input of the last layer.
        labels: int64 [N], noisy.
        learning_rates: [T].
        exact: As in ``moso_scores``.

    Returns:
        float64 [N].

    Raises:
        InputError: As ``moso_scores``, or a logit that is not finite.
    """
    _check_rates(len(logits), learning_rates)
    scores = logits.new_zeros(len(labels), dtype=torch.float64)
    for z, h, rate in zip(logits, features, learning_rates.tolist(), strict=True):
        scores += rate * last_layer_term(z, h, labels, exact)
    return scores


def last_layer_term(logits: Tensor, features: Tensor, labels: Tensor, exact: bool = True) -> Tensor:
    """What one checkpoint adds per unit of its learning rate: float64 [N].

    Args:
        logits: [N, C].
        features: [N, D].
        labels: int64 [N], noisy.
        exact: As in ``moso_scores``.

    Raises:
        InputError: As ``last_layer_moso``.
    """
    r, h = residuals(logits, labels), features.double()
    bias, weight = mean_gradient(r, h)
    squares = r.square().sum(1) * (1 + h.square().sum(1))
    length = bias.square().sum() + weight.square().sum()
    return _term(length, squares, projections(r, h, bias, weight), exact)


def _term(mean_square: Tensor, squares: Tensor, with_mean: Tensor, exact: bool) -> Tensor:
    """One checkpoint's term [N] from |G|^2, |g_i|^2 [N] and <G, g_i> [N]."""
    n = len(squares)
    others = with_mean - squares / max(n, 1)
    if not exact:
        return others
    if n < 2:
        raise InputError(f"{n} samples", where="moso", accepted="at least 2 in the exact form")
    return ((2 * n - 3) * mean_square - squares + (2 * n - 4) * others) / (n - 1) ** 2


def _check_rates(snapshots: int, learning_rates: Tensor) -> None:
    if len(learning_rates) != snapshots:
        raise InputError(
            f"{len(learning_rates)} learning rates for {snapshots} checkpoints",
            where="learning_rates",
        )


def snapshot_epochs(epochs: int, snapshots: int) -> tuple[int, ...]:
    """Evenly spaced epochs, the last one among them; all of them where there are no more."""
    count = min(snapshots, epochs)
    return tuple(round((i + 1) * epochs / count) for i in range(count))


@register_method("moso")
class MoSo(ScorePruner):
    """Keeps the samples that the mean loss would miss the most, by the last layer's gradients.

    The snapshots are those of one full-data run.
    """

    snapshots: int
    exact: bool
    balance: bool
    sampler_options = frozenset({"balance"})
    options = {
        "snapshots": Option(
            10, "evenly spaced epochs that count, at most the recipe's", low=1, high=100,
            search=(1, 20),
        ),
        "exact": Option(True, "the exact form; false: the approximate one"),
        "balance": Option(False, "keep the same share of every noisy class"),
    }  # fmt: skip
    card = Card(
        title="MoSo (last layer)",
        paper="Tan, Wu, Du, Chen, Wang, Wang, Qi: Data Pruning via Moving-one-Sample-out, "
        "NeurIPS 2023",
        repository="https://github.com/hrtan/MoSo",
        bibtex_key="tan2023data",
        cost="one full-data run, and a forward pass for each snapshot",
        side="high",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Logits and features at every snapshot."""
        return EvidenceSpec(snapshots=snapshot_epochs(epochs, self.snapshots))

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], one snapshot at a time; NaN for samples whose outputs are not finite in one."""
        total = torch.zeros(len(evidence.labels), dtype=torch.float64)
        for epoch in counted(snapshot_epochs(evidence.epochs, self.snapshots)):
            shot = evidence.snapshot(epoch)
            finite = shot.logits.isfinite().all(1) & shot.features.isfinite().all(1)
            term = torch.full_like(total, float("nan"))
            if int(finite.sum()) > 1:
                term[finite] = last_layer_term(
                    shot.logits[finite], shot.features[finite], evidence.labels[finite], self.exact
                )
            total += float(evidence.learning_rates[epoch - 1]) * term
        return total

    def own_sampler(self) -> Sampler:
        """``top``, or ``balanced`` where ``balance`` is true."""
        sampler: Sampler = SAMPLERS.get("balanced" if self.balance else "top").target()
        return sampler
