"""Gradients of the cross-entropy in the last linear layer, by their products: never formed.

With r = softmax(z) - onehot(y) and h the layer's input, a sample's gradient is r for the bias and
r h^T for the weight. Products of two gradients factor into (r_i . r_j) (1 + h_i . h_j), so that
[N, C] and [N, D] say all that the [N, C (1 + D)] gradients would. Gradients are those of single
samples: DeepCore divides them by the size of the batch they happened to be in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.errors import InputError

__all__ = [
    "distances",
    "feature_similarity",
    "gram",
    "mean_gradient",
    "projections",
    "residuals",
    "similarity",
]

#: Samples whose pairwise matrix may be formed: 1.2 GB in float64.
MAX_SAMPLES = 12_000
_ROWS = 1024
#: Squared distances below this share of the squared norms are rounding, of samples that coincide.
_NOISE = 64 * torch.finfo(torch.float64).eps


def residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax minus one-hot label, the gradient with respect to the logits.

    The label's entry is minus the sum of the other probabilities, which keeps the digits that
    p_y - 1 loses where the network is sure.

    Args:
        logits: [N, C], finite.
        labels: int64 [N], noisy.

    Returns:
        float64 [N, C]; rows sum to 0.

    Raises:
        InputError: A logit that is not finite, or lengths that differ.
    """
    z = _finite(logits, "logits").double()
    if len(labels) != len(z):
        raise InputError(f"{len(labels)} labels for {len(z)} rows of logits", where="labels")
    others = torch.softmax(z, dim=1).scatter(1, labels[:, None], 0.0)
    return others.scatter(1, labels[:, None], -others.sum(1, keepdim=True))


def gram(
    residuals: Tensor,
    features: Tensor,
    other_residuals: Tensor | None = None,
    other_features: Tensor | None = None,
) -> Tensor:
    """Inner products of the gradients of N samples with those of M others, or with themselves.

    Args:
        residuals: [N, C].
        features: [N, D].
        other_residuals: [M, C]; None takes the N samples, for a symmetric result.
        other_features: [M, D]; None together with ``other_residuals``.

    Returns:
        float64 [N, M].

    Raises:
        InputError: Input that is not finite, lengths that differ, or more than ``MAX_SAMPLES``
            squared entries.
    """
    ours = _pair(residuals, features)
    if other_residuals is None or other_features is None:
        if other_residuals is not None or other_features is not None:
            raise InputError("other_residuals and other_features come together", where="gram")
        return _products(*ours)
    r, h = ours
    s, g = _pair(other_residuals, other_features)
    _check_size(len(r), len(s))
    return torch.mm(r, s.T).mul_(torch.mm(h, g.T))


def distances(residuals: Tensor, features: Tensor) -> Tensor:
    """Euclidean distances between gradients.

    Args:
        residuals: [N, C].
        features: [N, D].

    Returns:
        float64 [N, N], symmetric, 0 on the diagonal and between equal gradients.

    Raises:
        InputError: As ``gram``.
    """
    out = gram(residuals, features)
    squares = out.diagonal().clone()
    for rows in _blocks(len(out)):
        both = squares[rows, None] + squares
        apart = both - 2 * out[rows]
        out[rows] = apart.masked_fill_(apart <= _NOISE * both, 0.0).sqrt_()
    return out.fill_diagonal_(0.0)


def similarity(residuals: Tensor, features: Tensor) -> Tensor:
    """0.5 + 0.5 cos of the gradients; 0.5 where one is zero, with itself too.

    Args:
        residuals: [N, C].
        features: [N, D].

    Returns:
        float64 [N, N] in 0..1, symmetric.

    Raises:
        InputError: As ``gram``.
    """
    r, h = _pair(residuals, features)
    return _to_similarity(_products(_unit(r), _unit(h)))


def feature_similarity(features: Tensor) -> Tensor:
    """0.5 + 0.5 cos of features [N, D], which looks at no label; as ``similarity`` otherwise."""
    return _to_similarity(_products(_unit(_finite(features, "features").double())))


def mean_gradient(residuals: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean gradient of N >= 1 samples: float64 bias part [C] and weight part [C, D]."""
    r, h = residuals.double(), features.double()
    return r.mean(0), r.T @ h / len(r)


def projections(residuals: Tensor, features: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """Inner product of every gradient with one more, given by its parts.

    Args:
        residuals: [N, C].
        features: [N, D].
        bias: Bias part [C].
        weight: Weight part [C, D].

    Returns:
        float64 [N].
    """
    moved = features.double() @ weight.double().T
    return residuals.double().mul(moved.add_(bias.double())).sum(1)


def _finite(x: Tensor, what: str) -> Tensor:
    if not bool(x.isfinite().all()):
        raise InputError("a value is not finite", where=what, accepted="finite numbers")
    return x


def _pair(residuals: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Both factors in float64; the features with a leading 1 for the bias."""
    if len(residuals) != len(features):
        raise InputError(
            f"{len(features)} rows of features for {len(residuals)} of residuals", where="features"
        )
    r, h = _finite(residuals, "residuals").double(), _finite(features, "features").double()
    return r, torch.cat([h.new_ones(len(h), 1), h], dim=1)


def _unit(x: Tensor) -> Tensor:
    """Rows of unit length; zero rows stay. Scaled first, so that no square leaves the range."""
    x = x / x.abs().amax(1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    return torch.nn.functional.normalize(x, dim=1)


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > MAX_SAMPLES**2:
        raise InputError(
            f"all pairs of {rows:,} and {columns:,} samples take {rows * columns * 8 / 1e9:.1f} GB",
            where="pairwise gradients",
            accepted=f"classes of at most {MAX_SAMPLES:,} samples, one at a time",
        )


def _blocks(total: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, total, _ROWS)]


def _products(*factors: Tensor) -> Tensor:
    """Elementwise product of the Gram matrices of the factors [n, *], symmetric to the bit.

    Only blocks below the diagonal are multiplied, the others are their mirror images.
    """
    total = len(factors[0])
    _check_size(total, total)
    out = factors[0].new_empty(total, total)
    for rows in _blocks(total):
        block, *more = (x[rows] @ x[: rows.stop].T for x in factors)
        for other in more:
            block *= other
        own = block[:, rows.start :]
        own.copy_(own.tril() + own.tril(-1).T)
        out[rows, : rows.stop] = block
        out[: rows.start, rows] = block[:, : rows.start].T
    return out


def _to_similarity(cosine: Tensor) -> Tensor:
    return cosine.mul_(0.5).add_(0.5).clamp_(0.0, 1.0)
