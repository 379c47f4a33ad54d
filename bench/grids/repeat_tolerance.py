"""How far a repeat of somebody's run may be from its record, alone and together with others."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from prunebench.leaderboard.board.designs import content_of
from prunebench.record import Record, canonical, content_key, setting_name

#: Points that a repeat may always be away, and the most that any spread of seeds allows.
LEAST_POINTS, MOST_POINTS = 1.0, 15.0
#: Standard deviations of the difference of two runs: for one repeat, and for the mean of several.
DEVIATIONS, MEAN_DEVIATIONS = 4.0, 2.5
#: Degrees of freedom of the usual variance of a setting beside that of a cell.
_PRIOR = 3
#: How many times the usual variance a cell's own, which whoever hands in chooses, counts at most.
_MOST_OWN = 4
#: Repeats that may not all be worse than their records: by chance one time in 2 ** 5.
ONE_SIDED = 5


class Tolerance:
    """Points of accuracy that a repeat on another machine may be away from a record.

    Training on another machine ends as far away as under another seed: four standard deviations of
    the difference of two seeds. The usual variance is the median over the board's rows in the same
    setting, ratio and design; that of the record's own cell, which has few seeds, is drawn towards
    it. Where the board has no such runs, the rows of the submission give the usual one.

    Args:
        records: Runs of a submission, with all seeds of their cells.
        board: Those of the board, without them.
    """

    def __init__(self, records: Sequence[Record], board: Sequence[Record] = ()) -> None:
        self._own = _variances(records)
        self._usual = {**_usual(records), **_usual(board)}

    def of(self, record: Record) -> float:
        """Points for one run."""
        usual = self._usual.get(_place(record), 0.0)
        variance, degrees = self._own.get(_without_seed(record), (0.0, 0))
        variance = min(variance, _MOST_OWN * usual)
        variance = (degrees * variance + _PRIOR * usual) / (degrees + _PRIOR)
        return min(MOST_POINTS, max(LEAST_POINTS, DEVIATIONS * math.sqrt(2 * variance)))


def together(away: Sequence[tuple[float, float]]) -> list[str]:
    """Reasons that several repeats give only together.

    Args:
        away: For each repeat the points by which it is better than its record, and its tolerance.
    """
    reasons = []
    count = len(away)
    if count > 1:
        mean = math.fsum(points for points, _ in away) / count
        spread = math.sqrt(math.fsum((most / DEVIATIONS) ** 2 for _, most in away)) / count
        if abs(mean) > MEAN_DEVIATIONS * spread:
            reasons.append(f"the {count} repeats are {mean:+.2f} points away on average; accepted: "
                           f"up to {MEAN_DEVIATIONS * spread:.2f}")  # fmt: skip
    if count >= ONE_SIDED and all(points < 0 for points, _ in away):
        reasons.append(f"all {count} repeats are worse than their records")
    return reasons


def _usual(records: Iterable[Record]) -> dict[str, float]:
    """Median variance of the cells of each setting, ratio and design."""
    places = {_without_seed(record): _place(record) for record in records}
    found: dict[str, list[float]] = defaultdict(list)
    for cell, (variance, _) in _variances(records).items():
        found[places[cell]].append(variance)
    return {place: statistics.median(values) for place, values in found.items()}


def _variances(records: Iterable[Record]) -> Mapping[str, tuple[float, int]]:
    """Variance in squared points over the seeds of each cell, and its degrees of freedom."""
    cells: dict[str, list[float]] = defaultdict(list)
    for record in records:
        accuracy = record.metrics.get("test_accuracy")
        if accuracy is not None:
            cells[_without_seed(record)].append(100 * accuracy)
    return {name: (statistics.variance(values), len(values) - 1)
            for name, values in cells.items() if len(values) > 1}  # fmt: skip


def _without_seed(record: Record) -> str:
    return content_key({**record.spec, "seed": None})


def _place(record: Record) -> str:
    spec = record.spec
    return canonical([content_of(spec), setting_name(spec), spec["ratio"]])
