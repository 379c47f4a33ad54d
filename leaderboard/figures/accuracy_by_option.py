"""Accuracy against an option of a method, where a board holds several of its values."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.figures.accuracy_by_ratio import columns_for
from prunebench.leaderboard.figures.answers import NOT_TESTED, all_pairs, separated
from prunebench.leaderboard.figures.line_names import room_for, side_names, whiskers
from prunebench.leaderboard.figures.material import Material, filled
from prunebench.leaderboard.figures.row_styles import MARKERS, RowStyle, darker
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
from prunebench.leaderboard.findings.phrases import counted, joined
from prunebench.leaderboard.highlight import is_variant
from prunebench.leaderboard.render.row_text import scores_named, span
from prunebench.leaderboard.stats import mean_interval
from prunebench.registry import own_scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Lines of a figure.
MOST = 6
#: Where the name of each line begins.
Ends = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Sweep:
    """Rows that differ in one option, or in others that follow from it.

    Attributes:
        name: Method, and the other options where several sweeps differ in them.
        method: Method.
        option: The option.
        rows: (value, label), numbers in order, other values as text.
        numeric: Whether all values are numbers.
        following: Options that change with it.
    """

    name: str
    method: str
    option: str
    rows: tuple[tuple[Any, str], ...]
    numeric: bool
    following: tuple[str, ...] = ()


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per (data set, ratio, option); options that cannot be told apart have none."""
    drawn = False
    for table in material.board.tables:
        by_option: dict[str, list[Sweep]] = defaultdict(list)
        for sweep in sweeps(table):
            by_option[sweep.option].append(sweep)
        for option, found in sorted(by_option.items()):
            drawn = True
            yield _figure(table, option, found, material.words)
        for method, together in confounded(table).items():
            drawn = True
            yield Omitted(
                f"accuracy-by-option-{slug(table.dataset)}-{table.ratio:g}",
                f"{joined(together)} change together in every row of {method}",
            )
    if not drawn:
        yield Omitted("accuracy-by-option", "no method runs with several values of an option")


def sweeps(table: Table) -> list[Sweep]:
    """Every sweep of a table: two rows of one method or more, apart in one option.

    Where several options vary and one alone of them differs between all rows, the others follow it
    (a window and its least number of observations, say); else every option is swept once per
    combination of the others. Where several differ between all rows there is no sweep.
    """
    found = []
    for method, rows in _options(table):
        varying, leading = _varying(rows)
        if len(leading) > 1:
            continue
        others, following = varying, []
        if len(varying) > 1 and leading:
            following = [name for name in varying if name not in leading]
            varying, others = leading, []
        for option in varying:
            groups: dict[str, list[tuple[Any, str]]] = defaultdict(list)
            for label, params in rows.items():
                rest = ", ".join(f"{o}={_key(params.get(o))}" for o in others if o != option)
                groups[rest].append((params.get(option), label))
            for rest, members in sorted(groups.items()):
                if len(members) > 1:
                    found.append(_sweep(method, option, rest, members, following))
    return found


def confounded(table: Table) -> dict[str, list[str]]:
    """By method, several options each of which differs between all of its rows."""
    found = {method: _varying(rows)[1] for method, rows in _options(table)}
    return {method: names for method, names in found.items() if len(names) > 1}


def _options(table: Table) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """Options of every row by method; those of tuned rows differ by seed."""
    options: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for label, runs in table.runs.items():
        run = next(iter(runs.values()))
        if "(tuned" not in label:
            options[run.method][label] = run.params
    return sorted(options.items())


