"""Learning curves: accuracy against what had been trained by then."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.learning_curves.curves import Curve, Reader, curve_of
from prunebench.leaderboard.number_text import number
from prunebench.leaderboard.render.html.charts.answers import untested
from prunebench.leaderboard.render.html.charts.axis import linear, view
from prunebench.leaderboard.render.html.charts.design import Design, Picture
from prunebench.leaderboard.render.html.charts.panel import Mark, Panel, draw

#: Most points of a line.
_MOST = 40


def learning_curves(design: Design, read: Reader) -> Picture | None:
    """A panel for each setting at the first ratio with curves; None where no run has one."""
    for table in design.tables:
        panels = []
        for noise in table.noises:
            found = {label: _line(design, table, label, noise, runs.items(), read)
                     for label, runs in table.runs.items() if label in design.looks}  # fmt: skip
            lines = {label: marks for label, marks in found.items() if marks}
            if len(lines) > 1:
                panels.append((noise, lines))
        if not panels:
            continue
        drawn = []
        for place, (noise, lines) in enumerate(panels):
            every = [mark for marks in lines.values() for mark in marks]
            shown = [m.y for label, marks in lines.items() if design.coloured(label) for m in marks]
            x = linear("trained samples, % of full training", [0, *(m.x for m in every)], 0.02)
            y = linear("test accuracy, %", view(shown, [m.y for m in every]))
            panel = Panel(f"{noise}, ratio {table.ratio:g}", x, y, lines, dots=False)
            drawn.append(draw(panel, design.looks, f"{design.id}-curves-{place}"))
        return Picture(
            "curves", "While training", "How does accuracy grow while rows train?",
            untested("No test of the board is about this picture: it shows means."),
            "Test accuracy in percent at the epochs that were evaluated, mean over the seeds that "
            "have a curve, against samples trained by then; passes that only choose samples are "
            "not counted.",
            tuple(drawn),
        )  # fmt: skip
    return None


def _line(
    design: Design, table: Table, label: str, noise: str,
    runs: Iterable[tuple[tuple[str, int], Run]], read: Reader,
) -> list[Mark]:  # fmt: skip
    """Means over seeds at the evaluations that all of them have."""
    own = [run for (setting, _), run in sorted(runs, key=lambda item: item[0]) if setting == noise]
    found = [(run, curve) for run in own if (curve := _curve(run, read)) is not None]
    if not found:
        return []
    whole = [run.record.ledger.get("num_samples", 0) * run.record.ledger.get("full_epochs", 0)
             for run, _ in found]  # fmt: skip
    if not all(whole):
        return []
    length = min(len(curve.points) for _, curve in found)
    marks = []
    for place in _places(length):
        points = [curve.points[place] for _, curve in found]
        x = [100 * point.trained / size for point, size in zip(points, whole, strict=True)]
        y = [100 * point.accuracy for point in points]
        marks.append(Mark(_mean(x), _mean(y)))
    end = marks[-1]
    tip = design.tips.add(f"{label} · {noise} · ratio {table.ratio:g} · while training", [
        ("at the end", f"{number(end.y, 2)} % after {number(end.x, 1)} % of full training's "
         f"samples (n = {len(found)})")])  # fmt: skip
    return [*marks[:-1], Mark(end.x, end.y, tip=tip)]


def _curve(run: Run, read: Reader) -> Curve | None:
    """None without a curve, and where its file is damaged, which tables of samples to an accuracy
    report."""
    try:
        found = curve_of(run, read)
    except InputError:
        return None
    return found if isinstance(found, Curve) else None


def _places(length: int) -> list[int]:
    """At most ``_MOST`` of the evaluations, the first and the last among them."""
    if length <= _MOST:
        return list(range(length))
    return sorted({round(k * (length - 1) / (_MOST - 1)) for k in range(_MOST)})


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
