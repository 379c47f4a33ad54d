"""Figures of the report: four of its own, and those of the board that answer its questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError
from prunebench.leaderboard.figures.all_figures import FIGURES
from prunebench.leaderboard.figures.epoch_curves import curve, tables_of
from prunebench.leaderboard.figures.fonts import fit_fonts
from prunebench.leaderboard.figures.line_names import room_for, side_names
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.row_styles import row_styles
from prunebench.leaderboard.figures.style import (
    GREY,
    HUES,
    INK,
    Drawn,
    column_titles,
    finish,
    new,
    picture,
    slug,
    width_for,
)
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.report.hard_wrong import GROUPS, HardAndWrong, Trained
from prunebench.leaderboard.report.kept_noise import Kept
from prunebench.leaderboard.report.model import Estimate, Picture
from prunebench.leaderboard.report.reference_effects import Variant, pooled
from prunebench.leaderboard.report.trajectories import FITTED
from prunebench.leaderboard.stats import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Epochs, mean and half-width of the interval [n].
Curve = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
#: Figures of one kind on the page, and panels side by side.
MOST, PANELS = 2, 4
#: Rows of a figure.
ROWS = 24
MARKERS = ("o", "s", "^", "D", "v", "P")


def of_board(material: Material, name: str) -> tuple[Picture, ...]:
    """Figures of the board by name, the last ones: those of the largest ratios."""
    drawn = _undamaged(one for one in FIGURES[name](material) if isinstance(one, Drawn))
    return tuple(_picture(one) for one in drawn[-MOST:])


def made(found: Iterable[Drawn]) -> tuple[Picture, ...]:
    """Rendered figures, a few of them; to be called inside ``figure_settings``."""
    return tuple(_picture(one) for one in _undamaged(islice(found, MOST)))


def _undamaged(found: Iterable[Drawn]) -> list[Drawn]:
    """Figures up to the first that needs a damaged artifact, which the sections name."""
    drawn: list[Drawn] = []
    with suppress(InputError):
        drawn.extend(found)
    return drawn


def _picture(drawn: Drawn) -> Picture:
    fit_fonts(drawn.figure)
    return Picture(drawn.stem, drawn.title, drawn.caption, picture(drawn, "svg"))


def kept_noise(found: Sequence[Kept]) -> Iterator[Drawn]:
    """A panel for each setting: shares of wrong labels by row, a mark for each ratio."""
    for dataset in dict.fromkeys(one.table.dataset for one in found):
        here = [one for one in found if one.table.dataset == dataset]
        noises = list(dict.fromkeys(one.noise for one in here))[:PANELS]
        here = [one for one in here if one.noise in noises]
        labels = sorted({one.row.label for one in here},
                        key=lambda label: (_middle(here, label), label))[:ROWS]  # fmt: skip
        ratios = sorted({one.table.ratio for one in here})
        figure = new(1.5 + 0.22 * len(labels), width_for(len(noises)) + 1.0 * (len(noises) < 3))
        grid = figure.subplots(1, len(noises), squeeze=False, sharey=True)[0]
        for axes, noise in zip(grid, noises, strict=True):
            for number, ratio in enumerate(ratios):
                own = {one.row.label: one.rate for one in here
                       if one.noise == noise and one.table.ratio == ratio}  # fmt: skip
                shift = 0.16 * (number - (len(ratios) - 1) / 2)
                _dots(axes, labels, own, HUES[number % len(HUES)],
                      MARKERS[number % len(MARKERS)], f"ratio {ratio:g}", shift)  # fmt: skip
            base = [one.base for one in here if one.noise == noise]
            axes.axvline(sum(base) / len(base), color=INK, ls=(0, (4, 2)), lw=1)
            axes.set_xlabel("wrong labels, %")
            axes.set_xlim(left=0)
        _names(grid[0], labels)
        column_titles(grid, noises)
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=4)
        caption = (
            "Share of wrong labels among the trained samples, mean over seeds with 95 % t "
            "intervals (none below three seeds). Dashed: their share in the training split."
        )
        yield finish(figure, f"noise-kept-{slug(dataset)}",
                     f"{dataset}: how much noise does each method keep?", caption)  # fmt: skip


def hard_and_wrong(found: HardAndWrong) -> Iterator[Drawn]:
    """A panel for each setting: how often each row trains easy, hard and wrong samples."""
    last: dict[str, float] = {}
    for one in found.trained:
        last[one.table.dataset] = max(one.table.ratio, last.get(one.table.dataset, 0.0))
    for dataset, ratio in last.items():
        here = [one for one in found.trained
                if one.table.dataset == dataset and one.table.ratio == ratio]  # fmt: skip
        noises = list(dict.fromkeys(one.noise for one in here))[:PANELS]
        labels = list(dict.fromkeys(one.row.label for one in _by_gap(here)))[:ROWS]
        figure = new(1.5 + 0.24 * len(labels), width_for(len(noises)) + 1.0 * (len(noises) < 3))
        grid = figure.subplots(1, len(noises), squeeze=False, sharey=True)[0]
        for axes, noise in zip(grid, noises, strict=True):
            for number, group in enumerate(GROUPS):
                own = {
                    one.row.label: Estimate.of(mean_interval(list(one.shares[group].values())))
                    for one in here if one.noise == noise
                }  # fmt: skip
                _dots(axes, labels, own, (HUES[0], HUES[2], HUES[1])[number], MARKERS[number],
                      group, 0.16 * (number - 1))  # fmt: skip
            axes.axvline(100, color=GREY, ls=(0, (4, 2)), lw=1)
            axes.set_xlabel("% of the mean")
            axes.set_xlim(left=0)
        _names(grid[0], labels)
        column_titles(grid, noises)
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=3)
        caption = (
            f"Ratio {ratio:g}: how often samples of each group are trained, 100 (dashed) being the "
            "mean of all samples; mean over seeds with 95 % t intervals. Easy and hard samples "
            "have right labels; hard ones have at least one forgetting event in the scoring run."
        )
        title = f"{dataset}: does a method drop wrong samples, or hard ones?"
        yield finish(figure, f"hard-and-wrong-{slug(dataset)}", title, caption)


def reference_set(found: Sequence[Variant]) -> Iterator[Drawn]:
    """Difference of each row with another reference to the usual one."""
    for dataset in dict.fromkeys(one.dataset for one in found):
        own = {f"{one.usual}: {one.use.words}": estimate for one in found
               if one.dataset == dataset and (estimate := pooled(one.d)) is not None}  # fmt: skip
        if not own:
            continue
        labels = list(own)[:ROWS]
        figure = new(1.5 + 0.26 * max(2, len(labels)), 7.8)
        axes = figure.subplots()
        _dots(axes, labels, own, HUES[0], "o", "", 0.0)
        axes.axvline(0, color=INK, ls=(0, (4, 2)), lw=1)
        axes.set_xlabel("difference to the largest clean reference, points of accuracy")
        _names(axes, labels)
        caption = (
            "Paired difference in accuracy over the cells that both rows have, with 95 % t "
            "intervals for new seeds; dashed: no difference."
        )
        yield finish(figure, f"reference-set-{slug(dataset)}",
                     f"{dataset}: how much hangs on the reference set?", caption)  # fmt: skip


def memorised(material: Material) -> Iterator[Drawn]:
    """A panel for each setting of the largest ratio: wrong labels that the network predicts, by
    epoch, of the rows that all pictures of the board highlight."""
    for summary, tables in material.groups():
        table = tables[-1]
        chosen = highlight(summary, table.runs)
        styles = row_styles(chosen, table.runs)
        found: dict[str, dict[str, Curve]] = {}
        for noise in table.noises:
            for label in chosen.rows:
                own = [run for (name, _), run in sorted(table.runs[label].items()) if name == noise]
                line = curve(tables_of(material, own), FITTED[0])
                if line is not None:
                    found.setdefault(noise, {})[label] = line
        noises = list(found)[:PANELS]
        if not noises:
            continue
        figure = new(3.4, width_for(len(noises)) + 1.0 * (len(noises) < 3))
        grid = figure.subplots(1, len(noises), squeeze=False, sharey=True)[0]
        for axes, noise in zip(grid, noises, strict=True):
            for label, (x, mean, half) in found[noise].items():
                look = styles[label]
                axes.plot(x, 100 * mean, color=look.colour, ls=look.line, label=label)
                axes.fill_between(x, 100 * (mean - half), 100 * (mean + half), color=look.colour,
                                  alpha=0.08, lw=0)  # fmt: skip
            axes.set_xlabel("epoch")
            axes.grid(axis="y")
        grid[0].set_ylabel("wrong labels predicted, %")
        column_titles(grid, noises)
        caption = (
            f"Ratio {table.ratio:g}: share of the wrong labels of the training split that the "
            "network predicts at the end of evaluated epochs, mean over seeds with 95 % t bands "
            "(none below three seeds); the value at the end of training is in the table. At most "
            "eight rows, those that all pictures of the board highlight, named at the last panel."
        )
        title = f"{summary.dataset}: how many wrong labels are memorised?"
        stem = f"memorised-labels-{slug(summary.dataset)}"
        drawn = finish(figure, stem, title, caption, right=room_for(chosen.rows))
        ends = {label: (float(x[-1]), 100 * float(mean[-1]))
                for label, (x, mean, _) in found[noises[-1]].items()}  # fmt: skip
        side_names(grid[-1], ends, styles)
        yield drawn


def _dots(
    axes: Axes, labels: Sequence[str], own: Mapping[str, Estimate], colour: str, marker: str,
    name: str, shift: float,
) -> None:  # fmt: skip
    """Marks with thin bars, one for each label that has a number."""
    places = [(place + shift, own[label]) for place, label in enumerate(labels) if label in own]
    for place, one in places:
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [place, place], color=colour, lw=1.1)
    axes.plot([one.mean for _, one in places], [place for place, _ in places], ls="",
              marker=marker, color=colour, ms=4, label=name)  # fmt: skip
    axes.grid(axis="x")


def _names(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _middle(found: Sequence[Kept], label: str) -> float:
    own = [one.rate.mean - one.base for one in found if one.row.label == label]
    return sum(own) / len(own)


def _by_gap(found: Sequence[Trained]) -> list[Trained]:
    gaps: dict[str, list[float]] = {}
    for one in found:
        gaps.setdefault(one.row.label, []).append(float(sum(one.gap.values())) / len(one.gap))
    return sorted(found, key=lambda one: (-sum(gaps[one.row.label]) / len(gaps[one.row.label]),
                                          one.row.label))  # fmt: skip
