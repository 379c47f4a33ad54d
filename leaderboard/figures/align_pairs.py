"""Pairs of runs with and without a module, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.row_styles import MARKERS
from prunebench.leaderboard.figures.style import (
    GREY,
    HUES,
    WIDTH,
    Drawn,
    Omitted,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.render.row_text import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set with a base method and its variant, or a planned pair."""
    for summary, _ in material.groups():
        stem = f"pairs-{slug(summary.dataset)}"
        if summary.modules is None:
            yield Omitted(stem, "no base method with its +align variant, and no planned pair")
        else:
            pairs = [m.comparison for m in summary.modules.pairs]
            yield _figure(stem, summary, pairs, material.about)


def points(a: Series, b: Series, noise: str) -> tuple[list[float], list[float]]:
    """Accuracies of b and a in the (ratio, seed) runs both have under one noise setting."""
    x, y = [], []
    for cell in sorted(a.values.keys() & b.values.keys()):
        for seed in sorted(a.values[cell].keys() & b.values[cell].keys()):
            if cell[0] == noise:
                x.append(b.values[cell][seed])
                y.append(a.values[cell][seed])
    return x, y


def _figure(stem: str, summary: Summary, pairs: Sequence[Comparison], about: str) -> Drawn:
    columns = min(3, len(pairs))
    lines = -(-len(pairs) // columns)
    width = 1.1 + 3.1 * columns + 0.06 * max(map(len, summary.noises))
    figure = new(0.95 + 3.1 * lines, min(WIDTH, width))
    grid = figure.subplots(lines, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place < len(pairs):
            _panel(axes, summary, pairs[place])
        else:
            axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    caption = (
        "One mark per (noise, ratio, seed): the same labels, split, weights and order with and "
        "without. Above the diagonal the variant is better. In the titles: mean difference over "
        "cells with its 95 % interval for these cells and new seeds."
    )
    return finish(figure, stem, f"{summary.dataset}: pairs, seed by seed{about}", caption)


def _panel(axes: Axes, summary: Summary, pair: Comparison) -> None:
    a, b = summary.series[pair.a], summary.series[pair.b]
    for number, noise in enumerate(summary.noises):
        x, y = points(a, b, noise)
        axes.plot(x, y, ls="", marker=MARKERS[number % len(MARKERS)], label=noise,
                  color=HUES[number % len(HUES)], alpha=0.8, ms=5)  # fmt: skip
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color=GREY, lw=0.8, zorder=0)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xlabel(f"{pair.b}, %")
    axes.set_ylabel(f"{pair.a}, %")
    axes.set_title(interval(pair.pooled.mean, pair.pooled.low, pair.pooled.high, 2) + " points")
