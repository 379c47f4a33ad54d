"""Accuracy against the share of training saved, one panel per noise setting."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.answers import sentence
from prunebench.leaderboard.figures.line_names import (
    edge_lines,
    fit_panel,
    panel_floor,
    room_for,
    side_names,
    whiskers,
)
from prunebench.leaderboard.figures.material import Material, filled, lacking
from prunebench.leaderboard.figures.row_styles import RowStyle, row_styles
from prunebench.leaderboard.figures.style import (
    Drawn,
    Omitted,
    column_titles,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.findings.rows import no_loss
from prunebench.leaderboard.highlight import Highlight, highlight
from prunebench.leaderboard.render.row_text import span
from prunebench.leaderboard.stats import MeanInterval, mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = dict[float, MeanInterval]
#: Panels of a figure, in two lines from four on.
MOST = 6
#: Share of the distance of two ratios over which the rows of a panel are spread.
SPREAD = 0.24


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set with two ratios or more; several for more than six settings."""
    for summary, _ in material.groups():
        stem = f"accuracy-by-ratio-{slug(summary.dataset)}"
        if len(summary.ratios) < 2:
            yield Omitted(stem, f"one ratio only ({summary.ratios[0]:g})")
            continue
        found = highlight(summary)
        answer = sentence(material, summary, no_loss)
        for number, noises in enumerate(parts(summary.noises)):
            name = f"{stem}-{number + 1}" if number else stem
            yield _figure(name, replace(summary, noises=noises), found, material.words, answer)


def parts(noises: Sequence[str]) -> list[tuple[str, ...]]:
    """Noise settings in as few equal parts as fit one figure."""
    count = -(-len(noises) // MOST)
    size = -(-len(noises) // count)
    return [tuple(noises[i : i + size]) for i in range(0, len(noises), size)]


def columns_for(panels: int) -> int:
    """Panels side by side: up to three, and no hole in a last line where it can be."""
    return panels if panels <= 3 else -(-panels // 2)


def curves(summary: Summary, noise: str) -> dict[str, Curve]:
    """Mean and interval by row and ratio, cells with missing seeds left out."""
    found: dict[str, Curve] = {}
    for label in summary.series:
        for ratio in summary.ratios:
            values = filled(summary.series, label, (noise, ratio))
            if values is not None:
                found.setdefault(label, {})[ratio] = mean_interval(values)
    return found


def _figure(stem: str, summary: Summary, found: Highlight, words: str, answer: str) -> Drawn:
    columns = columns_for(len(summary.noises))
    lines = -(-len(summary.noises) // columns)
    figure = new(0.9 + 2.5 * lines)
    grid = figure.subplots(lines, columns, sharex=True, squeeze=False)
    styles = row_styles(found, summary.series)
    all_curves = {noise: curves(summary, noise) for noise in summary.noises}
    seeds = {m.n for own in all_curves.values() for curve in own.values() for m in curve.values()}
    panels = dict(zip(summary.noises, grid.flat, strict=False))
    ends = [grid.flat[min(len(panels), columns * (line + 1)) - 1] for line in range(lines)]
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for place, (noise, axes) in enumerate(panels.items()):
        _panel(axes, all_curves[noise], found, styles, named=axes in ends)
        axes.set_xticks(list(summary.ratios), [f"{ratio:g}" for ratio in summary.ratios])
        if place % columns == 0:
            axes.set_ylabel(f"{words}, %")
        if place >= len(panels) - columns:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("share of training saved")
    for line in range(lines):
        own = summary.noises[line * columns : (line + 1) * columns]
        column_titles(list(grid[line])[: len(own)], own)
    gone = lacking(summary.series, [(n, r) for n in summary.noises for r in summary.ratios])
    others = len(summary.series) - len(found.rows)
    caption = (
        f"Final-epoch test {words}, mean over n = {span(min(seeds), max(seeds))} seeds; thin "
        "upright bars: 95 % t intervals over seeds (none below three); rows stand side by side at "
        "each ratio. Names stand beside the last panel of each line. Dashed black: full training, "
        "with its interval as a band. Hollow markers: a method that also runs with another score, "
        "in the same hue. Scales differ between panels; numbers with ▾ lie below the panel."
        + (f" Pale lines: {others} other row{'s' * (others > 1)}." if others else "")
        + (f" Left out for missing seeds: {gone} (row, cell) points." if gone else "")
    )
    title = f"{summary.dataset}: how much {words} is left as more training is saved?"
    drawn = finish(figure, stem, title, caption, room_for(found.rows), answer)
    for noise, axes in panels.items():
        if axes in ends:
            shown = [x for x in found.rows if x in all_curves[noise]]
            last = {x: max(all_curves[noise][x].items()) for x in shown}
            side_names(axes, {x: (r, m.mean) for x, (r, m) in last.items()}, styles)
    return drawn


def _panel(
    axes: Axes, found: Mapping[str, Curve], chosen: Highlight, styles: Mapping[str, RowStyle],
    named: bool,
) -> None:  # fmt: skip
    for label, curve in sorted(found.items()):
        if label not in chosen:
            axes.plot(list(curve), [m.mean for m in curve.values()], color=styles[label].colour,
                      lw=0.7, zorder=1)  # fmt: skip
    full = [x for x, role in chosen.roles.items() if role == "full"]
    own = [x for x in sorted(chosen.rows) if found.get(x) and x not in full]
    ratios = sorted({r for curve in found.values() for r in curve})
    gap = min((b - a for a, b in itertools.pairwise(ratios)), default=0.1)
    for label in (*full, *own):
        curve = found.get(label, {})
        if not curve:
            continue
        place = own.index(label) - (len(own) - 1) / 2 if label in own else 0.0
        look, x = styles[label], [r + SPREAD * gap * place / max(1, len(own)) for r in curve]
        mean = [m.mean for m in curve.values()]
        half = [m.half_width for m in curve.values()]
        points = {} if label in full else look.points
        axes.plot(x, mean, color=look.colour, ls=look.line, label=label, zorder=3, **points)
        if all(h is not None for h in half):
            low = [m - (h or 0.0) for m, h in zip(mean, half, strict=True)]
            high = [m + (h or 0.0) for m, h in zip(mean, half, strict=True)]
            if label in full:
                axes.fill_between(x, low, high, color=look.colour, alpha=0.08, lw=0, zorder=1)
            else:
                whiskers(axes, x, low, high, look.colour)
    axes.grid(axis="y")
    axes.margins(x=0.08)
    means = {x: {r: m.mean for r, m in found[x].items()} for x in own}
    values = [v for curve in means.values() for v in curve.values()]
    values += [m.mean for x in full for m in found.get(x, {}).values()]
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