def _varying(rows: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Options that differ somewhere between the rows, and those that differ between all of them."""
    names = sorted({name for params in rows.values() for name in params})
    distinct = {name: {_key(p.get(name)) for p in rows.values()} for name in names}
    varying = [name for name in names if len(distinct[name]) > 1]
    return varying, [name for name in varying if len(distinct[name]) == len(rows)]


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _sweep(
    method: str, option: str, rest: str, members: list[tuple[Any, str]], following: Sequence[str]
) -> Sweep:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v, _ in members)
    shown = members if numeric else [
        (v if isinstance(v, str) else _key(v), label) for v, label in members
    ]  # fmt: skip
    name = f"{method} ({rest})" if rest else method
    return Sweep(name, method, option, tuple(sorted(shown)), numeric, tuple(following))


def shown_names(found: Sequence[Sweep]) -> tuple[list[str], str]:
    """Names of the lines without what all of them share, and that part."""
    parts = [sweep.name.removeprefix(sweep.method).strip(" ()") for sweep in found]
    options = [part.split(", ") if part else [] for part in parts]
    shared = [o for o in options[0] if all(o in own for own in options)] if options else []
    own = [", ".join(o for o in one if o not in shared) for one in options]
    names = [f"{sweep.method} ({part})" if part else sweep.method
             for sweep, part in zip(found, own, strict=True)]  # fmt: skip
    return names, ", ".join(shared)


def _figure(table: Table, option: str, every: Sequence[Sweep], words: str) -> Drawn:
    stem = f"accuracy-by-{slug(option)}-{slug(table.dataset)}-{table.ratio:g}"
    found = every[:MOST]
    columns = columns_for(len(table.noises))
    lines = -(-len(table.noises) // columns)
    names, shared = shown_names(found)
    figure = new(1.15 + 2.3 * lines)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
    full = [row.label for row in (*table.rows, *table.incomplete) if row.kind == "full"]
    values = sorted({v for sweep in found for v, _ in sweep.rows}, key=_order)
    numeric = all(sweep.numeric for sweep in found)
    styles = _styles(found, names) | {x: RowStyle(INK, INK, "", True, "-") for x in full}
    seeds: set[int] = set()
    ends: dict[str, Ends] = {}
    for axes in list(grid.flat)[len(table.noises) :]:
        axes.set_axis_off()
    for place, (axes, noise) in enumerate(zip(grid.flat, table.noises, strict=False)):
        lines_here = dict(zip(names, found, strict=True))
        ends[noise] = _panel(axes, table, noise, lines_here, styles, None if numeric else values)
        seeds |= {len(own) for sweep in found for _, label in sweep.rows
                  if (own := filled(table.series, label, (noise, table.ratio)))}  # fmt: skip
        axes.set_title(noise)
        if place % columns == 0:
            axes.set_ylabel(f"{words}, %")
        if place >= len(table.noises) - columns:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(option)
    following = sorted({name for sweep in found for name in sweep.following})
    changes = f" except {joined(following)}, changed together with {option}" if following else ""
    scores = scores_named(sweep.method for sweep in found)
    caption = (
        f"Final-epoch test {words} at ratio {table.ratio:g}, mean over n = "
        f"{span(min(seeds), max(seeds)) if seeds else 0} seeds; thin upright bars: 95 % t "
        f"intervals. Other options are equal along a line{changes}"
        f"{f'; in all lines {shared}' if shared else ''}. Dashed black: full training; dotted: the "
        f"method without {scores} where the table has one row of it."
        + (f" The first {MOST} of {len(every)} lines." if len(every) > MOST else "")
    )
    what = f"{option} (with {joined(following)})" if following else option
    title = f"{table.dataset}: does {what} change {words} at ratio {table.ratio:g}?"
    drawn = finish(figure, stem, title, caption, room_for(styles), _separated(table, every))
    for line in range(lines):
        place = min(len(table.noises), columns * (line + 1)) - 1
        side_names(grid.flat[place], ends[table.noises[place]], styles)
    return drawn


def _styles(found: Sequence[Sweep], names: Sequence[str]) -> dict[str, RowStyle]:
    """How each line is drawn; a method without its variant's score has its name on a dotted one."""
    bases = sorted({own_scored(sweep.method) for sweep in found})
    variants = any(is_variant(sweep.method) for sweep in found)
    styles: dict[str, RowStyle] = {}
    for number, (name, sweep) in enumerate(zip(names, found, strict=True)):
        base = own_scored(sweep.method)
        colour = HUES[bases.index(base) % len(HUES)]
        hollow = variants and not is_variant(sweep.method)
        styles.setdefault(base, RowStyle(colour, darker(colour), "", False, ":"))
        styles[name] = RowStyle(colour, darker(colour), MARKERS[number % len(MARKERS)],
                                not hollow, (0, (4, 1.5)) if hollow else "-")  # fmt: skip
    return styles


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers in their order, then words."""
    return isinstance(value, str), value


def _separated(table: Table, found: Sequence[Sweep]) -> str:
    """How many pairs of values the letters of the table separate."""
    groups = table.tests.ranking.groups if table.tests.ranking else None
    pairs = [tuple(sorted((a, b))) for sweep in found
             for (_, a), (_, b) in combinations(sweep.rows, 2)]  # fmt: skip
    if groups is None or groups.underpowered:
        return separated(groups)
    order = {label: place for place, label in enumerate(groups.pairwise.order)}
    known = [sorted(pair, key=lambda x: order[x]) for pair in pairs if set(pair) <= order.keys()]
    if not known:
        return f"{NOT_TESTED} No two values have every run under all settings."
    apart = sum(f"{a} - {b}" in groups.pairwise.family.rejected for a, b in known)
    return f"{all_pairs(groups)} separates {apart} of {counted(len(known), 'pair')} of values."


def _panel(
    axes: Axes, table: Table, noise: str, lines: Mapping[str, Sweep],
    styles: Mapping[str, RowStyle], words: Sequence[Any] | None,
) -> Ends:  # fmt: skip
    """Draws one setting; ``words`` are the values where they are no numbers to draw lines over."""
    bars: list[tuple[list[float], list[float], list[float], str]] = []
    cell = (noise, table.ratio)
    ends: Ends = {}
    flat: dict[str, float] = {}
    for label in styles.keys() - lines.keys():
        row = table.series.get(label)
        base = any(own_scored(s.method) == label and is_variant(s.method) for s in lines.values())
        if row is not None and (row.kind == "full" or base):
            values = filled(table.series, label, cell)
            if values:
                flat[label] = mean_interval(values).mean
    for label, height in sorted(flat.items()):
        line = (0, (4, 2)) if table.series[label].kind == "full" else ":"
        axes.axhline(height, color=styles[label].text, ls=line, lw=1.2, label=label)
    for number, (name, sweep) in enumerate(lines.items()):
        look = styles[name]
        aside = 0.0 if words is None else 0.12 * (number - (len(lines) - 1) / 2)
        x, mean, half = [], [], []
        for value, label in sweep.rows:
            values = filled(table.series, label, cell)
            if values is not None:
                interval = mean_interval(values)
                x.append(value if words is None else words.index(value) + aside)
                mean.append(interval.mean)
                half.append(interval.half_width)
        axes.plot(x, mean, color=look.colour, label=name, ls=look.line if words is None else "",
                  **look.points)  # fmt: skip
        if x:
            ends[name] = max(zip(x, mean, strict=True))
        if half and all(h is not None for h in half):
            bars.append((x, mean, [h or 0.0 for h in half], look.colour))
    if words is not None:
        turned = max(len(str(v)) for v in words) * len(words) > 24
        axes.set_xlim(-0.5, len(words) - 0.5)
        axes.set_xticks(range(len(words)), [str(v) for v in words], rotation=30 * turned,
                        ha="right" if turned else "center", rotation_mode="anchor")  # fmt: skip
    else:
        numbers = sorted({v for sweep in lines.values() for v, _ in sweep.rows})
        if numbers[0] > 0 and numbers[-1] / numbers[0] >= 30:
            axes.set_xscale("log")
            plain_numbers(axes.xaxis)
        if len(numbers) <= 12:
            axes.set_xticks(numbers, [f"{v:g}" for v in numbers])
    means = [y for line in axes.lines for y in np.ravel(line.get_ydata()).tolist()]
    if means:  # wide intervals run out of the panel rather than flatten the lines
        pad = max(0.25 * (max(means) - min(means)), 0.5)
        axes.set_ylim(min(means) - pad, min(100.0, max(means) + pad) + 0.1)
    for x, mean, width, colour in bars:
        low, high = ([m + sign * w for m, w in zip(mean, width, strict=True)] for sign in (-1, 1))
        whiskers(axes, x, low, high, colour)
    axes.grid(axis="y")
    right = max([axes.get_xlim()[1], *(x for x, _ in ends.values())])
    return ends | {label: (right, height) for label, height in flat.items()}
