"""Accuracy against what a method costs: computation, and time on one machine."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.cost_share import CostShare, cost_of, front
from prunebench.leaderboard.board.model import Summary, Table
from prunebench.leaderboard.board.time_ratio import UNSTEADY
from prunebench.leaderboard.figures.accuracy_by_ratio import columns_for
from prunebench.leaderboard.figures.answers import NOT_TESTED, sentence
from prunebench.leaderboard.figures.line_names import fit_panel
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.point_names import name_points
from prunebench.leaderboard.figures.row_styles import RowStyle, row_styles
from prunebench.leaderboard.figures.style import (
    GREY,
    PALE,
    Drawn,
    Omitted,
    finish,
    new,
    plain_numbers,
    slug,
    width_for,
)
from prunebench.leaderboard.findings.phrases import joined, listed
from prunebench.leaderboard.findings.rows import random_choice
from prunebench.leaderboard.highlight import Highlight, highlight

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCORED = re.compile(r" \(scored with ([^()]*)\)$")
_COMPUTATION = "computation, share of full training (log)"


@dataclass(frozen=True)
class Mark:
    """One row of a panel.

    Attributes:
        x, y: Share of full training's cost, and percent.
        low, high: Ends of the bar along x: the cost without scoring runs, or an interval.
        below, above: Ends of the interval along y; equal where there is none.
        unsteady: Whether its time was measured on a busy machine.
        partial: Whether its cost leaves out a scoring run, so that it is not compared by cost.
    """

    x: float
    y: float
    low: float
    high: float
    below: float
    above: float
    unsteady: bool = False
    partial: bool = False


def computation(material: Material) -> Iterator[Drawn | Omitted]:
    """Accuracy against computation: one figure per data set, a panel per ratio."""
    for summary, tables in material.groups():
        stem = f"accuracy-by-cost-{slug(summary.dataset)}"
        usable = [(table, costs) for table in tables if len(costs := _costs(table)) > 1]
        if usable:
            yield _by_computation(stem, summary, usable, highlight(summary), material)
        else:
            reason = "fewer than two complete rows whose records count a full run's samples"
            yield Omitted(stem, reason)


def time(material: Material) -> Iterator[Drawn | Omitted]:
    """Accuracy against training time: one figure per data set, a panel per ratio."""
    for summary, tables in material.groups():
        stem = f"accuracy-by-time-{slug(summary.dataset)}"
        timed = [(table, marks) for table in tables if len(marks := _times(table)) > 1]
        if timed:
            yield _by_time(stem, summary, timed, highlight(summary), material)
        else:
            yield Omitted(stem, "fewer than two complete rows with comparable times")


def _costs(table: Table) -> dict[str, CostShare]:
    """Costs of the complete rows; oracles are no choice anybody has."""
    found = {row.label: cost_of(table.runs.get(row.label, {}))
             for row in table.rows if row.kind != "oracle" and row.mean is not None}  # fmt: skip
    return {label: cost for label, cost in found.items() if cost is not None}


def _intervals(table: Table) -> dict[str, tuple[float, float]]:
    """Ends of the interval of each row's difference to the reference row, around its mean."""
    ranking = table.tests.ranking
    found = {row.label: (row.mean, row.mean) for row in table.rows if row.mean is not None}
    for label, one in (ranking.reference if ranking else {}).items():
        pooled = one.pooled
        if label in found and pooled.low is not None and pooled.high is not None:
            own = found[label][0]
            found[label] = (own + pooled.low - pooled.mean, own + pooled.high - pooled.mean)
    return found


def _times(table: Table) -> dict[str, Mark]:
    """Times of the complete rows with their intervals."""
    found, ends = {}, _intervals(table)
    for row in table.rows:
        spent = row.time
        if spent is not None and row.mean is not None and row.kind != "oracle":
            low = spent.ratio if spent.low is None else spent.low
            high = spent.ratio if spent.high is None else spent.high
            found[row.label] = Mark(
                spent.ratio, row.mean, low, high, *ends[row.label], spent.unsteady
            )
    return found


