"""Heat map of paired differences to the reference row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from prunebench.leaderboard.board.model import Summary, Table
from prunebench.leaderboard.figures.answers import marked
from prunebench.leaderboard.figures.material import Material, kinds_of
from prunebench.leaderboard.figures.style import (
    GREY,
    INK,
    WIDTH,
    Drawn,
    Omitted,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.inference.series import Cell, differences
from prunebench.leaderboard.render.row_text import number, span

_ORDER = ("control", "method", "oracle")


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set."""
    reference = material.board.protocol.reference
    for summary, tables in material.groups():
        stem = f"differences-{slug(summary.dataset)}"
        if reference not in summary.series:
            yield Omitted(stem, f"no row {reference!r} to take differences to")
        elif len(summary.series) < 2:
            yield Omitted(stem, "one row only")
        else:
            yield _figure(stem, summary, tables, reference, material)


def grid_of(
    summary: Summary, tables: Sequence[Table], reference: str
) -> tuple[list[str], list[Cell], NDArray[np.float64], list[int]]:
    """Rows, cells, mean paired differences [rows, cells] (NaN = none) and their seeds.

    Rows are controls, methods and oracles, each by mean difference, incomplete ones after the
    others.
    """
    cells = [(noise, ratio) for noise in summary.noises for ratio in summary.ratios]
    kinds = kinds_of(tables)
    found: dict[str, list[float]] = {}
    seeds: list[int] = []
    for label, series in summary.series.items():
        if label == reference:
            continue
        d = differences(series, summary.series[reference])
        found[label] = [math.fsum(d[c].values()) / len(d[c]) if c in d else math.nan for c in cells]
        seeds += [len(by_seed) for by_seed in d.values()]

    def place(label: str) -> tuple[int, bool, float, str]:
        kind = kinds[label] if kinds[label] in ("full", *_ORDER) else "method"
        known = [value for value in found[label] if not math.isnan(value)]
        mean = math.fsum(known) / len(known) if known else -math.inf
        return ("full", *_ORDER).index(kind), label in summary.incomplete, -mean, label

    labels = sorted(found, key=place)
    return labels, cells, np.array([found[label] for label in labels]), seeds


def _figure(
    stem: str, summary: Summary, tables: Sequence[Table], reference: str, material: Material
) -> Drawn:
    from matplotlib.colors import Normalize

    labels, cells, values, seeds = grid_of(summary, tables, reference)
    known = np.abs(values[np.isfinite(values)])
    limit = max(0.5, float(np.quantile(known, 0.9))) if known.size else 1.0
    width = min(WIDTH, max(5.5, 3.0 + len(cells)))  # a few cells do not fill the page
    longest = max(map(len, summary.noises))
    room = (width - 2.4) / len(summary.noises)  # inches for one noise setting
    turned = 0.07 * longest > room
    high = 0.2 * max(4, len(labels))  # few rows: room for axis, colour bar and caption
    figure = new(1.35 + high + turned * 0.05 * longest, width)
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(values), cmap="RdBu", norm=Normalize(-limit, limit),
                        aspect="auto", interpolation="nearest")  # fmt: skip
    axes.set_facecolor("#F2F2F2")
    size = 7.5 if len(cells) <= 12 else 6.5 if len(cells) <= 18 else 5.5
    marks = {table.ratio: table.tests.marks for table in tables}
    for i, label in enumerate(labels):
        for j, (noise, ratio) in enumerate(cells):
            value = values[i, j]
            text = "-"
            if not math.isnan(value):
                found = marks.get(ratio)
                mark = found.mark(label, noise) if found and (label, noise) in found.cells else ""
                text = number(float(value), 1, signed=True) + mark
            dark = not math.isnan(value) and abs(value) > 0.62 * limit
            axes.text(j, i, text, ha="center", va="center", fontsize=size,
                      color="white" if dark else INK)  # fmt: skip
    axes.set_yticks(range(len(labels)), labels)
    chosen = highlight(summary)
    for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if label in chosen else "normal")
        tick.set_color(GREY if label in summary.incomplete else INK)
    axes.set_xticks(range(len(cells)), [f"{ratio:g}" for _, ratio in cells])
    axes.tick_params(length=0, top=False)
    axes.set_xlabel("ratio")
    step = len(summary.ratios)
    for k, noise in enumerate(summary.noises):
        axes.text(k * step + (step - 1) / 2, -0.62, noise, va="bottom", fontsize=8.5,
                  ha="left" if turned else "center", rotation=45 * turned,
                  rotation_mode="anchor" if turned else "default")  # fmt: skip
        if k:
            axes.axvline(k * step - 0.5, color="white", lw=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    extend = "both" if known.size and known.max() > limit else "neither"
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.025, extend=extend,
                          aspect=min(30, 8 * len(labels)))  # fmt: skip
    unit = f"points against {reference}"
    bar.set_label(unit if 0.06 * len(unit) < high + 0.5 else "points")  # the title names it too
    bar.outline.set_visible(False)
    caption = (
        f"Mean difference of test {material.words} to {reference}, paired by seed (n = "
        f"{span(min(seeds), max(seeds)) if seeds else 0}), in points. Blue is better, red is "
        "worse; colours end at the 90 % quantile of the sizes. * better, † worse at the "
        "exploratory level of the tables (Benjamini-Hochberg per table). - no common seed. "
        "Controls first, then methods by mean difference, oracles last; bold: rows that other "
        "figures highlight."
        + (" Grey names: rows with missing runs." if summary.incomplete else "")
    )
    title = f"{summary.dataset}: where does a row differ from {reference}{material.about}?"
    return finish(figure, stem, title, caption, answer=marked(tables, reference))
