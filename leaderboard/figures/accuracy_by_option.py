"""Accuracy against an option of a method, where a board holds several of its values."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.figures.material import Material, filled, kinds_of
from prunebench.leaderboard.figures.row_styles import MARKERS, darker, is_variant
from prunebench.leaderboard.figures.style import (
    HUES,
    INK,
    Drawn,
    Omitted,
    finish,
    new,
    plain_numbers,
    slug,
)
from prunebench.leaderboard.render.row_text import scores_named, span
from prunebench.leaderboard.stats import mean_interval
from prunebench.registry import own_scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Sweep:
    """Rows that differ in one option, or in others that follow from it.

    Attributes:
        name: Method, and the other options where several sweeps differ in them.
        method: Method.
        option: The option.
        rows: (value, label), numbers in order, other values as text.
        numeric: Whether all values are numbers.
    """

    name: str
    method: str
    option: str
    rows: tuple[tuple[Any, str], ...]
    numeric: bool


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per (data set, ratio, option)."""
    drawn = False
    for table in material.board.tables:
        by_option: dict[str, list[Sweep]] = defaultdict(list)
        for sweep in sweeps(table):
            by_option[sweep.option].append(sweep)
        for option, found in sorted(by_option.items()):
            drawn = True
            yield _figure(table, option, found, material.words)
    if not drawn:
        yield Omitted("accuracy-by-option", "no method runs with several values of an option")


def sweeps(table: Table) -> list[Sweep]:
    """Every sweep of a table: two rows of one method or more, apart in one option.

    Where several options vary together and one of them differs between all rows, the others follow
    it (a window and its least number of observations, say); else every option is swept once per
    combination of the others.
    """
    options: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for label, runs in table.runs.items():
        run = next(iter(runs.values()))
        if "(tuned" not in label:
            options[run.method][label] = run.params
    found = []
    for method, rows in sorted(options.items()):
        names = sorted({name for params in rows.values() for name in params})
        distinct = {name: {_key(p.get(name)) for p in rows.values()} for name in names}
        varying = [name for name in names if len(distinct[name]) > 1]
        leading = [name for name in varying if len(distinct[name]) == len(rows)]
        if len(varying) > 1 and leading:
            varying, others = leading[:1], []
        else:
            others = varying
        for option in varying:
            groups: dict[str, list[tuple[Any, str]]] = defaultdict(list)
            for label, params in rows.items():
                rest = ", ".join(f"{o}={_key(params.get(o))}" for o in others if o != option)
                groups[rest].append((params.get(option), label))
            for rest, members in sorted(groups.items()):
                if len(members) > 1:
                    found.append(_sweep(method, option, rest, members))
    return found


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _sweep(method: str, option: str, rest: str, members: list[tuple[Any, str]]) -> Sweep:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v, _ in members)
    shown = members if numeric else [
        (v if isinstance(v, str) else _key(v), label) for v, label in members
    ]  # fmt: skip
    name = f"{method} ({rest})" if rest else method
    return Sweep(name, method, option, tuple(sorted(shown)), numeric)


def _figure(table: Table, option: str, found: Sequence[Sweep], words: str) -> Drawn:
    stem = f"accuracy-by-{slug(option)}-{slug(table.dataset)}-{table.ratio:g}"
    columns = min(3, len(table.noises))
    lines = -(-len(table.noises) // columns)
    figure = new(1.15 + 2.3 * lines)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
    kinds = kinds_of([table])
    seeds: set[int] = set()
    for place, axes in enumerate(grid.flat):
        if place >= len(table.noises):
            axes.set_visible(False)
            continue
        seeds |= _panel(axes, table, table.noises[place], found, kinds)
        axes.set_title(table.noises[place])
        if place % columns == 0:
            axes.set_ylabel(f"{words}, %")
        if place >= len(table.noises) - columns:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(option)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    scores = scores_named(sweep.method for sweep in found)
    caption = (
        f"Final-epoch test {words} at ratio {table.ratio:g}, mean over n = "
        f"{span(min(seeds), max(seeds)) if seeds else 0} seeds; upright lines are 95 % t "
        "intervals. Other options as declared, or following the one shown. Dashed black: full "
        f"training; dotted: the method without {scores} where the table has one row of it."
    )
    title = f"{table.dataset}: {words} against {option} at ratio {table.ratio:g}"
    return finish(figure, stem, title, caption)


def _panel(
    axes: Axes, table: Table, noise: str, found: Sequence[Sweep], kinds: Mapping[str, str]
) -> set[int]:
    seeds: set[int] = set()
    bars: list[tuple[list[Any], list[float], list[float], str]] = []
    cell = (noise, table.ratio)
    bases = sorted({own_scored(sweep.method) for sweep in found})
    for label in (x for x, kind in kinds.items() if kind == "full"):
        values = filled(table.series, label, cell)
        if values:
            axes.axhline(mean_interval(values).mean, color=INK, ls=(0, (4, 2)), lw=1.2, label=label)
    for number, sweep in enumerate(found):
        base = own_scored(sweep.method)
        colour = HUES[bases.index(base) % len(HUES)]
        x, mean, half = [], [], []
        for value, label in sweep.rows:
            values = filled(table.series, label, cell)
            if values is not None:
                interval = mean_interval(values)
                x.append(value)
                mean.append(interval.mean)
                half.append(interval.half_width)
                seeds.add(interval.n)
        hollow = not is_variant(sweep.method) and any(is_variant(s.method) for s in found)
        axes.plot(x, mean, color=colour, marker=MARKERS[number % len(MARKERS)], label=sweep.name,
                  ls=(0, (4, 1.5)) if hollow else "-",
                  markerfacecolor="white" if hollow else colour)  # fmt: skip
        if half and all(h is not None for h in half):
            bars.append((x, mean, [h or 0.0 for h in half], colour))
        without = filled(table.series, base, cell) if base in table.series else None
        if is_variant(sweep.method) and without:
            axes.axhline(mean_interval(without).mean, color=darker(colour), ls=":", lw=1.2,
                         label=base)  # fmt: skip
    numbers = sorted({v for sweep in found if sweep.numeric for v, _ in sweep.rows})
    if numbers and numbers[0] > 0 and numbers[-1] / numbers[0] >= 30:
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
    if numbers and len(numbers) <= 12:
        axes.set_xticks(numbers, [f"{v:g}" for v in numbers])
    means = [y for line in axes.lines for y in np.ravel(line.get_ydata()).tolist()]
    if means:  # wide intervals run out of the panel rather than flatten the lines
        pad = max(0.25 * (max(means) - min(means)), 0.5)
        axes.set_ylim(min(means) - pad, min(100.0, max(means) + pad) + 0.1)
    for number, (x, mean, width, colour) in enumerate(bars):
        axes.errorbar(x, mean, width, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.5,
                      capsize=2 + 2 * number, zorder=2)  # fmt: skip
    axes.grid(axis="y")
    return seeds
