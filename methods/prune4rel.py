"""Prune4ReL: greedy choice of samples whose neighbourhoods are confident enough to re-label."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
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
from prunebench.methods.keep_k import PRUNE4REL_PROXY, check_count
from prunebench.methods.prune4rel_graph import (
    Bools,
    Floats,
    Ints,
    Neighbours,
    neighbourhoods,
    unit_rows,
)
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["prune4rel_order"]

#: log of half the spacing of float64 at 1; see ``prune4rel_order``.
_SATURATED = -53 * math.log(2)


class Gain:
    """log(tanh((n + c) / eta) - tanh(n / eta)) of all samples, stable for any n.

    tanh a - tanh b = sinh(a - b) / (cosh a cosh b), in logs: gains keep their order long after
    the difference of the two tanh has rounded to 0.

    Args:
        confidence: c >= 0, [N].
        eta: Scale, > 0.
    """

    def __init__(self, confidence: Floats, eta: float) -> None:
        self.eta = eta
        self.fade = np.exp(-2 * confidence / eta)
        with np.errstate(divide="ignore"):
            self.base = math.log(2) + np.log(-np.expm1(-2 * confidence / eta))

    def at(self, where: Ints, mass: Floats) -> Floats:
        """Log gains [n] of the samples ``where`` [n] at masses n ``mass`` [n].

        c = 0 gives the lowest float, for -inf marks samples taken; c = NaN the highest.
        """
        depth = 2 * mass / self.eta
        low = np.exp(-depth)
        high = low * self.fade[where]
        gain: Floats = self.base[where] - depth - np.log1p(low + high + low * high)
        limits = np.finfo(np.float64)
        np.nan_to_num(gain, copy=False, nan=limits.max, neginf=limits.min)
        return gain


class _Greedy:
    """State of the greedy loop; samples are in the order of their tie keys."""

    def __init__(self, confidence: Floats, eta: float, neighbours: Neighbours) -> None:
        self.neighbours = neighbours
        self.passes_on = np.nan_to_num(confidence, nan=0.0)
        self.everyone = np.arange(len(confidence))
        self.mass = np.zeros(len(confidence))
        self.score = Gain(confidence, eta)
        self.gain = self.score.at(self.everyone, self.mass)
        self.free = np.ones(len(confidence), dtype=bool)
        self.stale = np.zeros(len(confidence), dtype=bool)
        self.saturated = 0

    def best(self, members: Ints | None) -> int:
        """The free sample of highest gain in a class (None: of all), the first of equals.

        Only gains that changed since they were last compared are computed anew.
        """
        view = slice(None) if members is None else members
        old = np.flatnonzero(self.stale[view] & self.free[view])
        old = old if members is None else members[old]
        self.gain[old] = self.score.at(old, self.mass[old])
        self.stale[old] = False
        best = self.gain[view].argmax()
        return int(best if members is None else members[best])

    def take(self, pick: int, ahead: Callable[[], list[Ints]]) -> None:
        """Takes a sample and passes its confidence on to its neighbours.

        Args:
            pick: The sample.
            ahead: Pools that the next picks come from, next one first.
        """
        self.saturated += bool(self.gain[pick] < _SATURATED)
        self.gain[pick], self.free[pick] = -np.inf, False

        def likely(count: int, among: Bools) -> Ints:
            return self.leaders(ahead(), count, among & self.free)

        who, similar = self.neighbours.of(pick, likely)
        self.mass[who] += similar * self.passes_on[pick]
        self.stale[who] |= similar > 0

    def leaders(self, pools: list[Ints], count: int, among: Bools) -> Ints:
        """About ``count`` samples with the highest known gains, the same share of each pool."""
        share = max(1, count // len(pools))
        best = []
        for pool in pools[:count]:
            pool = pool[among[pool]]
            if len(pool) > share:
                pool = pool[np.argpartition(-self.gain[pool], share)[:share]]
            best.append(pool)
        return np.concatenate(best)


class _Rotation:
    """Round-robin over the classes that have samples left, with the official switch-off rule.

    Step t serves class t mod (number of classes left). An exhausted class leaves the list and the
    index is taken anew, so the rotation jumps. The first class to run out had m samples: if a
    class met while removing has more than 1.5 m picks already, balance ends after this step.
    """

    def __init__(self, members: list[Ints]) -> None:
        self.members = members
        self.left = [len(m) for m in members]
        self.turn = list(range(len(members)))
        self.limit: float | None = None
        self.on = True

    def next(self, step: int) -> int:
        """The class to pick from; may end the balance."""
        cls = self.turn[step % len(self.turn)]
        while self.left[cls] == 0:
            if self.limit is None:
                self.limit = 1.5 * len(self.members[cls])
            self.turn.remove(cls)
            cls = self.turn[step % len(self.turn)]
            if len(self.members[cls]) - self.left[cls] > self.limit:
                self.on = False
        self.left[cls] -= 1
        return cls

    def ahead(self, step: int) -> list[Ints]:
        """Members of the classes that follow step ``step``, next class first."""
        place = (step + 1) % len(self.turn)
        return [self.members[cls] for cls in self.turn[place:] + self.turn[:place]]


def prune4rel_order(
    confidence: Tensor,
    features: Tensor,
    k: int,
    tau: float,
    eta: float,
    labels: Tensor | None = None,
    rng: Stream | None = None,
) -> tuple[Tensor, int]:
    """Greedy pick order of Prune4ReL (Prune4Rel: deepcore/methods/prune4rel.py), in float64.

    Every sample carries the confident mass n around it, at first 0. Each step picks the sample of
    highest gain tanh((n + c) / eta) - tanh(n / eta), then adds s c of the pick to n of every
    sample with similarity s = 0.5 + 0.5 cos > tau to it. A first pick does not depend on k: the
    orders are nested.

    A pick is saturated when its gain is below 2^-53, half the spacing of float64 at 1, where the
    published difference of two tanh rounds to 0 and expresses no preference. Gains are compared
    in logs here, which still differ for such samples.

    Args:
        confidence: [N], c >= 0. NaN is picked first and passes nothing on.
        features: [N, D]. A zero or non-finite row has no neighbour.
        k: Number of picks, 0..N.
        tau: Threshold on s, exclusive.
        eta: Scale of the gain, > 0.
        labels: int64 [N], noisy: picks rotate over the classes that occur. None: no balance.
        rng: Random order among equal gains; None: the lowest index.

    Returns:
        Pick order int64 [k], and the number of saturated picks.

    Raises:
        InputError: k, eta or a confidence out of range, or lengths that differ.
    """
    total = len(confidence)
    check_count(k, total)
    if len(features) != total or (labels is not None and len(labels) != total):
        raise InputError("confidence, features and labels differ in length", where="prune4rel")
    if not eta > 0:
        raise InputError(f"{eta!r} is not accepted", where="eta", accepted="a number > 0")
    if bool((confidence < 0).any()):
        raise InputError("negative confidence", where="confidence", accepted="numbers >= 0")
    order = torch.arange(total) if rng is None else rng.child("ties").permutation(total)
    tie = order.numpy()
    groups: list[Ints] | None = None
    if labels is not None:
        ranked = labels.cpu().numpy()[tie]
        groups = [np.flatnonzero(ranked == cls) for cls in np.unique(ranked)]
    unit = unit_rows(_array(features)[tie])
    sure = _array(confidence)[tie].astype(np.float64)
    greedy = _Greedy(sure, eta, neighbourhoods(unit, tau, k))
    picks = tie[_run(greedy, k, groups)]
    return torch.from_numpy(picks).to(confidence.device), greedy.saturated


def _array(x: Tensor) -> NDArray[np.floating]:
    x = x.detach().cpu()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()


def _run(greedy: _Greedy, k: int, groups: list[Ints] | None) -> Ints:
    rotation = None if groups is None else _Rotation(groups)
    picks = np.empty(k, dtype=np.int64)
    for step in range(k):
        if rotation is not None and rotation.on:
            pick = greedy.best(rotation.members[rotation.next(step)])
            greedy.take(pick, partial(rotation.ahead, step))
        else:
            pick = greedy.best(None)
            greedy.take(pick, lambda: [greedy.everyone])
        picks[step] = pick
    return picks


@register_method("prune4rel")
class Prune4ReL(StaticPruner):
    """Greedy neighbourhood confidence on one strong view at the warm-up snapshot."""

    own_proxy = PRUNE4REL_PROXY

    proxy_criterion = True  # with SOP+ the official warm-up trains on SOP+, not on cross-entropy
    tau: float
    eta: float
    balance: bool
    options = {
        "tau": Option(
            0.95,
            "similarity above which samples are neighbours (official: 0.975 on CIFAR-10, 0.95 on "
            "CIFAR-100, WebVision and ImageNet, 0.8 on Clothing-1M)",
            low=0.0,
            high=1.0,
            search=(0.8, 0.99),
        ),
        "eta": Option(
            1.0,
            "scale of the gain (official: 1, 100 on ImageNet)",
            low=1e-6,
            high=1e6,
            search=(1.0, 100.0),
            log=True,
        ),
        "balance": Option(True, "pick from the classes in turn"),
    }
    card = Card(
        title="Prune4ReL",
        paper="Park, Choi, Kim, Song, Lee: Robust Data Pruning under Label Noise via Maximizing "
        "Re-labeling Accuracy, NeurIPS 2023",
        repository="https://github.com/kaist-dmlab/Prune4Rel",
        bibtex_key="park2023robust",
        cost="the warm-up epochs of one full-data run, one forward pass on a strong view, and all "
        "pairwise similarities",
        side="greedy",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Confidence and features of a strong view after the warm-up."""
        return EvidenceSpec(strong=(warmup,), until=warmup)

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps the first k picks; nested in k."""
        view = evidence.strong(evidence.warmup)
        labels = evidence.labels if self.balance else None
        order, saturated = prune4rel_order(
            view.confidence, view.features, k, self.tau, self.eta, labels, rng
        )
        return Subset(order.sort().values, None, {"saturated_picks": saturated})
