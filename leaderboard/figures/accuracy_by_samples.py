"""Test accuracy against the samples that were trained for it, while runs train."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.figures.answers import NOT_TESTED
from prunebench.leaderboard.figures.line_names import room_for, side_names, whiskers
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.row_styles import RowStyle, row_styles
from prunebench.leaderboard.figures.style import (
    GREY,
    PALE,
    Drawn,
    Omitted,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.findings.phrases import counted, joined
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.learning_curves.curves import NOT_EVALUATED, Curve
from prunebench.leaderboard.learning_curves.to_target import curves_of, full_row
from prunebench.leaderboard.render.row_text import number, span
from prunebench.leaderboard.stats import MeanInterval, mean_interval
from prunebench.untrusted import spreadsheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "accuracy-by-samples"
#: The panel begins this many times the distance from full training to the lowest target below it.
_BELOW = 3.0


@dataclass(frozen=True)
class MeanCurve:
    """The evaluations that all seeds of a row have.

    Attributes:
        samples: Mean over seeds of the samples trained until then, ascending.
        accuracy: Percent over seeds.
        n: Seeds.
    """

    samples: tuple[float, ...]
    accuracy: tuple[MeanInterval, ...]
    n: int


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per (data set, ratio, noise) where full training and another row have curves."""
    reasons: Counter[str] = Counter()
    drawn = False
    for table in material.board.tables:
        found = {label: curves_of(table, label, material.read) for label in table.runs}
        full = full_row(table)
        for noise in table.noises:
            curves: dict[str, MeanCurve] = {}
            diverged: Counter[str] = Counter()
            for label, own in found.items():
                here = {slot: curve for slot, curve in own.items() if slot[0] == noise}
                reasons.update(curve for curve in here.values() if isinstance(curve, str))
                whole = []
                for slot, curve in here.items():
                    if not isinstance(curve, Curve):
                        continue
                    status = table.runs[label][slot].record.status
                    if len(curve.points) > 1 and (label != full or status != "diverged"):
                        whole.append(curve)
                    else:  # full training that diverged is no reference
                        diverged[label] += 1
                made = mean_curve(whole)
                if made is not None:
                    curves[label] = made
            if full in curves and len(curves) > 1:
                drawn = True
                yield _figure(material, table, noise, curves, full, diverged)
    if not drawn:
        said = "; ".join(f"{reason} ({counted(count, 'run')})"
                         for reason, count in sorted(reasons.items())
                         if reason != NOT_EVALUATED)  # fmt: skip
        wanted = "no run was evaluated while it trained (recipe option eval_every)"
        yield Omitted(NAME, said or wanted)


def mean_curve(curves: Sequence[Curve]) -> MeanCurve | None:
    """The mean of the curves of several seeds: at the epochs at which all of them were evaluated,
    and at their ends; None without a curve."""
    if not curves:
        return None
    placed = []
    for curve in curves:
        own = {point.epoch: point for point in curve.points[:-1]}
        placed.append({**own, 0: curve.end})  # the ends belong together, whatever their epochs
    common = set.intersection(*(set(own) for own in placed))
    pairs = []
    for epoch in common:
        points = [own[epoch] for own in placed]
        spent = [p.trained if p.spent is None else p.spent for p in points]
        accuracy = mean_interval([100 * p.accuracy for p in points])
        pairs.append((sum(spent) / len(spent), accuracy))
    pairs.sort(key=lambda pair: pair[0])
    return MeanCurve(tuple(x for x, _ in pairs), tuple(y for _, y in pairs), len(curves))


