"""Accuracy against the share of training saved, one column per noise setting."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.line_names import (
    edge_lines,
    fit_panel,
    panel_floor,
    room_for,
    side_names,
    whiskers,
)
from prunebench.leaderboard.figures.material import Material, filled, kinds_of, lacking
from prunebench.leaderboard.figures.row_styles import Chunk, RowStyle, chunks, row_styles
from prunebench.leaderboard.figures.style import (
    PALE,
    Drawn,
    Omitted,
    column_titles,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.render.row_text import span
from prunebench.leaderboard.stats import MeanInterval, mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = dict[float, MeanInterval]
#: Panels side by side.
MOST = 6
#: Share of the distance of two ratios over which the rows of a panel are spread.
SPREAD = 0.24


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set with two ratios or more."""
    for summary, tables in material.groups():
        stem = f"accuracy-by-ratio-{slug(summary.dataset)}"
        if len(summary.ratios) < 2:
            yield Omitted(stem, f"one ratio only ({summary.ratios[0]:g})")
            continue
        for number, noises in enumerate(parts(summary.noises)):
            name = f"{stem}-{number + 1}" if number else stem
            part = replace(summary, noises=noises)
            yield _figure(name, part, kinds_of(tables), material.words)


def parts(noises: Sequence[str]) -> list[tuple[str, ...]]:
    """Noise settings in as few equal parts as fit side by side."""
    count = -(-len(noises) // MOST)
    size = -(-len(noises) // count)
    return [tuple(noises[i : i + size]) for i in range(0, len(noises), size)]


def curves(summary: Summary, noise: str) -> dict[str, Curve]:
    """Mean and interval by row and ratio, cells with missing seeds left out."""
    found: dict[str, Curve] = {}
    for label in summary.series:
        for ratio in summary.ratios:
            values = filled(summary.series, label, (noise, ratio))
            if values is not None:
                found.setdefault(label, {})[ratio] = mean_interval(values)
    return found


def _figure(stem: str, summary: Summary, kinds: dict[str, str], words: str) -> Drawn:
    rows = [chunk for chunk in chunks(kinds) if chunk.labels]
    figure = new(0.9 + 1.75 * len(rows) + 0.3 * (len(rows) == 1))
    grid = figure.subplots(len(rows), len(summary.noises), sharex=True, squeeze=False)
    styles = row_styles(kinds)
    all_curves = {noise: curves(summary, noise) for noise in summary.noises}
    seeds: set[int] = set()
    for column, noise in enumerate(summary.noises):
        found = all_curves[noise]
        seeds |= {m.n for curve in found.values() for m in curve.values()}
        for row, chunk in enumerate(rows):
            axes = grid[row, column]
            _panel(axes, chunk, found, kinds, styles, named=noise == summary.noises[-1])
            if column == 0:
                axes.set_ylabel(f"{chunk.title}\n{words}, %")
    column_titles(grid[0], summary.noises)
    ticks = list(summary.ratios)
    for axes in grid[-1]:
        axes.set_xticks(ticks, [f"{ratio:g}" for ratio in ticks])
    cells = [(noise, ratio) for noise in summary.noises for ratio in summary.ratios]
    for axes in grid[-1] if len(summary.noises) <= 3 else [grid[-1, len(summary.noises) // 2]]:
        axes.set_xlabel("share of training saved")
    gone = lacking(summary.series, cells)
    caption = (
        f"Final-epoch test {words}, mean over n = {span(min(seeds), max(seeds))} seeds; upright "
        "lines are 95 % t intervals over seeds (none below three); rows stand side by side at each "
        "ratio. Dashed black: full training, with its interval as a band. Hollow "
        "markers: a method that also runs with AlignPrune, whose line is solid in the same hue. "
        "Scales differ between panels; pale lines repeat the other rows; numbers with ▾ lie below "
        "the panel." + (f" Left out for missing seeds: {gone} (row, cell) points." if gone else "")
    )
    drawn = finish(figure, stem, f"{summary.dataset}: {words} against ratio", caption,
                   right=room_for([x for chunk in rows for x in chunk.labels]))  # fmt: skip
    last = summary.noises[-1]
    for row, chunk in enumerate(rows):
        shown = [x for x in (*chunk.labels, *_full(kinds)) if x in all_curves[last]]
        ends = {x: max(all_curves[last][x].items()) for x in shown}
        side_names(grid[row, -1], {x: (r, m.mean) for x, (r, m) in ends.items()}, styles)
    return drawn


def _full(kinds: dict[str, str]) -> list[str]:
    return [label for label, kind in kinds.items() if kind == "full"]


def _panel(
    axes: Axes, chunk: Chunk, found: dict[str, Curve], kinds: dict[str, str],
    styles: dict[str, RowStyle], named: bool,
) -> None:  # fmt: skip
    own = set(chunk.labels)
    for label, curve in sorted(found.items()):
        if label not in own and kinds[label] != "full":
            axes.plot(list(curve), [m.mean for m in curve.values()], color=PALE, lw=0.8, zorder=1)
    shown = [label for label in chunk.labels if found.get(label)]
    ratios = sorted({r for curve in found.values() for r in curve})
    gap = min((b - a for a, b in itertools.pairwise(ratios)), default=0.1)
    for label in (*_full(kinds), *shown):
        curve = found.get(label, {})
        if not curve:
            continue
        place = shown.index(label) - (len(shown) - 1) / 2 if label in shown else 0.0
        look, x = styles[label], [r + SPREAD * gap * place / max(1, len(shown)) for r in curve]
        mean = [m.mean for m in curve.values()]
        half = [m.half_width for m in curve.values()]
        points = {} if kinds[label] == "full" else look.points
        axes.plot(x, mean, color=look.colour, ls=look.line, label=label, zorder=3, **points)
        if all(h is not None for h in half):
            low = [m - (h or 0.0) for m, h in zip(mean, half, strict=True)]
            high = [m + (h or 0.0) for m, h in zip(mean, half, strict=True)]
            if kinds[label] == "full":
                axes.fill_between(x, low, high, color=look.colour, alpha=0.08, lw=0, zorder=1)
            else:
                whiskers(axes, x, low, high, look.colour)
    axes.grid(axis="y")
    axes.margins(x=0.08)
    means = {x: {r: m.mean for r, m in found[x].items()} for x in chunk.labels if x in found}
    full = [m.mean for x in _full(kinds) for m in found.get(x, {}).values()]
    values = [v for curve in means.values() for v in curve.values()] + full
    if not values:
        return
    floor = panel_floor(values)
    below = {
        ratio: sorted(
            (curve[ratio], label)
            for label, curve in means.items()
            if curve.get(ratio, floor) < floor and not (named and ratio == max(curve))
        )
        for ratio in ratios
    }
    fit_panel(axes, values, below=max(map(len, below.values())))
    for ratio, found_below in below.items():
        lines = [(f"{value:.1f} ▾", styles[label].text) for value, label in found_below]
        edge_lines(axes, ratio, lines, 6.5)
