"""Heat maps of scores by samplers: one panel for each noise setting and ratio."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.style import (
    INK,
    WIDTH,
    Drawn,
    Omitted,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.inference.score_grid import ScoreGrid
from prunebench.leaderboard.inference.series import Cell
from prunebench.leaderboard.render.row_text import number, span
from prunebench.leaderboard.stats.special import rounded
from prunebench.untrusted import spreadsheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches: of one cell, of the names of scores, of everything else at the sides.
_CELL, _NAMES, _SIDES = 0.52, 1.15, 0.9
#: From dark blue over grey to yellow: lighter is better, in print without colours as well.
_COLOURS = "cividis"


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per design whose rows cross scores with samplers; nothing for others."""
    for summary, _ in material.groups():
        grid = summary.score_grid
        if grid is not None:
            stem = f"score-x-sampler-{slug(summary.dataset)}"
            if grid.reference:
                yield _figure(stem, summary, grid, material)
            else:
                yield Omitted(stem, "no row to take differences to")


def values_of(grid: ScoreGrid, cell: Cell) -> NDArray[np.float64]:
    """Mean paired differences [scores, samplers] in one cell; NaN where there is none."""
    found = [[grid.differences[s, m].get(cell, math.nan) for m in grid.samplers]
             for s in grid.scores]  # fmt: skip
    return np.array(found)


def _figure(stem: str, summary: Summary, grid: ScoreGrid, material: Material) -> Drawn:
    from matplotlib.colors import Normalize

    across = max(1, int((WIDTH - _NAMES - _SIDES) / (_CELL * len(grid.samplers))))
    across = min(across, len(summary.noises))
    lines = [(summary.noises[start : start + across], ratio)
             for start in range(0, len(summary.noises), across)
             for ratio in summary.ratios]  # fmt: skip
    cells = [(noise, ratio) for noise in summary.noises for ratio in summary.ratios]
    found = {cell: values_of(grid, cell) for cell in cells}
    known = np.abs(np.concatenate([v[np.isfinite(v)] for v in found.values()]))
    limit = max(0.5, float(np.quantile(known, 0.9))) if known.size else 1.0
    norm = Normalize(-limit, limit)
    width = min(WIDTH, max(5.6, _NAMES + _SIDES + _CELL * across * len(grid.samplers)))
    turned = max(map(len, grid.samplers)) > 8
    high = 0.62 + 0.21 * max(3, len(grid.scores)) + 0.35 * turned
    figure = new(1.2 + high * len(lines), width)
    panels = figure.subplots(len(lines), across, squeeze=False)
    image: Any = None
    for row, (noises, ratio) in zip(panels, lines, strict=True):
        for place, axes in enumerate(row):
            if place >= len(noises):
                axes.set_visible(False)
                continue
            cell = (noises[place], ratio)
            image = _panel(axes, grid, cell, found[cell], norm, named=place == 0)
            axes.set_xticks(range(len(grid.samplers)), grid.samplers, rotation=30 * turned,
                            ha="right" if turned else "center")  # fmt: skip
    extend = "both" if known.size and known.max() > limit else "neither"
    bar = figure.colorbar(image, ax=panels, pad=0.01, fraction=0.025, extend=extend, aspect=30)
    bar.set_label(f"points against {grid.reference}")
    bar.outline.set_visible(False)
    title = f"{summary.dataset}: which score goes with which sampler{material.about}?"
    answer = _answer(grid)
    drawn = finish(figure, stem, title, _caption(summary, grid, material.words), answer=answer)
    return replace(drawn, data=data_of(grid, cells))


def _panel(
    axes: Axes, grid: ScoreGrid, cell: Cell, values: NDArray[np.float64], norm: Any, named: bool
) -> Any:
    image = axes.imshow(np.ma.masked_invalid(values), cmap=_COLOURS, norm=norm, aspect="auto",
                        interpolation="nearest")  # fmt: skip
    axes.set_facecolor("white")
    for i, score in enumerate(grid.scores):
        for j, sampler in enumerate(grid.samplers):
            value = float(values[i, j])
            text = "-" if math.isnan(value) else number(value, 1, signed=True)
            text += grid.mark((score, sampler), cell)
            light = math.isnan(value) or value > 0
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5,
                      color=INK if light else "white")  # fmt: skip
    axes.set_title(f"{cell[0]}, ratio {cell[1]:g}")
    axes.set_yticks(range(len(grid.scores)), grid.scores if named else [])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _answer(grid: ScoreGrid) -> str:
    """How many pairs the exploratory tests find better and worse than the reference row."""
    tests = [(place, ratio) for ratio, marks in grid.marks.items()
             for place, test in marks.cells.items() if test.p is not None]  # fmt: skip
    if not tests:
        return f"No cell could be tested against {grid.reference}."
    signs = [grid.marks[ratio].mark(*place) for place, ratio in tests]
    return (f"Of {len(tests)} tested cells {signs.count('*')} are better and {signs.count('†')} "
            f"worse than {grid.reference} at the exploratory level.")  # fmt: skip


def _caption(summary: Summary, grid: ScoreGrid, words: str) -> str:
    tested = [test for marks in grid.marks.values() for test in marks.cells.values()]
    seeds = [test.seeds for test in tested]
    sizes = sorted({marks.family.size for marks in grid.marks.values()})
    text = (
        f"Mean difference of test {words} to {grid.reference} at the same ratio, paired by seed "
        f"(n = {span(min(seeds), max(seeds)) if seeds else 0}), in points. Scores and samplers by "
        f"mean {words} over all panels, best above and left. Lighter is better; the scale is "
        "one for all panels and ends at the 90 % quantile of the sizes. * better, † worse than "
        f"{grid.reference}: Benjamini-Hochberg per ratio"
        + (f" over m = {' and '.join(map(str, sizes))} cells" if sizes else "")
        + ", exploratory. - no common seed."
    )
    named = [f"{s}@{m} is {label}" for (s, m), label in sorted(grid.labels.items())
             if label not in (f"{s}@{m}", s)]  # fmt: skip
    if named:
        text += f" In the tables {', '.join(named)}; NAME@top is NAME."
    if grid.left_out:
        text += f" Not in the grid: {', '.join(grid.left_out)}."
    return text


def data_of(grid: ScoreGrid, cells: Sequence[Cell]) -> str:
    """The numbers of the panels as CSV."""
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    head = ("noise", "ratio", "score", "sampler", "row", f"points against {grid.reference}", "p",
            "mark")  # fmt: skip
    rows.writerow(head)
    words = {"*": "better", "†": "worse"}
    for noise, ratio in cells:
        marks = grid.marks.get(ratio)
        for score, sampler in product(grid.scores, grid.samplers):
            label = grid.labels[score, sampler]
            value = grid.differences[score, sampler].get((noise, ratio))
            test = marks.cells.get((label, noise)) if marks else None
            rows.writerow([
                *map(spreadsheet, (noise, f"{ratio:g}", score, sampler, label)),
                "" if value is None else f"{rounded(value, 12):.12g}",
                "" if test is None or test.p is None else f"{test.p:.4g}",
                words.get(grid.mark((score, sampler), (noise, ratio)), ""),
            ])  # fmt: skip
    return buffer.getvalue()
