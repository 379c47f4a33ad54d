"""Losses of clean and wrong labels over the epochs, with the AUROC of the score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prunebench.leaderboard.figures.epoch_curves import curve, tables_of
from prunebench.leaderboard.figures.loss_distribution import CLEAN, WRONG
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.stored_losses import (
    Losses,
    StoredLosses,
    few_rows,
    nothing_stored,
    stored,
    told_apart,
)
from prunebench.leaderboard.figures.style import (
    GREY,
    INK,
    Drawn,
    Omitted,
    finish,
    new,
    plain_numbers,
    slug,
)
from prunebench.record import AND

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
FEWEST_EPOCHS = 3


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per (data set, ratio, noise) with losses of three epochs or more."""
    reasons = []
    drawn = False
    for found in stored(material):
        if isinstance(found, str):
            reasons.append(found)
            continue
        rows = {x: item for x, item in found.rows.items()
                if len(item[1].epochs) >= FEWEST_EPOCHS}  # fmt: skip
        if not rows:
            reasons.append(f"{found.noise}: losses of fewer than {FEWEST_EPOCHS} epochs")
            continue
        drawn = True
        few = few_rows(material, StoredLosses(found.table, found.noise, rows))
        yield _figure(material, *few)
    if not drawn:
        yield Omitted("loss-trajectories", nothing_stored(reasons))


def _figure(material: Material, found: StoredLosses, rest: str) -> Drawn:
    table, noise = found.table, found.noise
    stem = (
        f"loss-trajectories-{slug(table.dataset)}-{slug(noise.replace(AND, ' '))}-{table.ratio:g}"
    )
    columns = min(COLUMNS, len(found.rows))
    lines = -(-len(found.rows) // columns)
    figure = new(1.2 + 3.0 * lines)
    grid = figure.subplots(2 * lines, columns, squeeze=False, sharey="row",
                           height_ratios=[1.6, 1.0] * lines)  # fmt: skip
    for place in range(lines * columns):
        line, column = divmod(place, columns)
        upper, lower = grid[2 * line, column], grid[2 * line + 1, column]
        if place >= len(found.rows):
            upper.set_axis_off()
            lower.set_axis_off()
            continue
        label = list(found.rows)[place]
        run, losses = found.rows[label]
        seeds = [r for (n, _), r in sorted(table.runs[label].items()) if n == noise]
        _losses(upper, losses, material.table(run, "epochs.csv"))
        static = run.metric("score_auroc") if run.record.info.get("kind") == "static" else None
        _auroc(lower, tables_of(material, seeds), static)
        upper.set_title(label)
        upper.set_yscale("log")
        for axes in (upper, lower):
            axes.set_xlim(0, losses.epochs[-1] + 1)
        upper.tick_params(labelbottom=False)
        lower.set_ylim(-0.03, 1.03)
        lower.set_xlabel("epoch")
        if column == 0:
            upper.set_ylabel("loss (log)")
            lower.set_ylabel("AUROC")
    _same_scale(list(grid[::2].flat))
    named = {name: handle for axes in grid.flat
             for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}  # fmt: skip
    figure.legend(list(named.values()), list(named), loc="outside upper right", ncols=4)
    chosen = sorted({run.seed for run, _ in found.rows.values()})
    caption = (
        f"Ratio {table.ratio:g}, {noise}. Above: median and middle half of the last training "
        f"losses of samples visited so far, one run each (seed {', '.join(map(str, chosen))}); "
        "pruned samples keep the loss of their last visit. Dash-dotted: mean loss on the clean "
        "reference set, where the run measures it. Below: probability that a wrong label scores "
        "above a right one (below 0.5: wrong labels score lower), mean over all seeds with a 95 % "
        "t interval where there are three; dashed: chance; dotted: the score a static subset was "
        "chosen by. Empty: the method has no score." + rest
    )
    title = f"{table.dataset}: when do wrong labels part from clean ones? {noise}"
    return finish(figure, stem, title, caption, answer=told_apart(found))


def _same_scale(panels: list[Axes]) -> None:
    """One range of losses for all panels, labelled at powers of ten."""
    used = [axes for axes in panels if axes.lines]
    low = min(axes.get_ylim()[0] for axes in used)
    high = max(axes.get_ylim()[1] for axes in used)
    for axes in used:
        axes.set_ylim(low, high)
        plain_numbers(axes.yaxis)


def _losses(axes: Axes, losses: Losses, frame: pd.DataFrame | None) -> None:
    for wrong, colour, line, name in ((False, CLEAN, "-", "clean labels"),
                                      (True, WRONG, (0, (4, 1)), "wrong labels")):  # fmt: skip
        own = losses.loss[:, losses.wrong == wrong]
        known = np.isfinite(own).any(axis=1)
        if not known.any():  # a static subset without a wrong label, say
            continue
        low, middle, high = np.nanquantile(own[known], (0.25, 0.5, 0.75), axis=1)
        x = losses.epochs[known]
        floor = 1e-4
        axes.plot(x, np.maximum(middle, floor), color=colour, ls=line, label=name)
        axes.fill_between(x, np.maximum(low, floor), np.maximum(high, floor), color=colour,
                          alpha=0.16, lw=0)  # fmt: skip
    if frame is not None and "reference_loss" in frame:
        axes.plot(frame["epoch"] + 1, frame["reference_loss"], color=INK, ls="-.", lw=1,
                  label="reference set")  # fmt: skip
    axes.grid(axis="y")


def _auroc(axes: Axes, frames: list[pd.DataFrame], static: float | None) -> None:
    axes.axhline(0.5, color=GREY, ls=(0, (4, 2)), lw=0.8)
    found = curve(frames, "score_auroc")
    if found is not None:
        x, mean, half = found
        axes.plot(x, mean, color=INK, lw=1.3)
        axes.fill_between(x, mean - half, mean + half, color=INK, alpha=0.12, lw=0)
    elif static is not None:
        axes.axhline(static, color=INK, ls=":", lw=1.3)
