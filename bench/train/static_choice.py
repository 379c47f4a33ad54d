"""A static method is asked for its subset: once, checked, timed, and as its options say."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from prunebench.bench.train.plan_checks import check_subset
from prunebench.methods.base import Evidence, StaticPruner, Subset
from prunebench.progress import listening
from prunebench.rng import Stream

T = TypeVar("T")

#: Seconds of a choice after which it says how far it is.
LONG_S = 5.0


def choose_subset(
    pruner: StaticPruner,
    evidence: Evidence,
    k: int,
    rng: Stream,
    who: str,
    report: Callable[[float], None] = lambda share: None,
) -> tuple[Subset, dict[str, float]]:
    """What a static method keeps, without weights where its option ``weighted`` is false.

    Args:
        pruner: The method.
        evidence: What it declared that it needs.
        k: Samples to keep.
        rng: Its draws.
        who: Its name, for messages.
        report: Takes the share of a choice that is done, once it has taken ``LONG_S`` seconds and
            where its loops say so (``prunebench.progress``).

    Returns:
        The subset, and the seconds of the choice; see ``timed``.

    Raises:
        PlanError: It keeps what it must not; see ``check_subset``.
    """
    subset, seconds = timed(lambda: pruner.keep(evidence, k, rng), report)
    check_subset(subset, k, len(evidence.labels), who)
    weighted = pruner.params.get("weighted", True)
    return subset if weighted else replace(subset, weights=None), seconds


def timed(
    choose: Callable[[], T], report: Callable[[float], None] = lambda share: None
) -> tuple[T, dict[str, float]]:
    """Makes a choice from evidence, and listens to it.

    Args:
        choose: The choice.
        report: As of ``choose_subset``.

    Returns:
        What was chosen, and the seconds for ``Record.timing``: ``choice_s`` in all, of which
        ``choice.STAGE_s`` for each stage (``reading`` the evidence, say).
    """
    begin = time.perf_counter()

    def later(share: float) -> None:
        if time.perf_counter() - begin >= LONG_S:
            report(share)

    with listening(later) as heard:
        chosen = choose()
    seconds = {"choice_s": time.perf_counter() - begin}
    seconds |= {f"choice.{name}_s": spent for name, spent in heard.stages.items()}
    return chosen, {name: round(spent, 6) for name, spent in seconds.items()}
