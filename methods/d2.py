"""D2: difficulty passed along a graph of nearest neighbours, so that picks are hard and diverse."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.aum import aum_scores
from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    StaticPruner,
    Subset,
    register_method,
)
from prunebench.methods.feature_space import (
    Floats,
    Ints,
    first_of_best,
    float64_rows,
    float64_vector,
    tie_order,
)
from prunebench.methods.forgetting import forgetting_counts
from prunebench.methods.keep_k import check_count, take
from prunebench.methods.strata import (
    check_cutoff,
    dropped,
    published_cutoff,
    stratum_budgets,
)
from prunebench.options import Option
from prunebench.progress import counted
from prunebench.rng import Stream

__all__ = ["d2_by_class", "d2_densities", "d2_order", "nearest_neighbours"]

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
    found = map(torch.from_numpy, _neighbours(float64_rows(features), neighbours))
    near, distance = (part.to(features.device) for part in found)
    return near, distance


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
    for begin in counted(range(0, total, block)):
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
    densities = _densities(values, graph, mode, symmetric)
    return torch.from_numpy(densities).to(features.device)


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
    for step in counted(range(k)):
        picks[step] = pick = first_of_best(density, size)
        edges = slice(graph.start[pick], graph.start[pick + 1])
        own = density[pick]
        density[graph.other[edges]] -= own if factor is None else factor[edges] * own
        density[pick] = -np.inf
    return torch.from_numpy(tie[picks]).to(features.device)


def d2_by_class(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    k: int,
    rng: Stream,
    order: Callable[[Tensor, Tensor, int, Stream], Tensor],
) -> Tensor:
    """The first picks of a graph for each class, as evenly over the classes as their sizes allow.

    As in d2pruning: core/data/Coreset.py. A class of at most K samples is returned whole there,
    whatever its budget.

    Args:
        scores: [n].
        features: [n, D].
        labels: int64 [n].
        k: 0..n.
        rng: Its children are handed to ``order``, one for each class.
        order: Takes scores, features, how many to pick and a stream; gives picks int64.

    Returns:
        int64 [k], ascending.
    """
    classes, sizes = torch.unique(labels, return_counts=True)
    budgets = stratum_budgets(sizes, k).tolist()
    parts = [labels.new_empty(0)]
    for cls, budget in counted(list(zip(classes.tolist(), budgets, strict=True))):
        members = (labels == cls).nonzero().squeeze(1)
        if budget < len(members):
            picks = order(scores[members], features[members], budget, rng.child("class", cls))
            members = members[picks]
        parts.append(members)
    return torch.cat(parts).sort().values


@register_method("d2")
class D2(StaticPruner):
    """Drops the samples of lowest area under the margin, then picks in a graph for each class.

    Class sizes are as even as they can be, not in proportion to the classes.
    """

    score: str
    neighbours: int
    gamma: float
    mode: str
    cutoff: float | None
    balance: bool
    options = {
        "score": Option(
            "forgetting",
            "difficulty: forgetting events, or the area under the margin, low being hard",
            choices=("forgetting", "aum"),
            search=("forgetting", "aum"),
        ),
        "neighbours": Option(
            5, "nearest samples K that pass messages", low=1, high=1000, search=(1, 15)
        ),
        "gamma": Option(
            0.1,
            "fall with distance of what a pick takes from its neighbours",
            low=0.0,
            high=100.0,
            search=(0.0, 1.0),
        ),
        "mode": Option(
            "sum",
            "whether messages are added to the difficulty or multiply it",
            choices=MODES,
            search=MODES,
        ),
        "cutoff": Option(
            None,
            "share of all samples dropped as too hard, at most the share pruned; auto = 0 below "
            "half, else as in ccs",
            low=0.0,
            high=1.0,
            kind=float,
            optional=True,
            search=(0.0, 0.9),
            at_most_ratio=True,
        ),
        "balance": Option(True, "a graph for each (noisy) class; false: one for all samples"),
    }
    card = Card(
        title="D2",
        paper="Maharana, Yadav, Bansal: D2 Pruning: Message Passing for Balancing Diversity & "
        "Difficulty in Data Pruning, ICLR 2024",
        repository="https://github.com/adymaharana/d2pruning",
        bibtex_key="maharana2024d2",
        cost="one full-data run, one forward pass and the nearest neighbours of all samples",
        side="greedy, hard and diverse",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Features at the end, and what difficulty and cut-off go by, over the whole run."""
        signals = {"correct"} if self.score == "forgetting" else set()
        if self.score == "aum" or self.cutoff != 0:
            signals |= {"p_target", "runner_up"}
        return EvidenceSpec(signals=frozenset(signals), snapshots=(epochs,))

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps k; nested in k for one cut-off, up to class sizes."""
        features = evidence.snapshot(evidence.epochs).features
        total = len(features)
        check_count(k, total)
        cutoff = self._cutoff(evidence.num_classes, total, k)
        margin = None
        if self.score == "aum" or self.cutoff != 0:
            margin = aum_scores(evidence.p_target, evidence.runner_up)
        if self.score == "aum":
            assert margin is not None
            difficulty = margin.double().neg()
        else:
            difficulty = forgetting_counts(evidence.correct).double()
        known = features.isfinite().all(1) & difficulty.isfinite()
        lost = (~known).nonzero().squeeze(1)
        lost = lost[rng.child("undefined").sample(len(lost), min(k, len(lost)))]
        left, k = known.nonzero().squeeze(1), k - len(lost)
        cut = min(dropped(total, cutoff), len(left) - k)
        if cut:
            assert margin is not None
            left = left[take(margin[left], len(left) - cut, "high", rng.child("cut"))[0]]
        if len(left):
            difficulty = difficulty - difficulty[left].min()
        labels = evidence.labels[left] if self.balance else torch.zeros_like(left)

        def order(scores: Tensor, x: Tensor, size: int, own: Stream) -> Tensor:
            return d2_order(scores, x, size, self.neighbours, self.gamma, self.mode, rng=own)

        picks = d2_by_class(difficulty[left], features[left], labels, k, rng, order)
        indices = torch.cat([lost, left[picks]]).sort().values
        return Subset(indices, None, {"dropped": cut, "not_finite": int((~known).sum())})

    def _cutoff(self, num_classes: int, total: int, k: int) -> float:
        if self.cutoff is not None:
            check_cutoff(self.cutoff, total, k, f"{self.name}.cutoff")
            return self.cutoff
        if Fraction(total - k, max(total, 1)) < Fraction(1, 2):
            return 0.0
        return published_cutoff(num_classes, total, k)