def _figure(
    material: Material, table: Table, noise: str, curves: dict[str, MeanCurve], full: str,
    diverged: Mapping[str, int],
) -> Drawn:  # fmt: skip
    stem = f"{NAME}-{slug(table.dataset)}-{slug(noise)}-{table.ratio:g}"
    chosen = highlight(material.summary(table), curves)
    shown = list(chosen.rows)
    styles = row_styles(chosen, curves)
    figure = new(4.9, 9.0)
    axes = figure.subplots()
    for label in sorted(curves.keys() - set(shown)):
        curve = curves[label]
        axes.plot(curve.samples, [m.mean for m in curve.accuracy], color=PALE, lw=0.8, zorder=1)
    end = curves[full].accuracy[-1].mean
    targets = [(share, share * end) for share in material.board.protocol.target]
    for share, height in targets:
        axes.axhline(height, color=GREY, lw=0.6, ls=(0, (1, 2)), zorder=1)
        axes.annotate(
            f"{100 * share:g} %", (0, height), xycoords=("axes fraction", "data"),
            xytext=(3, 2), textcoords="offset points", fontsize=7, color=GREY,
        )  # fmt: skip
    for label in reversed(shown):
        _line(axes, curves[label], styles[label], label == full)
    _limits(axes, [curves[label] for label in shown], targets[0][1])
    axes.grid(axis="y")
    axes.set_xlabel("samples trained, a forward-only pass as a third")
    axes.set_ylabel("test accuracy, %")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    counts = [curves[label].n for label in shown]
    others = len(curves) - len(shown)
    caption = (
        f"Test accuracy at the end of evaluated epochs, mean over n = "
        f"{span(min(counts), max(counts))} seeds; thin bars: 95 % t intervals over seeds "
        "(none below three). Scoring runs are not in the samples. Dashed black: full "
        "training; dotted: shares of its mean final accuracy. The panel is cut below; names with "
        "▾ end under it, with the accuracy at the end."
        + (f" Pale: {others} other row{'s' * (others > 1)}." if others else "")
        + (f" Not in the means: {sum(diverged.values())} diverged ({joined(sorted(diverged))})."
           if diverged else "")
    )  # fmt: skip
    title = (f"{table.dataset}: on how many samples is full training's accuracy reached? {noise}, "
             f"ratio {table.ratio:g}")  # fmt: skip
    drawn = finish(figure, stem, title, caption, room_for(shown), reached(curves, targets))
    ends = {x: (curves[x].samples[-1], curves[x].accuracy[-1].mean) for x in shown}
    side_names(axes, ends, styles)
    return replace(drawn, data=data_of(curves))


def reached(curves: Mapping[str, MeanCurve], targets: Sequence[tuple[float, float]]) -> str:
    """How many rows come to each share of full training's accuracy by their mean curves."""
    said = []
    for share, height in targets:
        rows = [x for x, curve in curves.items() if max(m.mean for m in curve.accuracy) >= height]
        said.append(f"{len(rows)} of {len(curves)} rows reach {100 * share:g} %")
    return f"{NOT_TESTED} By their mean curves {joined(said)} of it, full training among them."


def _line(axes: Axes, curve: MeanCurve, look: RowStyle, full: bool) -> None:
    mean = [m.mean for m in curve.accuracy]
    points = {} if full else {**look.points, "ms": 3.5}
    axes.plot(curve.samples, mean, color=look.colour, ls=look.line, lw=1.2, zorder=3, **points)
    halves = [m.half_width for m in curve.accuracy]
    if all(half is not None for half in halves):
        low, high = ([max(0.0, min(100.0, m + sign * (h or 0.0)))
                      for m, h in zip(mean, halves, strict=True)] for sign in (-1, 1))  # fmt: skip
        whiskers(axes, curve.samples, low, high, look.colour)


def _limits(axes: Axes, curves: Sequence[MeanCurve], target: float) -> None:
    """From some way below the lowest target to the top; starts of training are cut off."""
    means = [m.mean for curve in curves for m in curve.accuracy]
    tops = [min(100.0, m.mean + (m.half_width or 0.0)) for curve in curves for m in curve.accuracy]
    top = max(means)
    low = max(min(means), target - _BELOW * max(top - target, 0.5))
    high = min(max(tops), top + (top - low) / 3)
    pad = 0.04 * (high - low)
    axes.set_ylim(low - pad, high + pad)
    axes.margins(x=0.02)


def data_of(curves: Mapping[str, MeanCurve]) -> str:
    """The curves as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("row", "samples", "accuracy", "half_width", "n"))
    for label, curve in sorted(curves.items()):
        name = spreadsheet(label)
        for samples, m in zip(curve.samples, curve.accuracy, strict=True):
            half = "" if m.half_width is None else number(m.half_width, 6)
            writer.writerow((name, number(samples, 2), number(m.mean, 6), half, curve.n))
    return out.getvalue()
