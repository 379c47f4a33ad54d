"""Distribution of losses under clean and wrong labels, and where pruning cuts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
    HUES,
    INK,
    Drawn,
    Omitted,
    finish,
    new,
    plain_numbers,
    slug,
)
from prunebench.leaderboard.stats.special import rounded
from prunebench.record import AND

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLEAN, WRONG = HUES[0], HUES[1]
SMALLEST = 1e-3  # smaller losses are drawn here
#: Where in a run the panels lie: early, in the middle, and before annealing ends the pruning.
MOMENTS = (0.1, 0.5, 0.85)
BINS = 32
#: Bins with fewer samples show no share.
FEWEST = 10


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per (data set, ratio, noise) with stored losses."""
    reasons = []
    drawn = False
    for found in stored(material):
        if isinstance(found, str):
            reasons.append(found)
        else:
            drawn = True
            yield _figure(*few_rows(material, found))
    if not drawn:
        yield Omitted("loss-distribution", nothing_stored(reasons))


def moments(losses: Losses) -> list[int]:
    """Rows of up to three epochs, early to late; those whose next epoch is stored, if any."""
    known = [i for i in range(len(losses.epochs)) if losses.trained_next(i) is not None]
    usable = known or list(range(len(losses.epochs)))
    return sorted({usable[round(share * (len(usable) - 1))] for share in MOMENTS})


def trained_share(
    loss: NDArray[np.float64], trained: NDArray[np.bool_], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of the samples of each bin that was trained, NaN for bins with few samples."""
    place = np.clip(np.digitize(loss, edges) - 1, 0, len(edges) - 2)
    known = np.isfinite(loss)
    size = np.bincount(place[known], minlength=len(edges) - 1).astype(float)
    hits = np.bincount(place[known & trained], minlength=len(edges) - 1)
    return np.where(size >= FEWEST, hits / np.maximum(size, 1), np.nan)


def _figure(found: StoredLosses, rest: str) -> Drawn:
    table, noise = found.table, found.noise
    stem = (
        f"loss-distribution-{slug(table.dataset)}-{slug(noise.replace(AND, ' '))}-{table.ratio:g}"
    )
    count = len(found.rows)
    columns = max(len(moments(losses)) for _, losses in found.rows.values())
    figure = new(1.25 + 1.5 * count)
    ratios = [part for n in range(count) for part in ((2.2, 1.0, 0.35)[: 2 + (n < count - 1)])]
    grid = figure.subplots(len(ratios), columns, squeeze=False, height_ratios=ratios, sharex=True)
    top = max(float(np.nanmax(losses.loss)) for _, losses in found.rows.values())
    wide = max(top, 10 * SMALLEST) * 1.02 / SMALLEST
    edges = np.array([SMALLEST * rounded(wide ** (n / BINS)) for n in range(BINS + 1)])
    for gap in grid[2::3].flat:
        gap.set_axis_off()
    for number, (label, (_, losses)) in enumerate(found.rows.items()):
        upper, lower = grid[3 * number], grid[3 * number + 1]
        picked = moments(losses)
        for column in range(columns):
            if column >= len(picked):
                upper[column].set_axis_off()
                lower[column].set_axis_off()
                continue
            _panel(upper[column], lower[column], losses, picked[column], edges)
            upper[column].set_title(f"{label}, epoch {losses.epochs[picked[column]]}", loc="left",
                                    fontsize=8)  # fmt: skip
        upper[0].set_ylabel("share")
        lower[0].set_ylabel("trained\nnext")
    for axes in grid[-1]:
        axes.set_xlabel("loss (log)")
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=3)
    seeds = sorted({run.seed for run, _ in found.rows.values()})
    caption = (
        f"Last training loss of each sample after the epoch named, one run each (seed "
        f"{', '.join(map(str, seeds))}), ratio {table.ratio:g}; {noise}. Clean and wrong labels "
        f"are each scaled to 1; losses below {SMALLEST:g} stand at the left edge. Dotted: mean "
        "loss, below which InfoBatch prunes. Lower strips: share of the samples of each loss that "
        "the next epoch trained, clean and wrong together, which is where the pruner cut "
        f"(bins of {FEWEST} samples or more; nothing where the next epoch was not stored).{rest}"
    )
    title = f"{table.dataset}: do losses tell wrong labels from clean ones? {noise}"
    return finish(figure, stem, title, caption, answer=told_apart(found))


def _panel(upper: Axes, lower: Axes, losses: Losses, row: int, edges: NDArray[np.float64]) -> None:
    loss = losses.loss[row]
    known = np.isfinite(loss)
    drawn = np.maximum(loss, SMALLEST)
    for wrong, colour, line, name in ((False, CLEAN, "-", "clean labels"),
                                      (True, WRONG, (0, (4, 1)), "wrong labels")):  # fmt: skip
        own = drawn[known & (losses.wrong == wrong)]
        heights = np.histogram(own, edges)[0] / max(1, len(own))
        upper.stairs(heights, edges, fill=True, color=colour, alpha=0.25, lw=0)
        upper.stairs(heights, edges, color=colour, ls=line, lw=1.1, label=name)
    mean = math.fsum(loss[known]) / known.sum() if known.any() else np.nan
    for axes in (upper, lower):
        axes.axvline(mean, color=INK, ls=":", lw=1, label="mean loss")
    trained = losses.trained_next(row)
    if trained is not None:
        share = trained_share(drawn, trained, edges)
        lower.stairs(share, edges, color=INK, lw=1.1, baseline=None)
    lower.set_ylim(-0.08, 1.08)
    lower.set_yticks([0, 1])
    lower.grid(axis="y")
    upper.set_xscale("log")
    upper.set_xlim(edges[0], edges[-1])
    upper.set_ylim(bottom=0)
    upper.tick_params(labelbottom=False, axis="x", which="both")
    upper.spines["bottom"].set_color(GREY)
    plain_numbers(lower.xaxis)