def _by_computation(
    stem: str, summary: Summary, usable: Sequence[tuple[Table, dict[str, CostShare]]],
    found: Highlight, material: Material,
) -> Drawn:  # fmt: skip
    panels = []
    for table, costs in usable:
        means = {row.label: row.mean for row in table.rows if row.mean is not None}
        ends = _intervals(table)
        panels.append((table, {x: Mark(c.total, means[x], c.own, c.total, *ends[x],
                                       partial=c.other_network)
                               for x, c in costs.items()}))  # fmt: skip
    apart = sorted({label for _, costs in usable for label, c in costs.items() if c.other_network})
    said = [f"{listed(rows)} at ratio {table.ratio:g}"
            for table, marks in panels if (rows := _front(marks))]  # fmt: skip
    answer = f"By their means, no row is both cheaper and as accurate as {'; '.join(said)}. "
    answer = f"{answer * bool(said)}{sentence(material, summary, random_choice)}".strip()
    caption = (
        "Marks: trained samples, a third of each forward-only sample, and the scoring run a "
        "method rests on, which several methods and ratios share; thin bars begin at the cost "
        "without that run. Dotted: the rows to which no other is equal in accuracy for less."
        + (
            " Scoring runs of another network are in no cost, and their rows are not compared by "
            f"cost: {joined(apart)}."
            if apart
            else ""
        )
    )
    title = f"{summary.dataset}: what does {material.words} cost in computation?"
    return _figure(stem, title, answer, caption, panels, summary, found, material,
                   _COMPUTATION)  # fmt: skip


def _by_time(
    stem: str, summary: Summary, panels: Sequence[tuple[Table, dict[str, Mark]]],
    found: Highlight, material: Material,
) -> Drawn:  # fmt: skip
    machines = sorted({row.time.machine for table, _ in panels for row in table.rows if row.time})
    busy = {x for _, marks in panels for x, mark in marks.items() if mark.unsteady}
    everywhere = busy == {x for _, marks in panels for x in marks}
    if everywhere:  # a ring around every mark tells nothing
        panels = [(table, {x: replace(mark, unsteady=False) for x, mark in marks.items()})
                  for table, marks in panels]  # fmt: skip
    less = "; ".join(f"{sum(m.high < 1 for m in marks.values())} of {len(marks)} rows at ratio "
                     f"{table.ratio:g}" for table, marks in panels)  # fmt: skip
    answer = f"{NOT_TESTED} The whole interval lies below full training's time for {less}."
    caption = (
        "Geometric mean of training seconds over those of full training, paired by (noise, seed); "
        "thin bars: 95 % t intervals; scoring runs are not in it. Measured on "
        f"{'; '.join(machines)}."
        + (f" Epoch times of {'all rows' if everywhere else len(busy)} vary by more than a factor "
           f"of {UNSTEADY:g}{'' if everywhere else ' (grey rings)'}: the machine was busy."
           if busy else "")
    )  # fmt: skip
    title = f"{summary.dataset}: which rows save time, and at what {material.words}?"
    return _figure(stem, title, answer, caption, panels, summary, found, material,
                   "training time, share of full training (log)")  # fmt: skip


