"""Stratified sampling with a cut-off (CCS): hard samples go, all other scores are covered."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.aum import aum_scores
from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    Sampler,
    Scored,
    StaticPruner,
    register_sampler,
)
from prunebench.methods.keep_k import check_count, take
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["strata_of", "stratified", "stratum_budgets"]

#: Published cut-offs by pruned share, for clean data: data sets of up to so many classes.
_CUTOFFS = (
    (49, {"0.3": "0", "0.5": "0", "0.7": "0.1", "0.8": "0.1", "0.9": "0.3"}),  # CIFAR-10
    (499, {"0.3": "0.1", "0.5": "0.2", "0.7": "0.2", "0.8": "0.4", "0.9": "0.5"}),  # CIFAR-100
    (math.inf, {"0.3": "0", "0.5": "0.1", "0.7": "0.2", "0.8": "0.2", "0.9": "0.3"}),  # ImageNet
)


def strata_of(scores: Tensor, strata: int = 50) -> Tensor:
    """Stratum of every score: intervals of equal width from the smallest to the largest.

    Follows CCS: core/data/Coreset.py, but for the upper edge, there 1.0001 max, which lies below
    the maximum where that is negative. Here it is max + 0.0001 |max| and belongs to the last.

    Args:
        scores: [N], none of them NaN. Infinite ones belong to the outermost strata.
        strata: Number of strata S, at least 1.

    Returns:
        int64 [N] in 0..S-1; 0 everywhere where all scores are equal.

    Raises:
        InputError: S is below 1, or a score is NaN.
    """
    if strata < 1:
        raise InputError(f"{strata} strata", where="strata", accepted="1 or more")
    x = scores.double()
    if bool(x.isnan().any()):
        raise InputError("a score is not a number", where="strata", accepted="numbers")
    finite = x[x.isfinite()]
    if not len(finite):
        return torch.zeros_like(x, dtype=torch.int64)
    low, high = finite.min(), finite.max()
    width = (high + 1e-4 * high.abs() - low) / strata
    if float(width) == 0:
        return torch.zeros_like(x, dtype=torch.int64)
    return ((x - low) / width).clamp(0, strata - 1).floor().long()


def stratum_budgets(counts: Tensor, k: int) -> Tensor:
    """Samples to draw from every stratum: as even as their sizes allow, small strata first.

    Strata are visited by size, equal ones by index; each gets the smaller of its size and an equal
    share of what is left.

    Args:
        counts: int64 [S], sizes.
        k: Samples to draw in all.

    Returns:
        int64 [S], summing to min(k, sum of counts).
    """
    budgets, left = torch.zeros_like(counts), k
    order = counts.argsort(stable=True).tolist()
    sizes = counts.tolist()
    for visited, stratum in enumerate(order):
        share = min(sizes[stratum], left // (len(order) - visited))
        budgets[stratum], left = share, left - share
    return budgets


def dropped(total: int, cutoff: float) -> int:
    """Samples that the cut-off removes: floor of its exact decimal value times N."""
    return math.floor(Fraction(str(cutoff)) * total)


def stratified(
    scores: Tensor,
    k: int,
    strata: int,
    cutoff: float,
    rng: Stream,
    hard: str = "low",
    cutoff_scores: Tensor | None = None,
) -> Tensor:
    """Drops the hardest samples, then draws from strata of equal width.

    Args:
        scores: [N]; NaN ones are kept first and count towards k.
        k: 0..N.
        strata: S, at least 1.
        cutoff: Share of the N samples to drop, 0..1; k samples are always left.
        rng: Its children decide ties at the cut and draw from each stratum.
        hard: End of the scores that is dropped, ``low`` or ``high``.
        cutoff_scores: [N], scores to drop by, their NaN last; None: ``scores``.

    Returns:
        int64 [k], ascending.

    Raises:
        InputError: k, S, cutoff or hard out of range.
    """
    total = len(scores)
    check_count(k, total)
    if hard not in ("low", "high"):
        raise InputError(f"unknown end {hard!r}", where="hard", accepted="low, high")
    if not 0 <= cutoff <= 1:
        raise InputError(f"{cutoff}", where="cutoff", accepted="0 to 1")
    undefined = scores.isnan()
    number = int(undefined.sum())
    if k <= number:
        members = undefined.nonzero().squeeze(1)
        strata_of(scores[:0], strata)
        return members[rng.child("undefined").sample(number, k, scores.device)]
    defined = (~undefined).nonzero().squeeze(1)
    by = (scores if cutoff_scores is None else cutoff_scores)[defined]
    easy = "high" if hard == "low" else "low"
    survive, _ = take(by, len(by) - min(dropped(total, cutoff), total - k), easy, rng.child("cut"))
    survivors = defined[survive]
    where = strata_of(scores[survivors], strata)
    budgets = stratum_budgets(where.bincount(minlength=strata), k - number)
    parts = [undefined.nonzero().squeeze(1)]
    for stratum, budget in enumerate(budgets.tolist()):
        if budget:
            members = survivors[where == stratum]
            drawn = rng.child("stratum", stratum).sample(len(members), budget, scores.device)
            parts.append(members[drawn])
    return torch.cat(parts).sort().values


def published_cutoff(num_classes: int, total: int, k: int) -> float:
    """The published cut-off at the nearest published pruned share, at most the pruned share.

    Args:
        num_classes: C; it decides between the values for CIFAR-10, CIFAR-100 and ImageNet.
        total: N.
        k: Samples that are kept.
    """
    pruned = Fraction(total - k, max(total, 1))
    row = next(row for most, row in _CUTOFFS if num_classes <= most)
    nearest = min(row, key=lambda listed: (abs(Fraction(listed) - pruned), Fraction(listed)))
    return float(min(Fraction(row[nearest]), pruned))


def check_cutoff(cutoff: float, total: int, k: int, where: str) -> None:
    """Raises InputError where a cut-off leaves fewer than k of N samples."""
    if dropped(total, cutoff) > total - k:
        raise InputError(
            f"{cutoff:g} is above the share that is pruned", where=where,
            accepted=f"0 to {(total - k) / total:g}, or none",
        )  # fmt: skip


@register_sampler("strata")
class Strata(Sampler):
    """Drops the hardest samples, then draws evenly from strata of equal width (CCS).

    The published cut-offs are for clean data. Under label noise a value near the noise rate is
    worth trying: most wrong labels have a low area under the margin.
    """

    randomised = True
    strata: int
    cutoff: float | None
    cutoff_by: str
    options = {
        "strata": Option(50, "strata of equal width", low=1, high=100_000, search=(10, 100)),
        "cutoff": Option(
            None,
            "share of all samples dropped as too hard, at most the share pruned; auto = the "
            "published value for the number of classes and the nearest pruned share",
            low=0.0,
            high=1.0,
            kind=float,
            optional=True,
            search=(0.0, 0.9),
            at_most_ratio=True,
        ),
        "cutoff_by": Option(
            "aum",
            "what the cut-off goes by: the area under the margin, or the score itself",
            choices=("aum", "self"),
            search=("aum", "self"),
        ),
    }
    card = Card(
        title="Stratified",
        paper="Zheng, Liu, Lai, Prakash: Coverage-centric Coreset Selection for High Pruning "
        "Rates, ICLR 2023",
        repository="https://github.com/haizhongzheng/Coverage-centric-coreset-selection",
        bibtex_key="zheng2023coverage",
        cost="with cutoff_by=aum one whole full-data run; no extra pass",
        side="a draw over all scores but the hardest",
    )

    @property
    def by_aum(self) -> bool:
        """Whether the area under the margin is read."""
        return self.cutoff_by == "aum" and self.cutoff != 0

    def needs(self, need: EvidenceSpec) -> EvidenceSpec:
        """The probabilities of the area under the margin, over the whole run."""
        if not self.by_aum:
            return need
        signals = need.signals | {"p_target", "runner_up"}
        return replace(need, signals=signals, until=None)

    def read(self, scored: Scored, evidence: Evidence, score: StaticPruner) -> Scored:
        """Adds the number of classes and the area under the margin."""
        aum = aum_scores(evidence.p_target, evidence.runner_up) if self.by_aum else None
        return replace(scored, num_classes=evidence.num_classes, aum=aum)

    def keep(self, scored: Scored, k: int, rng: Stream) -> tuple[Tensor, dict[str, Any]]:
        """Draws k; see ``stratified``.

        Raises:
            InputError: Also where the cut-off is above the share pruned.
        """
        total = len(scored)
        check_count(k, total)
        classes = 1 if scored.num_classes is None else scored.num_classes
        cutoff = self.cutoff
        if cutoff is None:
            cutoff = published_cutoff(classes, total, k)
        check_cutoff(cutoff, total, k, f"{self.name}.cutoff")
        by, hard = None, scored.hard
        if self.by_aum:
            by, hard = scored.need("aum", self.name), "low"
        indices = stratified(scored.scores, k, self.strata, cutoff, rng, hard, by)
        return indices, {
            "cutoff": round(cutoff, 6),
            "dropped": min(dropped(total, cutoff), total - k),
        }
