"""Static against dynamic pruning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prunebench.leaderboard.figures.looks import darker
from prunebench.leaderboard.figures.material import Material, kinds_of
from prunebench.leaderboard.figures.names import fit_panel
from prunebench.leaderboard.figures.style import GREY, HUES, Drawn, Omitted, finish, new, slug
from prunebench.leaderboard.inference.series import differences
from prunebench.leaderboard.tables import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = {"static": (HUES[0], "s"), "dynamic": (HUES[1], "o")}

#: (kind, ratio) -> mean difference to full training by row.
Clouds = dict[tuple[str, float], dict[str, float]]


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set with static and dynamic methods and full training."""
    for summary, tables in material.groups():
        stem = f"static-against-dynamic-{slug(summary.dataset)}"
        kinds = kinds_of(tables)
        full = next((x for x, kind in kinds.items() if kind == "full"), None)
        present = [kind for kind in KINDS if kind in kinds.values()]
        if len(present) < 2:
            yield Omitted(stem, f"no {' or '.join(sorted(set(KINDS) - set(present)))} method")
        elif full is None:
            yield Omitted(stem, "no full training to take differences to")
        else:
            found = {noise: clouds(summary, noise, kinds, full) for noise in summary.noises}
            yield _figure(stem, summary, found)


def clouds(summary: Summary, noise: str, kinds: dict[str, str], full: str) -> Clouds:
    """Mean paired differences to full training of every static and dynamic row."""
    found: Clouds = {}
    for label, series in summary.series.items():
        if kinds[label] not in KINDS:
            continue
        for (name, ratio), d in differences(series, summary.series[full]).items():
            if name == noise:
                mean = math.fsum(d.values()) / len(d)
                found.setdefault((kinds[label], ratio), {})[label] = mean
    return found


def _figure(stem: str, summary: Summary, found: dict[str, Clouds]) -> Drawn:
    columns = min(3, len(summary.noises))
    lines = -(-len(summary.noises) // columns)
    figure = new(1.0 + 2.5 * lines)
    grid = figure.subplots(lines, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(summary.noises):
            axes.set_visible(False)
            continue
        noise = summary.noises[place]
        _panel(axes, found[noise], summary.ratios)
        axes.set_title(noise)
        if place % columns == 0:
            axes.set_ylabel("points against full training")
        if place >= len(summary.noises) - columns:
            axes.set_xlabel("share of training saved")
    sizes = {kind: len({x for c in found.values() for (k, _), rows in c.items() if k == kind
                        for x in rows}) for kind in KINDS}  # fmt: skip
    caption = (
        f"One mark per method: mean difference of test accuracy to full training, paired by seed. "
        f"Blue squares: {sizes['static']} static methods, which choose once; orange circles: "
        f"{sizes['dynamic']} dynamic methods, batch-level ones with them, which choose again and "
        "again; hollow: random choice of either kind. Bars: medians of the kind; the best "
        "of each is named. Numbers with ▾ lie below the panel; scales differ. No test."
    )
    return finish(figure, stem, f"{summary.dataset}: static against dynamic pruning", caption)


def _panel(axes: Axes, found: Clouds, ratios: Sequence[float]) -> None:
    values = [v for rows in found.values() for v in rows.values()]
    if not values:
        return
    low = fit_panel(axes, [*values, 0.0])
    edge, top = axes.get_ylim()
    axes.set_ylim(edge, top + 0.1 * (top - edge))
    axes.axhline(0, color=GREY, lw=0.8, ls=(0, (4, 2)))
    for i, ratio in enumerate(ratios):
        for kind, (colour, marker) in KINDS.items():
            rows = found.get((kind, ratio), {})
            if not rows:
                continue
            centre = i + (-0.2 if kind == "static" else 0.2)
            order = sorted(rows, key=lambda label: (rows[label], label))
            for n, label in enumerate(order):
                x = centre + 0.05 * (n % 3 - 1)
                hollow = label.startswith("random")
                if rows[label] >= low - 1e-9:
                    face = "white" if hollow else colour
                    axes.plot([x], [rows[label]], marker=marker, ms=4.5, ls="", color=colour,
                              alpha=0.85, markerfacecolor=face)  # fmt: skip
            below = [label for label in order if rows[label] < low - 1e-9]
            for n, label in enumerate(below):
                axes.annotate(
                    f"{label} {rows[label]:+.1f} ▾", (centre, 0), xytext=(0, 2 + 8 * n),
                    xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=6,
                    ha="center", va="bottom", color=darker(colour),
                )  # fmt: skip
            middle = sorted(rows.values())
            median = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
            axes.hlines(max(median, edge), centre - 0.15, centre + 0.15, color=darker(colour), lw=2)
            best = order[-1]
            axes.annotate(best, (centre, rows[best]), xytext=(0, 5), fontsize=6.5, ha="center",
                          textcoords="offset points", color=darker(colour))  # fmt: skip
    axes.set_xlim(-0.5, len(ratios) - 0.5)
    axes.set_xticks(range(len(ratios)), [f"{ratio:g}" for ratio in ratios])
    axes.grid(axis="y")
