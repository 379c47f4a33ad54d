"""Static against dynamic pruning: one strip of marks for each kind and ratio."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.accuracy_by_ratio import columns_for, parts
from prunebench.leaderboard.figures.answers import sentence
from prunebench.leaderboard.figures.line_names import panel_floor
from prunebench.leaderboard.figures.material import Material, kinds_of
from prunebench.leaderboard.figures.row_styles import RowStyle, row_styles
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
from prunebench.leaderboard.findings.effects import noise as of_families
from prunebench.leaderboard.highlight import Highlight, highlight
from prunebench.leaderboard.inference.series import differences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Shape by kind.
KINDS = {"static": "s", "dynamic": "o"}
#: Which half of a mark is filled, for further rows of one colour.
HALVES = ("left", "bottom", "right", "top")
#: Inches of a strip, of a mark.
_STRIP, _MARK = 0.4, 0.08
#: Width of a panel in inches by the number of panels side by side, about.
_WIDE = {1: 4.0, 2: 3.3, 3: 2.4}

#: (kind, ratio) -> mean difference to full training by row.
Clouds = dict[tuple[str, float], dict[str, float]]


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set with static and dynamic methods and full training; several for more
    than six settings."""
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
            chosen = highlight(summary)
            for number, noises in enumerate(parts(summary.noises)):
                found = {noise: clouds(summary, noise, kinds, full) for noise in noises}
                name = f"{stem}-{number + 1}" if number else stem
                yield _figure(name, summary, found, chosen, material)


def clouds(summary: Summary, noise: str, kinds: Mapping[str, str], full: str) -> Clouds:
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


def _figure(
    stem: str, summary: Summary, found: Mapping[str, Clouds], chosen: Highlight, material: Material
) -> Drawn:
    from matplotlib.lines import Line2D

    columns = columns_for(len(found))
    lines = -(-len(found) // columns)
    strips = [(kind, ratio) for ratio in summary.ratios for kind in KINDS]
    figure = new(1.2 + lines * (0.55 + _STRIP * len(strips)), width_for(columns))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    styles = row_styles(chosen, summary.series)
    kinds = {x: kind for c in found.values() for (kind, _), rows in c.items() for x in rows}
    shown = [label for label in chosen.rows if label in kinds]
    fills = _fills([(x, kinds[x], styles[x]) for x in shown])
    for axes in list(grid.flat)[len(found) :]:
        axes.set_axis_off()
    for place, (axes, (noise, own)) in enumerate(zip(grid.flat, found.items(), strict=False)):
        _panel(axes, own, strips, styles, fills, _WIDE[columns])
        axes.set_title(noise)
        if place >= len(found) - columns:
            axes.set_xlabel("points against full training")
    axes = grid[0, 0]
    axes.set_yticks(range(len(strips)), [f"{kind}, ratio {ratio:g}" for kind, ratio in strips])
    axes.set_ylim(len(strips) - 0.4, -0.6)
    handles = [Line2D([], [], ls="", ms=5, color=styles[x].colour, marker=KINDS[kinds[x]],
                      **_face(styles[x], fills.get(x))) for x in shown]  # fmt: skip
    grid[0, -1].legend(handles, shown, loc="upper left", bbox_to_anchor=(1.02, 1.0),
                       borderaxespad=0.0)  # fmt: skip
    sizes = {kind: sum(k == kind for k in kinds.values()) for kind in KINDS}
    others = len(kinds) - len(shown)
    caption = (
        f"One mark per row: mean difference of test {material.words} to full training, paired by "
        f"seed. Squares: static methods, which choose once ({sizes['static']}); circles: dynamic "
        f"ones, batch-level methods with them, which choose while they train ({sizes['dynamic']}). "
        f"Upright bars: median of the strip. Numbers with ◂ count marks left of a panel; "
        f"scales differ.{f' Pale: {others} other rows.' if others else ''}"
    )
    title = f"{summary.dataset}: do dynamic rows lose less than static ones{material.about}?"
    said = sentence(material, summary, of_families)
    answer = f"Static against dynamic is not tested as such. {said}".strip()
    return finish(figure, stem, title, caption, answer=answer)


def _fills(rows: Sequence[tuple[str, str, RowStyle]]) -> dict[str, str]:
    """Fill of a mark by label for rows of one kind, colour and look after the first of them.

    Args:
        rows: (label, kind, look) of the rows in colour.
    """
    seen: Counter[tuple[str, str]] = Counter()
    first: set[tuple[str, str, bool]] = set()
    found = {}
    for label, kind, look in rows:
        if (kind, look.colour, look.filled) in first:
            found[label] = HALVES[seen[kind, look.colour] % len(HALVES)]
            seen[kind, look.colour] += 1
        first.add((kind, look.colour, look.filled))
    return found


def _face(look: RowStyle, fill: str | None) -> dict[str, Any]:
    """How a mark is filled: wholly, half, or not at all."""
    if fill is None:
        return {"markerfacecolor": look.colour if look.filled else "white"}
    return {"fillstyle": fill, "markerfacecolor": look.colour, "markerfacecoloralt": "white"}


def _panel(
    axes: Axes, found: Clouds, strips: Sequence[tuple[str, float]], styles: Mapping[str, RowStyle],
    fills: Mapping[str, str], wide: float,
) -> None:  # fmt: skip
    values = [v for rows in found.values() for v in rows.values()]
    axes.tick_params(axis="y", length=0)
    if not values:
        return
    low = panel_floor([*values, 0.0])
    high = max([*values, 0.0])
    room = high - low or 1.0
    left, right = low - 0.14 * room, high + 0.08 * room
    axes.set_xlim(left, right)
    mark = _MARK / wide * (right - left)
    axes.axvline(0, color=GREY, lw=0.8, ls=(0, (4, 2)), zorder=1)
    for place, strip in enumerate(strips):
        rows = found.get(strip, {})
        if not rows:
            continue
        inside = sorted((v, label) for label, v in rows.items() if v >= low)
        apart = swarm([v / mark for v, _ in inside], 0.4 * _STRIP / _MARK)
        for (value, label), step in zip(inside, apart, strict=True):
            look = styles[label]
            axes.plot([value], [place + step * _MARK / _STRIP], marker=KINDS[strip[0]], ls="",
                      ms=4.8 if look.shown else 3.6, color=look.colour,
                      zorder=4 if look.shown else 2, **_face(look, fills.get(label)))  # fmt: skip
        ordered = sorted(rows.values())
        median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        if median >= low:
            axes.vlines(median, place - 0.42, place + 0.42, color=INK, lw=1.3, zorder=3)
        if len(inside) < len(rows):
            axes.annotate(f"◂{len(rows) - len(inside)}", (0, place), va="center", fontsize=6.5,
                          xycoords=("axes fraction", "data"), xytext=(2, 0), color=GREY,
                          textcoords="offset points")  # fmt: skip
    axes.grid(axis="x")


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
