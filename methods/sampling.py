"""Samplers by name: how k samples are kept once each has a score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Card, Evidence, Sampler, Scored, StaticPruner, register_sampler
from prunebench.methods.beta import Beta
from prunebench.methods.keep_k import SIDES, take, take_balanced
from prunebench.methods.strata import Strata, strata_of, stratified, stratum_budgets
from prunebench.options import Option
from prunebench.registry import SAMPLERS as REGISTERED
from prunebench.rng import Stream

__all__ = ["SAMPLERS", "sample", "strata_of", "stratified", "stratum_budgets"]

_SIDE = Option(
    None, "which scores are kept; auto = as the score's authors keep them", kind=str,
    optional=True, choices=SIDES, search=SIDES,
)  # fmt: skip


class _Sided(Sampler):
    """Keeps one side of the scores."""

    side: str | None
    options = {"side": _SIDE}

    def side_of(self, scored: Scored) -> str:
        """``low``, ``high`` or ``window``."""
        return self.side or scored.side


@register_sampler("top")
class Top(_Sided):
    """The k best of the declared side, over all classes together; nested in k."""

    card = Card("Top k", side="the declared side of the score")

    def keep(self, scored: Scored, k: int, rng: Stream) -> tuple[Tensor, dict[str, Any]]:
        """Keeps k; ties by a seeded key."""
        indices, tied = take(scored.scores, k, self.side_of(scored), rng)
        return indices, {"tied_at_cut": tied}


@register_sampler("window")
class Window(Sampler):
    """The k ranks around the median score, over all classes together; nested in k."""

    card = Card("Window", side="window")

    def keep(self, scored: Scored, k: int, rng: Stream) -> tuple[Tensor, dict[str, Any]]:
        """Keeps k; ties by a seeded key."""
        indices, tied = take(scored.scores, k, "window", rng)
        return indices, {"tied_at_cut": tied}


@register_sampler("balanced")
class Balanced(_Sided):
    """The best of the declared side within every (noisy) class, in proportion to the classes.

    Sizes are the largest remainders of the class shares, so the result is nested in k up to one
    sample per class.
    """

    card = Card("Balanced", side="the declared side of the score, in every class")

    def read(self, scored: Scored, evidence: Evidence, score: StaticPruner) -> Scored:
        """Adds the labels."""
        return replace(scored, labels=evidence.labels)

    def keep(self, scored: Scored, k: int, rng: Stream) -> tuple[Tensor, dict[str, Any]]:
        """Keeps k; ties by a seeded key."""
        labels = scored.need("labels", self.name)
        indices, tied = take_balanced(scored.scores, labels, k, self.side_of(scored), rng)
        return indices, {"tied_at_cut": tied}


#: The built-in samplers by name.
SAMPLERS: dict[str, type[Sampler]] = {
    sampler.name: sampler for sampler in (Top, Window, Balanced, Strata, Beta)
}


def sample(
    sampler: str,
    scores: Tensor,
    k: int,
    rng: Stream,
    side: str = "high",
    labels: Tensor | None = None,
    mean_p: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Keeps k of N scored samples by a registered sampler.

    Args:
        sampler: ``top``, ``window``, ``balanced``, ``strata``, ``beta``, or a registered one.
        scores: [N]; NaN ones survive.
        k: 0..N.
        rng: Stream of ties and draws.
        side: What ``top`` and ``balanced`` keep: ``low``, ``high`` or ``window``.
        labels: int64 [N], noisy; ``balanced`` needs them, and ``strata`` counts its classes by them
            for the published cut-off (without labels that of few classes).
        mean_p: [N], mean probability of the label; ``beta`` needs it.
        options: Options of the sampler; for ``strata`` also ``hard``, the end that the cut-off
            drops (``low`` by default), and ``cutoff_scores`` [N], scores to drop by instead.

    Returns:
        int64 [k], ascending.

    Raises:
        UnknownName: No sampler has that name.
        InputError: An option, k or side out of range, or something needed is None.
    """
    target: type[Sampler] = REGISTERED.get(sampler).target
    hard, aum = options.pop("hard", "low"), options.pop("cutoff_scores", None)
    if side not in SIDES:
        raise InputError(f"unknown side {side!r}", where="side", accepted=", ".join(SIDES))
    if "cutoff_by" in target.options:
        options.setdefault("cutoff_by", "self" if aum is None else "aum")
    classes = None if labels is None or not len(labels) else int(labels.max()) + 1
    scored = Scored(scores, side, hard, labels, classes, mean_p, aum)
    indices, _ = target(**options).keep(scored, k, rng)
    return indices