def _figure(
    stem: str, title: str, answer: str, caption: str,
    panels: Sequence[tuple[Table, dict[str, Mark]]], summary: Summary, found: Highlight,
    material: Material, across: str,
) -> Drawn:  # fmt: skip
    styles = row_styles(found, summary.series)
    columns = columns_for(len(panels))
    lines = -(-len(panels) // columns)
    figure = new(0.95 + 3.6 * lines, width_for(columns))
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for place, (axes, (table, marks)) in enumerate(zip(grid.flat, panels, strict=False)):
        _panel(axes, marks, styles, pareto=across == _COMPUTATION)
        axes.set_title(f"ratio {table.ratio:g}")
        axes.set_xlabel(across)
        if place % columns == 0:
            axes.set_ylabel(f"mean {material.words} over noise settings, %")
    labels = {x for _, marks in panels for x in marks}
    others = len(labels - set(found.rows))
    more = f" Pale: {others} other row{'s' * (others > 1)}." if others else ""
    more += (" Upright bars: 95 % interval of the difference to "
             f"{material.board.protocol.reference} for new seeds.")  # fmt: skip
    names, network = plain_names(labels)
    if network:
        more += f' Names in the panels go without "scored with {network}".'
    more += " Names with ▾ and a value, and grey triangles, lie outside the panel."
    caption = f"Mean {material.words} over noise settings of complete rows. {caption}{more}"
    drawn = finish(figure, stem, title, caption, answer=answer)
    for axes, (_, marks) in zip(grid.flat, panels, strict=False):
        own = {x: m for x, m in marks.items() if x in found}
        edge = axes.get_ylim()[0]
        named = {f"{names[x]}  {m.y:.1f} ▾" if m.y < edge else names[x]: (m.x, max(m.y, edge))
                 for x, m in own.items()}  # fmt: skip
        looks = {name: styles[x] for name, x in zip(named, own, strict=True)}
        bars = [((m.low, max(m.y, edge)), (m.high, max(m.y, edge))) for m in own.values()]
        bars += [((m.x, max(m.below, edge)), (m.x, max(m.above, edge))) for m in own.values()]
        name_points(axes, named, looks, bars)
    return drawn


def plain_names(labels: Collection[str]) -> tuple[dict[str, str], str]:
    """Names without the recipe of the scoring run, where the rows that name one name the same.

    Returns:
        Name by label, and what was left out of the names; empty where they are whole.
    """
    found = {label: _SCORED.search(label) for label in labels}
    recipes = {match[1] for match in found.values() if match}
    names = {label: label[: match.start()] if match else label for label, match in found.items()}
    if len(recipes) != 1 or len(set(names.values())) < len(names):
        return {label: label for label in labels}, ""
    return names, recipes.pop()


def _panel(
    axes: Axes, marks: Mapping[str, Mark], styles: Mapping[str, RowStyle], pareto: bool
) -> None:
    own = {x: m for x, m in marks.items() if styles[x].shown}
    fit_panel(axes, [m.y for m in (own or marks).values()])
    edge, top = axes.get_ylim()
    pad = 0.06 * (top - edge)
    reach = max([top, *(m.above for m in own.values())])  # a wide interval runs out of the panel
    edge, top = edge - pad, min(reach, top + 0.5 * (top - edge)) + pad
    axes.set_ylim(edge, top)
    for label, mark in sorted(marks.items(), key=lambda item: styles[item[0]].shown):
        look = styles[label]
        if not look.shown and not edge <= mark.y <= top:
            marker = "^" if mark.y > top else "v"
            axes.plot([mark.x], [top if mark.y > top else edge], ls="", marker=marker, ms=4,
                      color=GREY, clip_on=False, zorder=1.5)  # fmt: skip
            continue
        height = max(mark.y, edge)
        axes.plot([mark.low, mark.high], [height] * 2, color=look.colour, zorder=2,
                  lw=1.0 if look.shown else 0.6, alpha=0.6)  # fmt: skip
        if look.shown and mark.above > edge:
            axes.plot([mark.x] * 2, [max(mark.below, edge), mark.above], color=look.colour, lw=0.8,
                      alpha=0.6, zorder=2)  # fmt: skip
        size = {} if look.shown else {"ms": 3.2}
        axes.plot([mark.x], [height], ls="", label=label, color=look.colour, clip_on=False,
                  zorder=4 if look.shown else 1.5, **{**look.points, **size})  # fmt: skip
        if mark.unsteady:
            axes.plot([mark.x], [height], ls="", marker="o", ms=9, markerfacecolor="none",
                      markeredgecolor=GREY, markeredgewidth=0.6, zorder=2)  # fmt: skip
    if pareto:
        best = [(marks[x].x, marks[x].y) for x in _front(marks)]
        axes.plot([x for x, _ in best], [y for _, y in best], ls=":", color=GREY, lw=1.2,
                  zorder=1, label="front")  # fmt: skip
    axes.axvline(1, color=PALE, lw=1, zorder=0)
    log_shares(axes)


def _front(marks: Mapping[str, Mark]) -> list[str]:
    """Rows that none beats in cost and accuracy, of those whose whole cost is known."""
    return front({x: (m.x, m.y) for x, m in marks.items() if not m.partial})


def log_shares(axes: Axes) -> None:
    """A logarithmic axis of shares with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    axes.margins(x=0.06)
    low, high = axes.get_xlim()
    high *= (high / low) ** 0.1  # names stand right of the last mark
    near = high / low < 4
    ticks = LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if near else (1, 2, 5)).tick_values(low, high)
    edge = (high / low) ** 0.02  # a number at the very end would run out of the picture
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in ticks if low * edge <= tick <= high / edge])
    axes.xaxis.set_minor_locator(NullLocator())
    plain_numbers(axes.xaxis)
    axes.grid(axis="both")
