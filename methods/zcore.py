"""ZCore: samples score where they cover the space of features and lose where others are near."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.feature_space import Floats, Ints, float64_rows, float64_vector

__all__ = ["zcore_scores"]

#: One in so many samples tells where the K nearest end; see ``_within``.
_STRIDE = 16
_MANY = 4096


def zcore_scores(
    features: Tensor,
    dimensions: Tensor,
    points: Tensor,
    neighbours: int = 1000,
    exponent: float = 4.0,
    start: Tensor | None = None,
) -> Tensor:
    """Coverage minus redundancy over random draws (zcore: core/coreset/zcore.py).

    Each draw is a point in a few of the dimensions. The sample nearest to it (L1) gains 1. Its K
    nearest others in the same dimensions lose 1 together, each in proportion to d^-exponent; where
    one of them is at distance 0, that one loses all of it.

    Args:
        features: [N, D], finite.
        dimensions: int64 [R, m]: the dimensions of each draw.
        points: [R, m]: the point of each draw.
        neighbours: K; N - 1 where there are fewer.
        exponent: e >= 0.
        start: [N], scores before the first draw; None: 0.

    Returns:
        float64 [N], scaled to 0..1; 0 where all are equal. The largest are kept.

    Raises:
        InputError: Dimensions that do not exist, shapes that differ, or input that is not finite.
    """
    rows = float64_rows(features)
    total, width = rows.shape
    drawn, where = dimensions.cpu().numpy(), points.double().cpu().numpy()
    if drawn.ndim != 2 or drawn.shape != where.shape:
        raise InputError(
            f"dimensions {drawn.shape} and points {where.shape}", where="points", accepted="[R, m]"
        )
    if drawn.size and not (drawn.min() >= 0 and drawn.max() < width):
        raise InputError(
            f"dimensions from {drawn.min()} to {drawn.max()}", where="dimensions",
            accepted=f"0 to {width - 1}",
        )  # fmt: skip
    if neighbours < 1:
        raise InputError(f"{neighbours} neighbours", where="neighbours", accepted="1 or more")
    scores = np.zeros(total) if start is None else float64_vector(start, total, "start")
    columns = np.ascontiguousarray(rows.T)
    count = min(neighbours, total - 1)
    for axes, point in zip(drawn, where, strict=True):
        view = columns[axes]
        best = int(_distances(view, point).argmin())
        scores[best] += 1
        if count:
            _penalise(scores, _distances(view, view[:, best]), best, count, exponent)
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    return torch.from_numpy((scores - low) / (high - low) if high > low else np.zeros(total))


def _distances(view: Floats, point: Floats) -> Floats:
    """L1 distance [N] of the columns of [m, N] to a point [m]."""
    total: Floats = np.abs(view[0] - point[0])
    for column, value in zip(view[1:], point[1:], strict=True):
        total += np.abs(column - value)
    return total


def _penalise(scores: Floats, distances: Floats, best: int, count: int, exponent: float) -> None:
    """Takes 1 in all from the K nearest others of a sample; its own distance is 0."""
    who = _within(distances, count + 1)
    who = who[who != best][:count]
    apart = distances[who]
    nearest = int(apart.argmin())
    least = apart[nearest]
    if least == 0:
        scores[who[nearest]] -= 1
        return
    share: Floats = (least / apart) ** exponent
    scores[who] -= share / share.sum()


def _within(distances: Floats, count: int) -> Ints:
    """Indices of the smallest of [N], in any order.

    Of many samples, a part gives a radius that holds somewhat more than are wanted; only those
    are compared. Where it holds fewer, all are.
    """
    pool = None
    rank = int(1.5 * count / _STRIDE) + 8
    if len(distances) >= _MANY and rank < len(distances) // _STRIDE:
        radius = np.partition(distances[::_STRIDE], rank)[rank]
        inside = np.flatnonzero(distances <= radius)
        pool = inside if len(inside) > count else None
    if len(distances) == count:
        return np.arange(count)
    if pool is None:
        return np.argpartition(distances, count)[:count]
    return pool[np.argpartition(distances[pool], count)[:count]]
