"""What pruning does to single classes: kept share of each, and the worst class's accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.figures.answers import NOT_TESTED
from prunebench.leaderboard.figures.material import Material
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
from prunebench.leaderboard.highlight import Highlight, highlight
from prunebench.leaderboard.render.row_text import span
from prunebench.leaderboard.stats import MeanInterval, mean_interval
from prunebench.leaderboard.stats.special import rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More classes than this are shown as sorted shares instead of one column each.
NAMED_CLASSES = 20
#: Marks of rows that are not highlighted.
_PALE = "#B4B4B4"
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
            chosen = highlight(material.summary(table), {label for label, _ in found})
            yield _kept_figure(stem, table, names, found, chosen)


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
    stem: str, table: Table, names: list[str],
    found: dict[tuple[str, str], NDArray[np.float64]], chosen: Highlight,
) -> Drawn:  # fmt: skip
    order = [r.label for r in (*table.rows, *table.incomplete)
             if any(label == r.label for label, _ in found)]  # fmt: skip
    few = len(names) <= NAMED_CLASSES
    columns = min(3, len(table.noises))
    lines = -(-len(table.noises) // columns)
    turned = few and max(map(len, names)) > 3
    names_high = 0.065 * max(map(len, names)) * turned
    figure = new(1.1 + lines * (0.45 + 0.175 * max(4, len(order)) + names_high))
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
        bold_names(axes, order, chosen)
        axes.tick_params(length=0)
        if few:
            axes.set_xticks(range(len(names)), names, rotation=90 * turned, fontsize=7)
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
        "controls and methods; bold: rows that other figures highlight."
        + ("" if few else f" The {len(names)} classes are sorted by share within each row.")
    )
    title = f"{table.dataset}: which classes does pruning drop at ratio {table.ratio:g}?"
    return finish(figure, stem, title, caption, answer=widest(found))


def widest(found: Mapping[tuple[str, str], NDArray[np.float64]]) -> str:
    """The row and setting whose classes are kept most unequally."""
    gap = {place: rounded(float(v.max() - v.min()), 6) for place, v in found.items()}
    label, noise = max(sorted(gap), key=lambda place: gap[place])
    low, high = (float(end(found[label, noise])) for end in (np.min, np.max))
    return (f"{NOT_TESTED} The widest gap between classes is that of {label} under {noise}: "
            f"{low:.0%} of one class and {high:.0%} of another are trained.")  # fmt: skip


def bold_names(axes: Axes, order: Sequence[str], chosen: Highlight) -> None:
    """Names of highlighted rows in bold on an axis of rows."""
    for tick, label in zip(axes.get_yticklabels(), order, strict=True):
        tick.set_fontweight("bold" if label in chosen else "normal")


def _seeds(table: Table) -> tuple[int, int]:
    sizes = [len(by_seed) for s in table.series.values() for by_seed in s.values.values()]
    return min(sizes), max(sizes)


def worst(material: Material) -> Iterator[Drawn | Omitted]:
    """Accuracy of the worst class, one figure per table."""
    for table in material.board.tables:
        stem = f"worst-class-{slug(table.dataset)}-{table.ratio:g}"
        found = worst_classes(table)
        if found:
            chosen = highlight(material.summary(table), table.runs)
            yield _worst_figure(stem, table, found, chosen)
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


def _worst_figure(
    stem: str, table: Table, found: dict[tuple[str, str], MeanInterval], chosen: Highlight
) -> Drawn:
    styles = row_styles(chosen, table.runs)
    order = [row.label for row in (*table.rows, *table.incomplete)]
    columns = min(3, len(table.noises))
    lines = -(-len(table.noises) // columns)
    figure = new(1.1 + lines * (0.45 + 0.175 * max(4, len(order))), width_for(columns))
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
            colour = look.colour if look.shown else _PALE
            if half is not None:
                ends = [max(0.0, item.mean - half), min(100.0, item.mean + half)]
                axes.plot(ends, [y, y], color=colour, lw=1.1, alpha=0.6)
            points = look.points if look.shown else {"marker": "o", "color": colour, "ms": 3.5}
            axes.plot([item.mean], [y], ls="", **points)
        axes.set_title(noise)
        axes.set_yticks(range(len(order)), order)
        if place % columns == 0:
            bold_names(axes, order, chosen)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines["left"].set_color(GREY)
        if place >= len(table.noises) - columns:
            axes.set_xlabel("worst class, %")
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
        "cut at 0 and 100. Dashed: full training. Rows as in the table; "
        "bold: rows that other figures highlight."
        + (f" {lacking} cells without runs." if lacking else "")
    )
    title = f"{table.dataset}: what does pruning do to the worst class at ratio {table.ratio:g}?"
    return finish(figure, stem, title, caption, answer=_below_full(found, full))


def _below_full(found: Mapping[tuple[str, str], MeanInterval], full: str | None) -> str:
    """How many cells lie below full training by both their intervals."""

    def ends(m: MeanInterval) -> tuple[float, float] | None:
        return None if m.half_width is None else (m.mean - m.half_width, m.mean + m.half_width)

    known = {place: own for place, m in found.items() if (own := ends(m)) is not None}
    pairs = [(own, known[full, noise]) for (label, noise), own in known.items()
             if full is not None and label != full and (full, noise) in known]  # fmt: skip
    if not pairs:
        return NOT_TESTED
    below = sum(own[1] < other[0] for own, other in pairs)
    return (f"{NOT_TESTED} In {below} of {len(pairs)} cells the interval of the worst class lies "
            "below that of full training, uncorrected.")  # fmt: skip
