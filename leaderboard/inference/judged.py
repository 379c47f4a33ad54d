"""Verdicts on predictions, by an interval over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunebench.leaderboard.published.predictions import Prediction
from prunebench.leaderboard.stats.exact import Number, at_most
from prunebench.leaderboard.stats.intervals import mean_interval

HELD, NOT_HELD, OPEN = "held", "not held", "not decided"


@dataclass(frozen=True)
class Judged:
    """A prediction beside its result.

    Attributes:
        prediction: What was said.
        label: Row of the board.
        against: Row that is subtracted; empty for none.
        n: Seeds that both have.
        mean: Over them, in points or percent.
        low, high: 95 % t interval; None for fewer than three seeds.
        verdict: ``HELD``, ``NOT_HELD`` or ``OPEN``.
    """

    prediction: Prediction
    label: str
    against: str
    n: int
    mean: float
    low: float | None
    high: float | None
    verdict: str


def judge(prediction: Prediction, label: str, against: str, values: Sequence[Number]) -> Judged:
    """Holds a prediction where the whole interval lies in its range, and not where it lies outside.

    Args:
        prediction: The prediction.
        label, against: Rows of the board.
        values: One per seed.
    """
    found = mean_interval(values)
    if found.half_width is None:
        return Judged(prediction, label, against, found.n, found.mean, None, None, OPEN)
    low, high = found.mean - found.half_width, found.mean + found.half_width
    least, most = prediction.low, prediction.high
    verdict = OPEN
    if (least is None or at_most(least, low)) and (most is None or at_most(high, most)):
        verdict = HELD
    elif (least is not None and not at_most(least, high)) or (
        most is not None and not at_most(low, most)
    ):
        verdict = NOT_HELD
    return Judged(prediction, label, against, found.n, found.mean, low, high, verdict)
