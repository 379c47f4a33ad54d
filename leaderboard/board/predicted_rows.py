"""Predictions beside what the rows of a design show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from prunebench.leaderboard.board.collect import FULL, Run
from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.inference.judged import Judged, judge
from prunebench.leaderboard.published.predictions import (
    Prediction,
    Predictions,
    RowOf,
    read_predictions,
)
from prunebench.leaderboard.stats.exact import exact

#: Boards that hold fewer variants show no predictions.
FEWEST = 3
Found = tuple[str, float, Mapping[tuple[str, int], Run]]


@cache
def _shipped() -> Predictions:
    return read_predictions()


def judged_predictions(
    tables: Sequence[Table], predictions: Predictions | None = None
) -> tuple[Judged, ...]:
    """Every prediction whose rows a design holds under the budget ``epochs``.

    Args:
        tables: Of the design, by ratio.
        predictions: None for the shipped ones.

    Returns:
        In the order of the file; empty where fewer than ``FEWEST`` variants are there.
    """
    known = _shipped() if predictions is None else predictions
    found = [
        judged for item in known.items
        if (judged := _judged(item, tables, known)) is not None
    ]  # fmt: skip
    return tuple(found) if len({j.prediction.variant for j in found}) >= FEWEST else ()


def _judged(item: Prediction, tables: Sequence[Table], known: Predictions) -> Judged | None:
    own = _rows(item.row, tables, known)
    if len(own) != 1:  # none, or which of several is meant is open
        return None
    label, ratio, slots = own[0]
    first = next(iter(slots.values())).record.spec
    optimizer = (first.get("recipe") or {}).get("optimizer", "sgd")
    if first.get("budget") != "epochs" or item.optimizer not in ("", optimizer):
        return None
    mine = _values(item, slots)
    if item.against is None:
        return judge(item, label, "", list(mine.values())) if mine else None
    others = _rows(item.against, tables, known)
    same = [row for row in others if row[1] == ratio] or others
    if len(same) != 1:
        return None
    theirs = _values(item, same[0][2])
    common = [exact(mine[s]) - exact(theirs[s]) for s in sorted(mine.keys() & theirs.keys())]
    return judge(item, label, same[0][0], common) if common else None


def _rows(row: RowOf, tables: Sequence[Table], known: Predictions) -> list[Found]:
    """Rows of a design that are meant, with their ratios; full training is one at every ratio."""
    defaults = known.defaults.get(row.method, {})
    found = [
        (label, table.ratio, slots)
        for table in tables for label, slots in table.runs.items()
        if slots and row.fits(*_of(slots), defaults)
    ]  # fmt: skip
    if row.method == FULL and found:
        merged = {slot: run for _, _, slots in found for slot, run in slots.items()}
        return [(found[0][0], found[0][1], merged)]
    return found


def _of(slots: Mapping[tuple[str, int], Run]) -> tuple[str, dict[str, object]]:
    run = next(iter(slots.values()))
    return run.method, run.params


def _values(item: Prediction, slots: Mapping[tuple[str, int], Run]) -> dict[int, float]:
    """What a prediction is about, in percent, by seed."""
    found: dict[int, float] = {}
    for (noise, seed), run in sorted(slots.items()):
        value = run.accuracy
        if item.measure == "pruned":
            kept = run.metric("kept_fraction")
            value = None if kept is None else 100 * (1 - kept)
        if noise == item.noise and value is not None:
            found[seed] = value
    return found
