"""What a module adds to each method: one line per pair, a panel for all settings and for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.accuracy_by_ratio import columns_for
from prunebench.leaderboard.figures.answers import sentence
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.row_styles import RowStyle, row_styles
from prunebench.leaderboard.figures.style import (
    GREY,
    WIDTH,
    Drawn,
    Omitted,
    column_titles,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.findings.effects import modules
from prunebench.leaderboard.findings.phrases import averaged
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.inference.compare import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Settings beside the panel of all of them.
MOST = 7
ALL = "all settings"

#: Mean and the ends of its interval, where there is one.
Effect = tuple[float, float | None, float | None]


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set with a base method and its variant, or a planned pair."""
    for summary, _ in material.groups():
        stem = f"pairs-{slug(summary.dataset)}"
        if summary.modules is None:
            yield Omitted(stem, "no base method with its +align variant, and no planned pair")
        else:
            pairs = [m.comparison for m in summary.modules.pairs]
            yield _figure(stem, summary, pairs, material)


def effects(summary: Summary, pair: Comparison) -> dict[str, Effect]:
    """Mean difference of a pair over all settings, and in each."""
    found: dict[str, Effect] = {
        ALL: (pair.pooled.mean, pair.pooled.low, pair.pooled.high),
    }
    own = [(summary.series[pair.a], summary.series[pair.b])]
    for noise in summary.noises if len(summary.noises) > 1 else ():
        ground = averaged(own, noise, lambda cell, noise=noise: cell[0] == noise)  # type: ignore[misc]
        if ground is not None and ground.mean is not None:
            found[noise] = (ground.mean, ground.low, ground.high)
    return found


def _figure(stem: str, summary: Summary, pairs: Sequence[Comparison], material: Material) -> Drawn:
    found = {f"{pair.a} - {pair.b}": effects(summary, pair) for pair in pairs}
    settings = [n for n in summary.noises if any(n in own for own in found.values())][:MOST]
    chosen = highlight(summary)
    looks = row_styles(chosen, summary.series)
    styles = {f"{pair.a} - {pair.b}": looks[pair.a] for pair in pairs}
    names = (ALL, *settings)
    columns = columns_for(len(names))
    lines = -(-len(names) // columns)
    width = min(WIDTH, 1.2 + 0.06 * max(map(len, found)) + 2.0 * columns)
    figure = new(0.9 + lines * (0.6 + 0.24 * max(3, len(pairs))), width)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in list(grid.flat)[len(names) :]:
        axes.set_axis_off()
    for place, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
        _panel(axes, {pair: own.get(name) for pair, own in found.items()}, styles)
        if place >= len(names) - columns:
            axes.set_xlabel("points")
    for line in range(lines):
        own_names = names[line * columns : (line + 1) * columns]
        column_titles(list(grid[line])[: len(own_names)], own_names)
        grid[line, 0].set_yticks(range(len(found)), list(found))
        for tick, pair in zip(grid[line, 0].get_yticklabels(), found, strict=True):
            tick.set(**styles[pair].name)
    grid[0, 0].set_ylim(len(found) - 0.4, -0.6)
    family = summary.modules.family if summary.modules else None
    caption = (
        f"Mean difference of test {material.words} between runs with the same labels, split, "
        "weights and order, with and without; thin bars: 95 % intervals for new seeds, not "
        "corrected. Right of the line the module helps."
        + (f" Tests: paired sign-flip over all settings, Holm over {family.size} pairs."
           if family else "")
        + (" Bold: pairs that other figures highlight." if any(s.shown for s in styles.values())
           else "")
        + (f" The first {MOST} of {len(summary.noises)} settings stand alone."
           if len(summary.noises) > MOST else "")
    )  # fmt: skip
    title = f"{summary.dataset}: what does a module add{material.about}?"
    return finish(figure, stem, title, caption, answer=sentence(material, summary, modules))


def _panel(axes: Axes, found: Mapping[str, Effect | None], styles: Mapping[str, RowStyle]) -> None:
    axes.axvline(0, color=GREY, lw=0.8, ls=(0, (4, 2)), zorder=1)
    for place, (pair, effect) in enumerate(found.items()):
        if effect is None:
            continue
        mean, low, high = effect
        look = styles[pair]
        colour = look.colour if look.shown else GREY
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=colour, lw=1.0, zorder=2)
        axes.plot([mean], [place], ls="", marker=look.marker, color=colour, ms=5, zorder=3,
                  label=pair)  # fmt: skip
    axes.margins(x=0.08)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=4)
