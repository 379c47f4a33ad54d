"""The table "predicted and found": predictions beside the rows of a board."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.inference.judged import HELD, NOT_HELD, Judged
from prunebench.leaderboard.published.predictions import Prediction
from prunebench.leaderboard.render.row_text import interval, number, span

PREDICTED = "predicted and found"
HEADS = ("noise", "predicted", "found [95 %]", "n", "verdict", "prediction", "compared")
DIGITS = 1
#: The rule of the verdicts, for the table and its figure.
RULE = (
    "held where the whole 95 % interval lies in the predicted range, not held where it lies "
    "outside, not decided where it reaches over an end of the range or fewer than three seeds "
    "are there; the mean alone decides nothing"
)


def range_text(item: Prediction) -> str:
    """The predicted range."""
    if item.low is None or item.high is None:
        word, end = ("at least", item.low) if item.high is None else ("at most", item.high)
        return f"{word} {number(end, DIGITS)}"
    return f"{number(item.low, DIGITS)} to {number(item.high, DIGITS)}"


def compared_text(found: Judged) -> str:
    """What is measured, by the short names of the rows."""
    item = found.prediction
    if item.measure == "pruned":
        return f"{item.row.name}, percent pruned"
    return item.row.name if item.against is None else f"{item.row.name} minus {item.against.name}"


def rows_named(found: Sequence[Judged]) -> str:
    """What the short names mean."""
    rows = [row for one in found for row in (one.prediction.row, one.prediction.against) if row]
    named = {row.name: row.words for row in rows}
    return "; ".join(f"{name} is {words}" for name, words in named.items() if name != words)


def prediction_cells(found: Judged) -> list[str]:
    """Texts below ``HEADS``."""
    return [
        found.prediction.noise,
        range_text(found.prediction),
        interval(found.mean, found.low, found.high, DIGITS),
        str(found.n),
        found.verdict,
        found.prediction.says,
        compared_text(found),
    ]


def prediction_lines(summary: Summary) -> list[str]:
    """The rule, and how many predictions held."""
    found = summary.predictions
    held = sum(one.verdict == HELD for one in found)
    failed = sum(one.verdict == NOT_HELD for one in found)
    sizes = [one.n for one in found]
    return [
        "Differences in points of test accuracy, paired by seed "
        f"(n = {span(min(sizes), max(sizes))}). A prediction is {RULE}. There is no correction for "
        f"the number of predictions: of {len(found)} true ones at most about "
        f"{number(0.025 * len(found), 1)} would be called not held by chance",
        f"Rows: {rows_named(found)}; further options at their defaults. Random choice is that of "
        "the ratio of the row that is compared with it",
        f"Held {held}, not held {failed}, not decided {len(found) - held - failed}",
    ]
