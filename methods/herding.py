"""Herding: picks whose running mean follows the mean of all samples."""

from __future__ import annotations

import numpy as np
import torch
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
from prunebench.methods.feature_space import (
    Floats,
    InnerProducts,
    Ints,
    choose,
    first_of_best,
    float64_rows,
    float64_vector,
    tie_order,
)
from prunebench.methods.keep_k import check_count
from prunebench.options import Option
from prunebench.progress import counted
from prunebench.rng import Stream

__all__ = ["herding_order"]

RULES = ("distance", "inner")


def herding_order(
    features: Tensor,
    k: int,
    target: Tensor | None = None,
    start: Tensor | None = None,
    rule: str = "distance",
    rng: Stream | None = None,
) -> Tensor:
    """Herding without replacement (GM-Matching: sampling/algos.py, ``herding``).

    With w = start at first, each step picks the sample phi of least |w - phi| (``distance``) or
    of greatest <w, phi> (``inner``), then adds target - phi to w. On vectors of unit length the
    two rules agree.

    Args:
        features: [n, D], finite.
        k: Number of picks, 0..n.
        target: [D]; None: the mean of the features.
        start: [D]; None: the target.
        rule: ``distance`` or ``inner``.
        rng: Random order among equal samples; None: the lowest index.

    Returns:
        int64 [k] in pick order, each once; the orders are nested in k.

    Raises:
        InputError: k out of range, an unknown rule, or input that is not finite.
    """
    rows = float64_rows(features)
    check_count(k, len(rows))
    if rule not in RULES:
        raise InputError(f"unknown rule {rule!r}", where="rule", accepted=", ".join(RULES))
    if k == 0:
        return torch.empty(0, dtype=torch.int64, device=features.device)
    width = rows.shape[1]
    goal = rows.mean(0) if target is None else float64_vector(target, width, "target")
    begin = goal if start is None else float64_vector(start, width, "start")
    tie = tie_order(len(rows), rng)
    picks = tie[follow(rows[tie], k, goal, begin, rule)]
    return torch.from_numpy(picks).to(features.device)


def follow(rows: Floats, k: int, goal: Floats, begin: Floats, rule: str) -> Ints:
    """``herding_order`` on arrays, the lowest index first among equals.

    In terms of y = phi - target, w is start minus the sum of the picks' y. So -|w - phi|^2 / 2 is
    (start - target).y - |y|^2 / 2 - sum over picks of y_p.y, up to a constant, and <w, phi> is
    start.y - sum over picks of y_p.y: one row of inner products a pick.
    """
    offset = rows - goal
    products = InnerProducts(offset)
    base = offset @ (begin if rule == "inner" else begin - goal)
    if rule == "distance":
        base -= products.squares / 2
    drawn = np.zeros(len(rows))
    picks = np.empty(k, dtype=np.int64)
    taken = np.zeros(len(rows), dtype=bool)
    for step in counted(range(k)):
        gain = base - drawn
        gain[taken] = -np.inf
        picks[step] = pick = first_of_best(gain, np.abs(base) + np.abs(drawn))
        drawn += products.of(pick)
        taken[pick] = True
    return picks


@register_method("herding")
class Herding(StaticPruner):
    """Follows the mean feature of each (noisy) class, by distance."""

    balance: bool
    options = {"balance": Option(True, "within each (noisy) class; false: over all samples")}
    card = Card(
        title="Herding",
        paper="Welling: Herding Dynamical Weights to Learn, ICML 2009",
        repository="https://github.com/PatrickZH/DeepCore",
        bibtex_key="welling2009herding",
        cost="the warm-up epochs of one full-data run and one forward pass",
        side="greedy, towards the mean",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Features after the warm-up."""
        return EvidenceSpec(snapshots=(warmup,), until=warmup)

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps the first picks; nested in k up to one sample per class."""
        features = evidence.snapshot(evidence.warmup).features
        labels = evidence.labels if self.balance else None
        return choose(features, labels, k, rng, lambda x, n, own: herding_order(x, n, rng=own))
