"""How well scores find wrong labels while training goes on, and what that leaves in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.figures.accuracy_by_ratio import parts
from prunebench.leaderboard.figures.answers import NOT_TESTED
from prunebench.leaderboard.figures.epoch_curves import curve, tables_of
from prunebench.leaderboard.figures.line_names import room_for, side_names, whiskers
from prunebench.leaderboard.figures.material import Material, method_kind
from prunebench.leaderboard.figures.row_styles import RowStyle, row_styles
from prunebench.leaderboard.figures.style import (
    GREY,
    Drawn,
    Omitted,
    column_titles,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.highlight import Highlight, highlight
from prunebench.leaderboard.render.row_text import span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = {"score_auroc": "AUROC of the score", "kept_noise_rate": "wrong labels trained",
            "kept_noise_weight": "loss weight on them"}  # fmt: skip
#: Inches of a panel.
PANEL = 2.05
#: Marks on a line, about.
MARKS = 8

#: (row, noise) -> per-epoch tables of its seeds.
Frames = dict[tuple[str, str], list[pd.DataFrame]]


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per table with dynamic methods and noisy settings."""
    for table in material.board.tables:
        stem = f"detection-{slug(table.dataset)}-{table.ratio:g}"
        found = frames(material, table)
        if not found:
            yield Omitted(stem, "no dynamic method with per-epoch tables under a noisy setting")
            continue
        for number, noises in enumerate(
            parts([noise for noise in table.noises if any(n == noise for _, n in found)])
        ):
            own = {place: read for place, read in found.items() if place[1] in noises}
            chosen = highlight(material.summary(table), {label for label, _ in own})
            name = f"{stem}-{number + 1}" if number else stem
            yield _figure(name, table, noises, own, chosen)


def frames(material: Material, table: Table) -> Frames:
    """Per-epoch tables of dynamic rows where a measure has a value in some epoch."""
    found: Frames = {}
    for label, runs in table.runs.items():
        if method_kind(table, label) != "dynamic":
            continue
        for noise in table.noises:
            own = [run for (name, _), run in sorted(runs.items()) if name == noise]
            read = tables_of(material, own)
            if any(curve(read, measure) for measure in MEASURES):
                found[label, noise] = read
    return found


def _figure(
    stem: str, table: Table, noises: Sequence[str], found: Frames, chosen: Highlight
) -> Drawn:
    styles = row_styles(chosen, {label for label, _ in found})
    measures = _measures(found)
    figure = new(1.1 + len(measures) * PANEL)
    grid = figure.subplots(len(measures), len(noises), squeeze=False, sharex="col")
    last: dict[str, dict[str, tuple[float, float]]] = {}
    for column, noise in enumerate(noises):
        own = {label: read for (label, n), read in sorted(found.items()) if n == noise}
        for row, (measure, name) in enumerate(measures.items()):
            last[measure] = _panel(grid[row, column], own, measure, styles)
            if column == 0:
                grid[row, 0].set_ylabel(name)
        grid[0, column].axhline(0.5, color=GREY, ls=(0, (4, 2)), lw=0.8)
        rates = [float(run.record.info["noise_rate"]) for runs in table.runs.values()
                 for (n, _), run in runs.items() if n == noise
                 and "noise_rate" in run.record.info]  # fmt: skip
        for axes in grid[1:, column] if rates else ():
            axes.axhline(math.fsum(rates) / len(rates), color=GREY, ls=(0, (4, 2)), lw=0.8)
        _one_scale(grid[1:, column])
        grid[-1, column].set_xlabel("epoch")
    column_titles(grid[0], noises)
    sizes = [len(read) for read in found.values()]
    others = len({label for label, _ in found} - set(chosen.rows))
    caption = (
        f"Dynamic methods at ratio {table.ratio:g}, mean over n = {span(min(sizes), max(sizes))} "
        "seeds; upright lines at the marks are 95 % t intervals (none below three). Epochs that "
        "all seeds have, without a last one that the budget cut to less than half. Above: "
        "probability that a wrong label scores above a right one (methods without a score have no "
        "line; dashed: chance; below it wrong labels score lower; what the score is differs "
        f"between methods). {_below(measures)}"
        "dashed: share in the training set. Epochs of different methods hold different numbers "
        "of samples." + (f" Pale: {others} other row{'s' * (others > 1)}." if others else "")
    )
    title = f"{table.dataset}: do scores find wrong labels while training at ratio {table.ratio:g}?"
    drawn = finish(figure, stem, title, caption, room_for(chosen.rows), found_at_the_end(found))
    for row, measure in enumerate(measures):
        shown = {label: end for label, end in last[measure].items() if label in chosen}
        side_names(grid[row, -1], shown, styles)
    return drawn


