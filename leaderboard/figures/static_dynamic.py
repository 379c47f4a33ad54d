"""Static against dynamic pruning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.line_names import (
    before_layout,
    edge_lines,
    fit_panel,
    panel_floor,
)
from prunebench.leaderboard.figures.material import Material, kinds_of
from prunebench.leaderboard.figures.row_styles import darker
from prunebench.leaderboard.figures.style import (
    GREY,
    HUES,
    Drawn,
    Omitted,
    finish,
    new,
    slug,
    width_for,
)
from prunebench.leaderboard.inference.series import differences

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
            yield _figure(stem, summary, found, material)


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


def _figure(stem: str, summary: Summary, found: dict[str, Clouds], material: Material) -> Drawn:
    columns = min(3, len(summary.noises))
    lines = -(-len(summary.noises) // columns)
    figure = new(1.0 + 2.5 * lines, width_for(columns if len(summary.ratios) < 3 else 3))
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
        f"One mark per method: mean difference of test {material.words} to full training, paired "
        "by seed. "
        f"Blue squares: {sizes['static']} static methods, which choose once; orange circles: "
        f"{sizes['dynamic']} dynamic methods, batch-level ones with them, which choose again and "
        "again; hollow: random choice of either kind. Bars: medians of the kind; the best "
        "of each is named above. Numbers with ▾ lie below the panel; scales differ. No test."
    )
    title = f"{summary.dataset}: static against dynamic pruning{material.about}"
    return finish(figure, stem, title, caption)


def _panel(axes: Axes, found: Clouds, ratios: Sequence[float]) -> None:
    values = [v for rows in found.values() for v in rows.values()]
    if not values:
        return
    low = panel_floor([*values, 0.0])
    below = [sorted((v, label, kind) for (kind, ratio), rows in found.items() if ratio == own
                    for label, v in rows.items() if v < low) for own in ratios]  # fmt: skip
    fit_panel(axes, [*values, 0.0], above=len(KINDS), below=max(map(len, below)))
    axes.set_xlim(-0.5, len(ratios) - 0.5)
    bottom, top = axes.get_ylim()
    across = axes.get_position().width * axes.figure.get_figwidth()  # type: ignore[union-attr]
    wide = 6.0 / (across * 72) * len(ratios)
    tall = 6.0 / (before_layout(axes) * 72) * (top - bottom)
    axes.axhline(0, color=GREY, lw=0.8, ls=(0, (4, 2)), zorder=1)
    for i, ratio in enumerate(ratios):
        best = []
        for kind, (colour, marker) in KINDS.items():
            rows = found.get((kind, ratio), {})
            if not rows:
                continue
            centre = i + (-0.2 if kind == "static" else 0.2)
            shown = sorted((v, label) for label, v in rows.items() if v >= low)
            apart = swarm([v / tall for v, _ in shown], 0.18 / wide)
            for (value, label), place in zip(shown, apart, strict=True):
                face = "white" if label.startswith("random") else colour
                axes.plot([centre + place * wide], [value], marker=marker, ms=4.5, ls="",
                          color=colour, alpha=0.85, markerfacecolor=face, zorder=3)  # fmt: skip
            middle = sorted(rows.values())
            median = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
            if median >= low:
                axes.hlines(median, centre - 0.18, centre + 0.18, color=darker(colour), lw=1.6,
                            zorder=2)  # fmt: skip
            best.append((max((v, label) for label, v in rows.items())[1], darker(colour)))
        edge_lines(axes, i, best, 6.5, top=True)
        lines = [(f"{label} {v:+.1f} ▾", darker(KINDS[kind][0])) for v, label, kind in below[i]]
        edge_lines(axes, i, lines, 6)
    axes.set_xticks(range(len(ratios)), [f"{ratio:g}" for ratio in ratios])
    axes.grid(axis="y")


def swarm(heights: Sequence[float], most: float) -> list[float]:
    """Places beside one another for marks that would lie over each other.

    Args:
        heights: In units of a mark, ascending.
        most: Farthest place from the middle, in the same units.

    Returns:
        Distance of each mark from the middle; where there is no room marks share places.
    """
    steps = [0.0]
    while len(steps) / 2 < most:
        steps += [-(len(steps) + 1) / 2, (len(steps) + 1) / 2]
    steps = [step for step in steps if abs(step) <= most]
    found: list[float] = []
    for i, height in enumerate(heights):
        near = [found[j] for j in range(i) if height - heights[j] < 1]
        found.append(min(steps, key=lambda s: (sum(abs(s - n) < 1 for n in near), abs(s), s)))
    return found
