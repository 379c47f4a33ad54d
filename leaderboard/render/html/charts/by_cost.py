"""Accuracy against what rows cost: computation with the choice of samples, and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup

from prunebench.leaderboard.board.cost_share import CostShare, cost_of, front
from prunebench.leaderboard.board.model import Row
from prunebench.leaderboard.findings.phrases import joined
from prunebench.leaderboard.number_text import number
from prunebench.leaderboard.render.html.charts.answers import answer
from prunebench.leaderboard.render.html.charts.axis import linear, logarithmic, view
from prunebench.leaderboard.render.html.charts.design import Design, Picture
from prunebench.leaderboard.render.html.charts.panel import Mark, Panel, draw


def by_cost(design: Design) -> Picture | None:
    """One panel over all ratios for each kind of cost; None below two rows whose cost is known."""
    costs = _costs(design)
    if len({label for label, _ in costs}) < 2:
        return None
    rows = {(label, table.ratio): (table, row) for label, places in design.rows.items()
            for table, row in places}  # fmt: skip
    points = {key: (100 * cost.total, mean) for key, cost in costs.items()
              if (mean := rows[key][1].mean) is not None}  # fmt: skip
    best = _front({key: point for key, point in points.items() if not costs[key].other_network})
    compute: dict[str, list[Mark]] = {}
    time: dict[str, list[Mark]] = {}
    for key in sorted(points, key=lambda key: (key[0], points[key])):
        label, (table, row), cost = key[0], rows[key], costs[key]
        tip = design.tips.add(f"{label} · ratio {table.ratio:g} · cost",
                              _facts(design, row, cost, key in best))  # fmt: skip
        x, y = points[key]
        compute.setdefault(label, []).append(Mark(x, y, start=100 * cost.own, tip=tip))
        if row.time is not None and row.time.ratio > 0:
            time.setdefault(label, []).append(Mark(100 * row.time.ratio, y, tip=tip))
    corners = _steps([points[key] for key in best])
    title, unit = "Computation, with the choice of samples", "% of full training (log)"
    panels = [_panel(design, title, compute, unit, corners, 0)]
    if len(time) > 1:
        timed = {label: sorted(marks, key=lambda mark: mark.x) for label, marks in time.items()}
        title = "Training time on one kind of machine"
        panels.append(_panel(design, title, timed, unit, (), 1))
    several = "; lines join the ratios of a row" if len(design.tables) > 1 else ""
    apart = sorted({label for (label, _), cost in costs.items() if cost.other_network})
    beaten = "No row of the dashed line is beaten in both by another; that is not tested."
    return Picture(
        "cost", "Against cost", "Which rows are worth their cost?",
        answer(design, "random choice", "lead"),
        f"Mean {design.words} over the settings in percent, complete rows, against trained samples "
        "and a third of each forward-only sample; a bar leads from training alone to the cost with "
        f"the scoring run that chose the samples{several}. {beaten}"
        + (" Scoring runs of another network are in no cost, and their rows are not compared by "
           f"cost: {joined(apart)}." if apart else ""),
        tuple(panels),
    )  # fmt: skip


Key = tuple[str, float]


def _costs(design: Design) -> dict[Key, CostShare]:
    """Costs of complete rows by label and ratio; oracles are no choice anybody has, and full
    training costs the same at every ratio."""
    found: dict[Key, CostShare] = {}
    for table in design.tables:
        for row in table.rows:
            if row.kind == "oracle" or (
                row.kind == "full" and any(x == row.label for x, _ in found)
            ):
                continue
            cost = cost_of(table.runs.get(row.label, {}))
            if cost is not None and cost.own > 0:
                found[row.label, table.ratio] = cost
    return found


def _front(points: Mapping[Key, tuple[float, float]]) -> list[Key]:
    names = {f"{place}": key for place, key in enumerate(sorted(points))}
    return [names[name] for name in front({name: points[key] for name, key in names.items()})]


def _steps(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the line below which every point is beaten, cheapest first."""
    found = list(corners[:1])
    for (_, y), (x, higher) in pairwise(corners):
        found += [(x, y), (x, higher)]
    return found


def _facts(design: Design, row: Row, cost: CostShare, best: bool) -> list[tuple[str, str]]:
    chosen = cost.total - cost.own
    time = row.time
    return [
        (f"mean {design.words}", f"{number(row.mean, 2)} %"),
        ("computation", f"{number(100 * cost.total, 1)} % of full training"),
        ("of it the choice of samples", f"{number(100 * chosen, 1)} %" if chosen else ""),
        ("training time", "" if time is None else f"{number(100 * time.ratio, 1)} % of full "
         f"training, {time.machine}" + ", on a busy machine" * time.unsteady),
        ("beaten in both", "by no row" if best else ""),
    ]  # fmt: skip


def _panel(
    design: Design, title: str, lines: Mapping[str, Sequence[Mark]], x_name: str,
    corners: Sequence[tuple[float, float]], number: int,
) -> Markup:  # fmt: skip
    every = [mark for marks in lines.values() for mark in marks]
    shown = [m.y for label, marks in lines.items() if design.coloured(label) for m in marks]
    x = logarithmic(x_name, [v for m in every for v in (m.x, m.start) if v])
    y = linear(f"mean {design.words}, %", view(shown, [m.y for m in every]))
    panel = Panel(title, x, y, lines, corners)
    return draw(panel, design.looks, f"{design.id}-cost-{number}")
