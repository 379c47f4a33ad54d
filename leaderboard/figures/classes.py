"""What pruning does to single classes: kept share of each, and the worst class's accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.figures.material import Material, kinds_of
from prunebench.leaderboard.figures.row_styles import row_styles
from prunebench.leaderboard.figures.style import (
    GREY,
    INK,
    Drawn,
    Omitted,
    finish,
    new,
    slug,
    width_for,
)
from prunebench.leaderboard.render.row_text import span
from prunebench.leaderboard.stats import MeanInterval, mean_interval

#: More classes than this are shown as sorted shares instead of one column each.
NAMED_CLASSES = 20
#: Points of accuracy that an axis of the worst class spans at least.
LEAST_SPAN = 10.0


def kept(material: Material) -> Iterator[Drawn | Omitted]:
    """Kept share by class, one figure per table."""
    for table in material.board.tables:
        stem = f"class-kept-share-{slug(table.dataset)}-{table.ratio:g}"
        if table.ratio == 0:
            yield Omitted(stem, "nothing is pruned at ratio 0")
            continue
        names, found = class_shares(material, table)
        if not found:
            yield Omitted(stem, "classes.csv of no run is at hand")
        else:
            yield _kept_figure(stem, table, names, found)


def class_shares(
    material: Material, table: Table
) -> tuple[list[str], dict[tuple[str, str], NDArray[np.float64]]]:
    """Names of the classes, and mean kept share [C] over seeds by (row, noise); full training
    and what runs at ratio 0 are left out, for they keep everything."""
    names: list[str] = []
    read: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for label, runs in table.runs.items():
        for noise in table.noises:
            frames = []
            for (name, _), run in sorted(runs.items()):
                if name != noise or run.ratio == 0 or run.accuracy is None:
                    continue
                frame = material.table(run, "classes.csv")
                if frame is not None:
                    frames.append(frame)
                    names = [str(n) for n in frame["name"]]
            if frames:
                read[label, noise] = frames
    column = share_column(frame for frames in read.values() for frame in frames)
    return names, {
        place: np.mean([frame[column].to_numpy(np.float64) for frame in frames], axis=0)
        for place, frames in read.items()
    }


def share_column(frames: Iterable[pd.DataFrame]) -> str:
    """The kept share that all files hold: those of the first set of metrics count an epoch that
    the budget cut as a whole one, and no figure holds both."""
    return "kept_per_epoch" if all("kept_per_epoch" in f for f in frames) else "kept_share"


def _kept_figure(
    stem: str, table: Table, names: list[str], found: dict[tuple[str, str], NDArray[np.float64]]
) -> Drawn:
    order = [r.label for r in (*table.rows, *table.incomplete)
             if any(label == r.label for label, _ in found)]  # fmt: skip
    few = len(names) <= NAMED_CLASSES
    columns = min(3, len(table.noises))
    lines = -(-len(table.noises) // columns)
    figure = new(1.1 + lines * (0.45 + 0.165 * len(order)))
    grid = figure.subplots(lines, columns, squeeze=False)
    image = None
    for place, axes in enumerate(grid.flat):
        if place >= len(table.noises):
            axes.set_visible(False)
            continue
        noise = table.noises[place]
        blank = np.full(len(names), np.nan)
        values = np.stack([found.get((label, noise), blank) for label in order])
        if not few:
            values = np.sort(values, axis=1)
        image = axes.imshow(np.ma.masked_invalid(values), cmap="viridis", vmin=0, vmax=1,
                            aspect="auto", interpolation="nearest")  # fmt: skip
        axes.set_facecolor("#F2F2F2")
        axes.set_title(noise)
        axes.set_yticks(range(len(order)), order if place % columns == 0 else [""] * len(order))
        axes.tick_params(length=0)
        if few:
            turn = 90 if max(map(len, names)) > 3 else 0
            axes.set_xticks(range(len(names)), names, rotation=turn, fontsize=7)
        if place >= len(table.noises) - columns:
            axes.set_xlabel("class" if few else "classes, least kept first")
        for spine in axes.spines.values():
            spine.set_visible(False)
    assert image is not None
    bar = figure.colorbar(image, ax=list(grid.flat), pad=0.01, fraction=0.02, aspect=30)
    bar.set_label("kept share")
    bar.outline.set_visible(False)
    caption = (
        f"Share of each (noisily labelled) class that was trained per epoch at ratio "
        f"{table.ratio:g}, averaged over epochs and seeds (n = "
        f"{span(*_seeds(table))}). Dark: hardly kept. Rows as in the table, best first within "
        "controls and methods."
        + ("" if few else f" The {len(names)} classes are sorted by share within each row.")
    )
    title = f"{table.dataset}: kept share by class at ratio {table.ratio:g}"
    return finish(figure, stem, title, caption)


def _seeds(table: Table) -> tuple[int, int]:
    sizes = [len(by_seed) for s in table.series.values() for by_seed in s.values.values()]
    return min(sizes), max(sizes)


def worst(material: Material) -> Iterator[Drawn | Omitted]:
    """Accuracy of the worst class, one figure per table."""
    for table in material.board.tables:
        stem = f"worst-class-{slug(table.dataset)}-{table.ratio:g}"
        found = worst_classes(table)
        if found:
            yield _worst_figure(stem, table, found)
        else:
            yield Omitted(stem, "no record holds worst_class_accuracy")


def worst_classes(table: Table) -> dict[tuple[str, str], MeanInterval]:
    """Accuracy of the worst class in percent over seeds by (row, noise)."""
    found = {}
    for label, runs in table.runs.items():
        for noise in table.noises:
            values = [run.metric("worst_class_accuracy") for (name, _), run in sorted(runs.items())
                      if name == noise and run.accuracy is not None]  # fmt: skip
            known = [100 * v for v in values if v is not None]
            if known:
                found[label, noise] = mean_interval(known)
    return found


def _worst_figure(stem: str, table: Table, found: dict[tuple[str, str], MeanInterval]) -> Drawn:
    styles = row_styles(kinds_of([table]))
    order = [row.label for row in (*table.rows, *table.incomplete)]
    columns = min(3, len(table.noises))
    lines = -(-len(table.noises) // columns)
    figure = new(1.1 + lines * (0.45 + 0.165 * len(order)), width_for(columns))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True, sharex=True)
    full = next((row.label for row in table.rows if row.kind == "full"), None)
    for place, axes in enumerate(grid.flat):
        if place >= len(table.noises):
            axes.set_visible(False)
            continue
        noise = table.noises[place]
        if full is not None and (full, noise) in found:
            axes.axvline(found[full, noise].mean, color=INK, lw=0.8, ls=(0, (4, 2)))
        for y, label in enumerate(order):
            item = found.get((label, noise))
            if item is None:
                continue
            half, look = item.half_width, styles[label]
            if half is not None:
                ends = [max(0.0, item.mean - half), min(100.0, item.mean + half)]
                axes.plot(ends, [y, y], color=look.colour, lw=1.1, alpha=0.6)
            axes.plot([item.mean], [y], ls="", **look.points)
        axes.set_title(noise)
        axes.set_yticks(range(len(order)), order)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines["left"].set_color(GREY)
        if place >= len(table.noises) - columns:
            axes.set_xlabel("accuracy of the worst class, %")
            axes.tick_params(labelbottom=True)
    low, high = grid[0, 0].get_xlim()
    if high - low < LEAST_SPAN:  # equal values are no reason to look at hundredths
        middle = min(max((low + high) / 2, LEAST_SPAN / 2), 100 - LEAST_SPAN / 2)
        grid[0, 0].set_xlim(middle - 0.53 * LEAST_SPAN, middle + 0.53 * LEAST_SPAN)
    sizes = [m.n for m in found.values()]
    lacking = math.prod((len(order), len(table.noises))) - len(found)
    caption = (
        f"Test accuracy of the class that does worst in each run at ratio {table.ratio:g}, mean "
        f"over n = {span(min(sizes), max(sizes))} seeds with 95 % t intervals (none below three), "
        "cut at 0 and 100. Dashed: full training. Rows as in the table."
        + (f" {lacking} cells without runs." if lacking else "")
    )
    title = f"{table.dataset}: worst class at ratio {table.ratio:g}"
    return finish(figure, stem, title, caption)
