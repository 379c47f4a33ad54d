"""The learning curve of a run: test accuracy against what training had cost by then."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import COUNTED, Run

FILE = "epochs.csv"
#: The accuracy of curves: epochs are evaluated for it alone, whatever the board is about.
ACCURACY = "test_accuracy"
NOT_EVALUATED = "evaluated at its end only"
#: Gives the bytes of an artifact by run and file name; None where it is not at hand.
Reader = Callable[[Run, str], bytes | None]
_PASSES = ("forward_only", "scoring_forward", "reference_forward", "strong")


@dataclass(frozen=True)
class Point:
    """One evaluation.

    Attributes:
        epoch: Epochs that were done.
        trained: Samples trained until then.
        spent: The same with second views, and a third of the forward-only passes; None where the
            run does not hold it.
        accuracy: Share of the test split that was right.
    """

    epoch: int
    trained: int
    spent: float | None
    accuracy: float


@dataclass(frozen=True)
class Curve:
    """Evaluations of one run in order, the last one at its end."""

    points: tuple[Point, ...]

    @property
    def end(self) -> Point:
        """The last one."""
        return self.points[-1]


def curve_of(run: Run, read: Reader) -> Curve | str:
    """The curve of a run, or why it has none.

    The table holds the accuracies of the epochs at whose end the recipe (``eval_every``) asks for
    one; that of the last epoch is the record's own. A run that diverged has a curve even where it
    ended before any other evaluation.

    Raises:
        InputError: The table is not one of epochs; the line names the artifact.
    """
    record = run.record
    final = run.metric(ACCURACY)
    if record.status not in COUNTED or final is None:
        return run.missing or f"{record.status} without test accuracy"
    if not (record.spec.get("recipe") or {}).get("eval_every"):
        return NOT_EVALUATED
    data = read(run, FILE)
    if data is None:
        return f"{FILE} is not at hand"
    where = f"artifact {FILE} of {record.key}"
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        points = _points(rows, final, not any(record.ledger.get(name) for name in _PASSES))
    except (ValueError, KeyError, TypeError, OverflowError, csv.Error):
        accepted = f"the columns epoch, trained and {ACCURACY}"
        raise InputError("is no table of epochs", where=where, accepted=accepted) from None
    enough = len(points) > 1 or (points and record.status == "diverged")
    return Curve(tuple(points)) if enough else NOT_EVALUATED


def _points(rows: list[dict[str, str]], final: float, plain: bool) -> list[Point]:
    """Points of a table; ``plain`` where the run had no passes but those of trained samples."""
    found: list[Point] = []
    trained = 0
    for number, row in enumerate(rows, 1):
        trained += int(row["trained"])
        last = number == len(rows)
        text = row[ACCURACY]
        if not text and not last:
            continue
        accuracy = final if last else float(text)
        given = row.get("spent")
        spent = float(trained) if plain else float(given) if given else None
        sound = spent is None or (math.isfinite(spent) and spent >= 0)
        if not 0 <= accuracy <= 1 or trained < 0 or not sound:
            raise ValueError
        found.append(Point(number, trained, spent, accuracy))
    return found
