"""Dynamic methods and LARS as a plain reading of their papers and released code has them: values
one by one, lists and dictionaries. Contenders of ours; the results are the same or as good."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def seta_plan(scores: Tensor, k: int, drawn: Tensor | None = None) -> list[int]:
    """One epoch of SeTa: 90 % at random, k-means over the scores, all groups but the lowest.

    Args:
        scores: float32 [N].
        k: Number of groups.
        drawn: The samples drawn; None draws them.
    """
    from sklearn.cluster import KMeans

    n = len(scores)
    drawn = torch.randperm(n)[: int(0.9 * n)] if drawn is None else drawn
    values = [scores[i].item() for i in drawn]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = KMeans(k, random_state=0).fit(np.array(values, np.float32)[:, None]).labels_
    groups: list[list[int]] = [[] for _ in range(k)]
    means: list[list[float]] = [[] for _ in range(k)]
    for i, label in zip(drawn, labels, strict=True):
        groups[label].append(int(i))
        means[label].append(scores[i].item())
    order = sorted(range(k), key=lambda j: float(np.mean(means[j])))
    kept = [i for j in order[1:] for i in groups[j]]
    np.random.default_rng(0).shuffle(kept)
    return kept


def ies_mastered(history: Mapping[int, Sequence[float]], cut: float) -> list[int]:
    """Samples whose loss has stopped bending, from lists of losses.

    Args:
        history: Losses of every sample in time order, of equal length.
        cut: Threshold on the last average of three second differences.
    """
    mastered = []
    for i, losses in history.items():
        bends: list[float] = []
        for t in range(2, len(losses)):
            series = losses[: t + 1]
            bends.append(series[-1] - 2 * series[-2] + series[-3])
        averages = [np.mean(np.abs(bends[j : j + 3])) for j in range(len(bends) - 2)]
        if sum(averages[-1:]) < cut:
            mastered.append(i)
    return mastered


def divbs_picks(features: Tensor, logits: Tensor, labels: Tensor, k: int) -> list[int]:
    """Greedy choice with the B x (C D) matrix of gradients formed.

    Args:
        features: float32 [B, D].
        logits: float32 [B, C].
        labels: int64 [B].
        k: How many.
    """
    p = (logits.softmax(1) - torch.nn.functional.one_hot(labels, logits.shape[1])) / len(labels)
    grads = (p[:, :, None] * features[:, None, :]).flatten(1)
    residual = grads.mean(0)
    basis = torch.empty(0, grads.shape[1])
    picks: list[int] = []
    for _ in range(k):
        chance = (grads @ residual).abs()
        pick = int(torch.multinomial(chance, 1).item())
        picks.append(pick)
        u = grads[pick] - basis.T @ (basis @ grads[pick])
        u = u / u.norm()
        basis = torch.cat([basis, u[None]])
        residual = residual - u * (u @ residual)
    return picks


class LiteralLARS:
    """LARS that asks for both norms of every tensor before it goes on.

    Args:
        params: Tensors.
        lr: Learning rate.
        momentum: Factor of the buffer.
        decay: Weight decay.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.9, decay: float = 5e-4
    ) -> None:
        self.params, self.lr, self.momentum, self.decay = list(params), lr, momentum, decay
        self.buffers: dict[int, Tensor] = {}

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self) -> Any:
        """One update."""
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            weight, gradient = p.norm().item(), p.grad.norm().item()
            trust = 1.0
            if weight > 0 and gradient > 0:
                trust = 1e-3 * weight / (gradient + self.decay * weight)
            trust = min(max(trust, 0.0), 50.0)
            direction = (p.grad + self.decay * p).clamp(-10.0, 10.0)
            if i in self.buffers:
                direction = self.momentum * self.buffers[i] + direction
            self.buffers[i] = direction
            p.sub_(self.lr * trust * direction)