def found_at_the_end(found: Frames) -> str:
    """How many scores tell wrong labels from right ones in their last epoch, by intervals."""
    ends = [(mean[-1], half[-1]) for read in found.values()
            if (curves := curve(read, "score_auroc")) for _, mean, half in [curves]]  # fmt: skip
    known = [(mean, half) for mean, half in ends if not math.isnan(half)]
    if not known:
        return f"{NOT_TESTED} No score has an interval here."
    above = sum(mean - half > 0.5 for mean, half in known)
    below = sum(mean + half < 0.5 for mean, half in known)
    return (f"{NOT_TESTED} In the last epoch the interval of the score's AUROC lies above 0.5 for "
            f"{above} and below it for {below} of {len(known)} (row, setting) pairs, "
            "uncorrected.")  # fmt: skip


def _measures(found: Frames) -> dict[str, str]:
    """The measures with their names; the loss weight only where a file holds it."""
    weighed = any(curve(read, "kept_noise_weight") for read in found.values())
    return {m: name for m, name in MEASURES.items() if weighed or m != "kept_noise_weight"}


def _below(measures: Mapping[str, str]) -> str:
    if "kept_noise_weight" not in measures:
        return "Below: share of wrong labels among the samples an epoch trains; "
    return (
        "Middle: share of wrong labels among the samples an epoch trains. Below: their share of "
        "the weight of its loss, in which a sample with weight 2 counts twice (no line where the "
        "records do not hold it); the scale is the same as above; "
    )


def _one_scale(panels: Iterable[Axes]) -> None:
    """Equal limits, so that shares of samples and of weight can be compared by eye."""
    own = list(panels)
    drawn = [axes.get_ylim() for axes in own if len(axes.lines) > 1]
    for axes in own if drawn else ():
        axes.set_ylim(min(low for low, _ in drawn), max(high for _, high in drawn))


def _panel(
    axes: Axes, own: dict[str, list[pd.DataFrame]], measure: str, styles: dict[str, RowStyle]
) -> dict[str, tuple[float, float]]:
    ends = {}
    curves = {label: found for label, read in own.items() if (found := curve(read, measure))}
    for label in [label for label in curves if not styles[label].shown]:
        x, mean, _ = curves.pop(label)
        axes.plot(x, mean, color=styles[label].colour, lw=0.7, label=label, zorder=1)
    for number, (label, (x, mean, half)) in enumerate(curves.items()):
        look, step = styles[label], max(1, len(x) // MARKS)
        first = number * step // len(curves)  # marks of different lines do not meet
        axes.plot(x, mean, color=look.colour, ls=look.line, label=label, **look.points,
                  markevery=(first, step), ms=3.5)  # fmt: skip
        low, high = (mean - half)[first::step], (mean + half)[first::step]
        whiskers(axes, x[first::step].tolist(), low.tolist(), high.tolist(), look.colour)
        ends[label] = (float(x[-1]), float(mean[-1]))
    if ends:
        means = np.concatenate([line.get_ydata() for line in axes.lines])
        pad = 0.06 * float(np.ptp(means)) + 0.01
        axes.set_ylim(float(means.min()) - pad, float(means.max()) + pad)
    axes.grid(axis="y")
    return ends
