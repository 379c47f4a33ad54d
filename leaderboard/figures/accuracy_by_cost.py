"""Accuracy against what a method costs: computation, and time on one machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.cost_share import CostShare, cost_of, front
from prunebench.leaderboard.board.model import Row, Table
from prunebench.leaderboard.board.time_ratio import UNSTEADY
from prunebench.leaderboard.figures.line_names import fit_panel, room_for, side_names
from prunebench.leaderboard.figures.material import Material, kinds_of
from prunebench.leaderboard.figures.row_styles import RowStyle, row_styles
from prunebench.leaderboard.figures.style import (
    GREY,
    PALE,
    WIDTH,
    Drawn,
    Omitted,
    finish,
    new,
    plain_numbers,
    slug,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set, a row of panels per ratio."""
    for summary, tables in material.groups():
        stem = f"accuracy-by-cost-{slug(summary.dataset)}"
        usable = [(table, costs) for table in tables if len(costs := _costs(table)) > 1]
        if not usable:
            reason = "fewer than two complete rows whose records count a full run's samples"
            yield Omitted(stem, reason)
            continue
        styles = row_styles(kinds_of(tables))
        yield _figure(stem, summary.dataset, usable, styles, material.words)


def _costs(table: Table) -> dict[str, CostShare]:
    """Costs of the complete rows; oracles are no choice anybody has."""
    found = {row.label: cost_of(table.runs.get(row.label, {}))
             for row in table.rows if row.kind != "oracle"}  # fmt: skip
    return {label: cost for label, cost in found.items() if cost is not None}


def _figure(
    stem: str, dataset: str, usable: Sequence[tuple[Table, dict[str, CostShare]]],
    styles: Mapping[str, RowStyle], words: str,
) -> Drawn:  # fmt: skip
    most = max(len(costs) for _, costs in usable)
    figure = new(0.95 + len(usable) * max(2.4, 0.14 * most + 0.3))
    room = room_for([label for _, costs in usable for label in costs])
    gap = 2.5 * room / (0.92 * WIDTH - room)
    grid = figure.subplots(len(usable), 3, squeeze=False, width_ratios=(1.5, gap, 1))
    machines: set[str] = set()
    busy = {row.label for table, costs in usable for row in table.rows
            if row.label in costs and row.time and row.time.unsteady}  # fmt: skip
    apart = sorted({label for _, costs in usable for label, c in costs.items() if c.other_network})
    for (left, between, right), (table, costs) in zip(grid, usable, strict=True):
        between.set_axis_off()
        rows = [row for row in table.rows if row.label in costs]
        machines |= _time(right, rows, styles)
        _compute(left, rows, costs, styles)
        left.set_ylabel(f"ratio {table.ratio:g}\nmean {words}, %")
        right.set_ylim(left.get_ylim())
    grid[-1, 0].set_xlabel("computation, share of full training (log)")
    grid[-1, 2].set_xlabel("training time, share of full training (log)")
    caption = (
        f"Mean {words} over noise settings of complete rows. Left: trained samples plus a third "
        "of each forward-only sample; a line leads to the cost with the scoring run a method "
        "rests on, which several methods and ratios share. Dotted line and bold names: no other "
        "row is as accurate for less, scoring runs counted. Right: geometric mean of training "
        "seconds over those of full training, paired by (noise, seed), with 95 % t intervals, "
        "scoring runs not in it"
        + (f"; measured on {'; '.join(sorted(machines))}." if machines
           else "; no two runs on one kind of machine.")
        + (f" Epoch times of {len(busy)} row{'s' * (len(busy) > 1)} vary by more than a factor of "
           f"{UNSTEADY:g} (hollow grey rings): the machine was busy." if busy else "")
        + (f" Scoring runs of another network are in no cost: {', '.join(apart)}." if apart else "")
    )  # fmt: skip
    drawn = finish(figure, stem, f"{dataset}: {words} against cost", caption)
    for (left, _, _), (table, costs) in zip(grid, usable, strict=True):
        points = {row.label: (costs[row.label].total, row.mean) for row in table.rows
                  if row.label in costs and row.mean is not None}  # fmt: skip
        ends = {label: (costs[label].own, y) for label, (_, y) in points.items()}
        side_names(left, ends, styles, bold=front(points))
    return drawn


def _compute(
    axes: Axes, rows: Sequence[Row], costs: Mapping[str, CostShare], styles: Mapping[str, RowStyle]
) -> None:
    points = {row.label: (costs[row.label].total, row.mean) for row in rows
              if row.mean is not None}  # fmt: skip
    low = fit_panel(axes, [y for _, y in points.values()]) - 1e-9
    edge = axes.get_ylim()[0]
    for label, (total, y) in points.items():
        look, height = styles[label], y if y >= low else edge
        axes.plot([costs[label].own, total], [height] * 2, color=look.colour, lw=1.1, alpha=0.55,
                  marker="|", ms=5, markevery=[1], zorder=2)  # fmt: skip
        axes.plot([costs[label].own], [height], ls="", label=label, zorder=3, clip_on=False,
                  **look.points)  # fmt: skip
    best = [points[label] for label in front(points)]
    axes.plot([x for x, _ in best], [y for _, y in best], ls=":", color=GREY, lw=1.2,
              marker="|", ms=6, zorder=2, label="front")  # fmt: skip
    log_shares(axes)


def _time(axes: Axes, rows: Sequence[Row], styles: Mapping[str, RowStyle]) -> set[str]:
    machines = set()
    for row in rows:
        if row.time is None or row.mean is None:
            continue
        time, look = row.time, styles[row.label]
        machines.add(time.machine)
        if time.low is not None and time.high is not None:
            axes.plot([time.low, time.high], [row.mean] * 2, color=look.colour, lw=1.0, zorder=2)
        axes.plot([time.ratio], [row.mean], ls="", label=row.label, zorder=3, **look.points)
        if time.unsteady:
            axes.plot([time.ratio], [row.mean], ls="", marker="o", ms=9, markerfacecolor="none",
                      markeredgecolor=GREY, markeredgewidth=0.6, zorder=2)  # fmt: skip
    if not machines:
        axes.text(0.5, 0.5, "no comparable times", transform=axes.transAxes, ha="center",
                  color=GREY)  # fmt: skip
    axes.axvline(1, color=PALE, lw=1, zorder=0)
    log_shares(axes)
    axes.tick_params(labelleft=False)
    return machines


def log_shares(axes: Axes) -> None:
    """A logarithmic axis of shares with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    axes.margins(x=0.06)
    low, high = axes.get_xlim()
    near = high / low < 4
    ticks = LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if near else (1, 2, 5)).tick_values(low, high)
    edge = (high / low) ** 0.02  # a number at the very end would run out of the picture
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in ticks if low * edge <= tick <= high / edge])
    axes.xaxis.set_minor_locator(NullLocator())
    plain_numbers(axes.xaxis)
    axes.grid(axis="both")
