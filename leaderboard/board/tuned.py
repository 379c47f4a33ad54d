"""Tuned rows: where their options come from, and what is refused as leakage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import Run

#: The only thing a study may have maximised.
METRIC = "validation_accuracy"


def origin(run: Run) -> str:
    """Empty for default options, else ``tuned``; ``transferred`` where the study was of another
    data set or method."""
    mark = run.record.spec.get("tuned")
    if not mark:
        return ""
    return "tuned, transferred" if mark.get("transfer") else "tuned"


def study(run: Run) -> str:
    """Hash of the study behind tuned options; empty for default ones."""
    mark: dict[str, Any] = run.record.spec.get("tuned") or {}
    return str(mark.get("study", "?")) if mark else ""


def refuse_leaks(runs: Iterable[Run]) -> None:
    """Refuses options from a study that saw what the board reports.

    Raises:
        InputError: A study that maximised another metric than validation accuracy, that does not
            name its seeds, or that saw the seed of an evaluation run of the same data set.
    """
    runs = tuple(runs)
    reported: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        reported[run.dataset].add(run.seed)
    for run in runs:
        mark = run.record.spec.get("tuned")
        if not mark:
            continue
        where = f"leaderboard: record {run.record.key}"
        seeds, metric = mark.get("seeds") or [], mark.get("metric")
        if metric != METRIC:
            raise InputError(
                f"its options come from a study that maximised {metric!r}",
                where=where,
                accepted=METRIC,
            )
        clash = sorted(reported[run.dataset].intersection(seeds))
        if clash or not seeds:
            raise InputError(
                f"its options come from a study that saw evaluation seed {clash[0]}"
                if clash
                else "its options come from a study that does not name its seeds",
                where=where,
                accepted="studies on seeds that no evaluation run of the data set has",
            )
