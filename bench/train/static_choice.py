"""A static method is asked for its subset: once, checked, and as its options say."""

from __future__ import annotations

from dataclasses import replace

from prunebench.bench.train.plan_checks import check_subset
from prunebench.methods.base import Evidence, StaticPruner, Subset
from prunebench.rng import Stream


def choose_subset(
    pruner: StaticPruner, evidence: Evidence, k: int, rng: Stream, who: str
) -> Subset:
    """What a static method keeps, without weights where its option ``weighted`` is false.

    Args:
        pruner: The method.
        evidence: What it declared that it needs.
        k: Samples to keep.
        rng: Its draws.
        who: Its name, for messages.

    Raises:
        PlanError: It keeps what it must not; see ``check_subset``.
    """
    subset = pruner.keep(evidence, k, rng)
    check_subset(subset, k, len(evidence.labels), who)
    weighted = pruner.params.get("weighted", True)
    return subset if weighted else replace(subset, weights=None)
