"""D2: difficulty passed along a graph of nearest neighbours, so that picks are hard and diverse."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.feature_space import (
    Floats,
    Ints,
    first_of_best,
    float64_rows,
    float64_vector,
    tie_order,
)
from prunebench.methods.keep_k import check_count
from prunebench.rng import Stream

__all__ = ["d2_densities", "d2_order", "nearest_neighbours"]

MODES = ("sum", "product")
UPDATES = ("weighted", "absolute")
#: What the undirected graph takes for a score of 0 or less in a message.
_LEAST = 1e-7
#: Rows whose distances to all others are held at once.
_BLOCK_BYTES = 100_000_000
#: Candidates beyond K whose distances are computed from differences.
_SPARE = 8


def nearest_neighbours(features: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """The K nearest other samples of each sample in euclidean distance.

    Candidates come from inner products of centred float64 features, block by block; their
    distances from differences, which are exact for equal and for distant features.

    Args:
        features: [n, D], finite.
        neighbours: K >= 1; n - 1 where there are fewer.

    Returns:
        Neighbours int64 [n, K] and distances float64 [n, K], nearest first, the lowest index first
        among equals.

    Raises:
        InputError: K below 1, or features that are not finite.
    """
    near, distance = _neighbours(float64_rows(features), neighbours)
    return torch.from_numpy(near), torch.from_numpy(distance)


def _neighbours(rows: Floats, count: int) -> tuple[Ints, Floats]:
    total, width = rows.shape
    if count < 1:
        raise InputError(f"{count} neighbours", where="neighbours", accepted="1 or more")
    count = min(count, max(total - 1, 0))
    near = np.empty((total, count), dtype=np.int64)
    distance = np.empty((total, count))
    if count == 0:
        return near, distance
    centred = rows - rows.mean(0)
    squares = np.einsum("nd,nd->n", centred, centred)
    spare = min(count + _SPARE, total - 1)
    block = max(1, _BLOCK_BYTES // (8 * max(total, spare * width)))
    for begin in range(0, total, block):
        own = np.arange(begin, min(begin + block, total))
        gaps = squares - 2 * (centred[own] @ centred.T)
        gaps[own - begin, own] = np.inf
        found = np.sort(np.argpartition(gaps, spare - 1, axis=1)[:, :spare], axis=1)
        exact = np.linalg.norm(rows[found] - rows[own, None], axis=2)
        order = exact.argsort(axis=1, kind="stable")[:, :count]
        near[own] = np.take_along_axis(found, order, 1)
        distance[own] = np.take_along_axis(exact, order, 1)
    return near, distance


class Graph:
    """Weighted edges in rows: those of sample i are ``start[i]`` to ``start[i + 1]``.

    Args:
        near: int64 [n, K].
        distance: float64 [n, K].
        symmetric: Whether an edge goes both ways; else from a sample to its nearest only.
    """

    def __init__(self, near: Ints, distance: Floats, symmetric: bool) -> None:
        total, count = near.shape
        source, other, length = np.repeat(np.arange(total), count), near.ravel(), distance.ravel()
        if symmetric:
            both = np.concatenate([source * total + other, other * total + source])
            code, place = np.unique(both, return_index=True)
            source, other = np.divmod(code, max(total, 1))
            length = np.concatenate([length, length])[place]
        self.source, self.other, self.distance = source, other, length
        self.start = np.searchsorted(source, np.arange(total + 1))


def _densities(scores: Floats, graph: Graph, mode: str, symmetric: bool) -> Floats:
    sent = np.maximum(scores, _LEAST) if symmetric else scores
    messages = np.exp(-graph.distance) * sent[graph.other]
    received = np.bincount(graph.source, messages, len(scores))
    return scores + received if mode == "sum" else scores * received


def _check(mode: str, update: str = "weighted") -> None:
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}", where="mode", accepted=", ".join(MODES))
    if update not in UPDATES:
        raise InputError(f"unknown update {update!r}", where="update", accepted=", ".join(UPDATES))


def d2_densities(
    scores: Tensor,
    features: Tensor,
    neighbours: int,
    mode: str = "sum",
    symmetric: bool = True,
) -> Tensor:
    """A sample's score and the messages that it receives: sum of e^-d max(s, 1e-7) over neighbours.

    As in d2pruning: core/data/sampling.py. ``sum`` adds the messages to the score, ``product``
    multiplies it by their sum. The directed graph has no floor of 1e-7.

    Args:
        scores: [n], difficulty, high where hard.
        features: [n, D].
        neighbours: K.
        mode: ``sum`` or ``product``.
        symmetric: An edge for either direction of nearness (the CIFAR code), or only to a
            sample's own nearest (the ImageNet code).

    Returns:
        float64 [n].

    Raises:
        InputError: An unknown mode, or input that is not finite.
    """
    _check(mode)
    rows = float64_rows(features)
    values = float64_vector(scores, len(rows), "scores")
    graph = Graph(*_neighbours(rows, neighbours), symmetric)
    return torch.from_numpy(_densities(values, graph, mode, symmetric))


def d2_order(
    scores: Tensor,
    features: Tensor,
    k: int,
    neighbours: int,
    gamma: float,
    mode: str = "sum",
    update: str = "weighted",
    symmetric: bool = True,
    rng: Stream | None = None,
) -> Tensor:
    """Picks by density; each pick takes e^(-gamma d) times its density from its neighbours'.

    As in d2pruning: core/data/sampling.py. A pick whose density is negative raises its neighbours.

    Args:
        scores: [n], difficulty, high where hard.
        features: [n, D].
        k: Number of picks, 0..n.
        neighbours: K.
        gamma: Fall of the update with distance, >= 0.
        mode: As in ``d2_densities``.
        update: ``weighted``, or ``absolute`` for a factor of 1.
        symmetric: As in ``d2_densities``.
        rng: Random order among equal densities; None: the lowest index.

    Returns:
        int64 [k] in pick order, each once; the orders are nested in k.

    Raises:
        InputError: k out of range, an unknown mode or update, or input that is not finite.
    """
    _check(mode, update)
    rows = float64_rows(features)
    check_count(k, len(rows))
    tie = tie_order(len(rows), rng)
    values = float64_vector(scores, len(rows), "scores")[tie]
    graph = Graph(*_neighbours(rows[tie], neighbours), symmetric)
    density = _densities(values, graph, mode, symmetric)
    factor = np.exp(-gamma * graph.distance) if update == "weighted" else None
    size = np.abs(density)
    picks = np.empty(k, dtype=np.int64)
    for step in range(k):
        picks[step] = pick = first_of_best(density, size)
        edges = slice(graph.start[pick], graph.start[pick + 1])
        own = density[pick]
        density[graph.other[edges]] -= own if factor is None else factor[edges] * own
        density[pick] = -np.inf
    return torch.from_numpy(tie[picks])
