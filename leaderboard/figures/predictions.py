"""Predicted ranges with what was found in them: one panel for points, one for shares."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.style import (
    GREY,
    HUES,
    INK,
    PALE,
    WIDTH,
    Drawn,
    Omitted,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.findings.phrases import joined
from prunebench.leaderboard.inference.judged import HELD, NOT_HELD, OPEN, Judged
from prunebench.leaderboard.render.prediction_text import RULE, compared_text, rows_named
from prunebench.leaderboard.render.row_text import span
from prunebench.leaderboard.stats.special import rounded
from prunebench.untrusted import spreadsheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches of a line, and of what stands around the panels.
_LINE, _AROUND = 0.23, 1.3
#: Shape, colour and fill by verdict: told apart without colours too.
_MARKS = {HELD: ("o", HUES[0], True), NOT_HELD: ("X", HUES[1], True), OPEN: ("o", GREY, False)}
_PANELS = {"accuracy": "points", "pruned": "percent pruned"}


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per design that holds rows with predictions; nothing for others."""
    for summary, _ in material.groups():
        if summary.predictions:
            yield _figure(f"predictions-{slug(summary.dataset)}", summary)


def _figure(stem: str, summary: Summary) -> Drawn:
    parts = {measure: [one for one in summary.predictions if one.prediction.measure == measure]
             for measure in _PANELS}  # fmt: skip
    shown = {measure: found for measure, found in parts.items() if found}
    figure = new(_AROUND + _LINE * (len(summary.predictions) + 2 * len(shown)), WIDTH)
    heights = [len(found) + 1 for found in shown.values()]
    panels = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (measure, found) in zip(panels, shown.items(), strict=True):
        _panel(axes, found, _PANELS[measure])
    caption = (
        "Bars: predicted ranges, open ones to the edge. Points: means over seeds of paired "
        f"differences, with 95 % t intervals (n = {_sizes(summary.predictions)}). Filled circle: "
        f"held; cross: not held; ring: not decided. A prediction is {RULE}. There is no correction "
        f"for their number. Variants are numbered; {rows_named(summary.predictions)}."
    )
    verdicts = Counter(one.verdict for one in summary.predictions)
    said = joined([f"{verdicts[name]} {name}" for name in (HELD, NOT_HELD, OPEN)])
    answer = f"Of {len(summary.predictions)} predictions: {said}."
    title = f"{summary.dataset}: did the predictions hold?"
    drawn = finish(figure, stem, title, caption, answer=answer)
    return replace(drawn, data=data_of(summary.predictions))


def _sizes(found: Sequence[Judged]) -> str:
    sizes = [one.n for one in found]
    return span(min(sizes), max(sizes))


def _panel(axes: Axes, found: Sequence[Judged], unit: str) -> None:
    spans = [
        (one.prediction.low, one.prediction.high, one.low, one.high, one.mean) for one in found
    ]
    ends = [end for span_of_one in spans for end in span_of_one if end is not None]
    margin = 0.06 * (max(ends) - min(ends)) or 1.0
    left, right = min(ends) - margin, max(ends) + margin
    axes.set_xlim(left, right)
    axes.set_ylim(len(found) - 0.4, -0.6)
    if left < 0 < right:
        axes.axvline(0, color=INK, linewidth=0.7, zorder=1)
    for place, one in enumerate(found):
        low = left if one.prediction.low is None else one.prediction.low
        high = right if one.prediction.high is None else one.prediction.high
        axes.barh(place, high - low, left=low, height=0.62, color=PALE, zorder=0)
        shape, colour, filled = _MARKS[one.verdict]
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [place, place], color=colour, zorder=2)
        axes.plot(one.mean, place, marker=shape, color=colour, linestyle="none", markersize=5.5,
                  markerfacecolor=colour if filled else "white", zorder=3)  # fmt: skip
        axes.text(1.01, place, one.verdict, transform=axes.get_yaxis_transform(), va="center",
                  fontsize=7.5, color=colour)  # fmt: skip
    axes.set_yticks(range(len(found)), [
        f"{one.prediction.variant.split()[0]}   {compared_text(one)}, {one.prediction.noise}"
        for one in found
    ])  # fmt: skip
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(unit)
    axes.spines["left"].set_visible(False)


def data_of(found: Sequence[Judged]) -> str:
    """The numbers of the panels as CSV."""
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(("variant", "prediction", "compared", "noise", "measure", "predicted low",
                   "predicted high", "n", "mean", "low", "high", "verdict"))  # fmt: skip
    for one in found:
        item = one.prediction
        texts = (item.variant, item.says, compared_text(one), item.noise, item.measure)
        numbers = (item.low, item.high, one.n, one.mean, one.low, one.high)
        rows.writerow([
            *map(spreadsheet, texts),
            *("" if value is None else f"{rounded(value, 12):.12g}" for value in numbers),
            one.verdict,
        ])  # fmt: skip
    return buffer.getvalue()
