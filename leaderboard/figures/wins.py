"""Who beats whom: wins, ties and losses over cells, and the probability of improvement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.answers import separated
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.style import INK, Drawn, Omitted, finish, new, slug
from prunebench.leaderboard.findings.phrases import counted
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.inference.compare import improvement
from prunebench.leaderboard.inference.series import Series, differences
from prunebench.leaderboard.stats import Outcomes, win_tie_loss
from prunebench.leaderboard.stats.exact import mean, numbers


@dataclass(frozen=True)
class Duel:
    """Row a against row b over the cells and seeds both have."""

    outcomes: Outcomes
    improvement: float


def duel(a: Series, b: Series) -> Duel | None:
    """Cells by the sign of the mean paired difference, and P(a run of a beats its pair of b),
    ties half, averaged over cells; None without a common run."""
    found = differences(a, b)
    if not found:
        return None
    means = [mean(numbers(list(d.values()))) for d in found.values()]
    return Duel(win_tie_loss(means), improvement(found.values()))


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set with two complete rows."""
    for summary, _ in material.groups():
        stem = f"wins-{slug(summary.dataset)}"
        ranking = summary.ranking
        if ranking is None or len(ranking.labels) < 2:
            yield Omitted(stem, "fewer than two complete rows")
        else:
            yield _figure(stem, summary, ranking.labels, material)


def _figure(stem: str, summary: Summary, labels: Sequence[str], material: Material) -> Drawn:
    chosen = highlight(summary, labels)
    against = [label for label in labels if label in chosen]
    grid: dict[tuple[int, int], Duel] = {}
    for i, a in enumerate(labels):
        for j, b in enumerate(against):
            found = duel(summary.series[a], summary.series[b]) if a != b else None
            if found is not None:
                grid[i, j] = found
    values = np.full((len(labels), len(against)), np.nan)
    for place, found in grid.items():
        values[place] = found.improvement
    cells = len(summary.series[labels[0]].values)
    longest = max(map(len, against))
    figure = new(1.4 + 0.05 * longest + 0.2 * max(len(labels), 5), 3.4 + 0.75 * len(against))
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(values), cmap="RdBu", vmin=0, vmax=1,
                        aspect="auto", interpolation="nearest")  # fmt: skip
    for (i, j), found in grid.items():
        w = found.outcomes
        dark = abs(found.improvement - 0.5) > 0.32
        axes.text(j, i, f"{w.wins}/{w.ties}/{w.losses}", ha="center", va="center", fontsize=7.5,
                  color="white" if dark else INK)  # fmt: skip
    axes.set_yticks(range(len(labels)), labels)
    for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if label in chosen else "normal")
    axes.set_xticks(range(len(against)), against, rotation=45, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.025, aspect=30)
    bar.set_label("P(row beats column)")
    bar.outline.set_visible(False)
    seeds = sum(len(v) for v in summary.series[labels[0]].values.values())
    caption = (
        f"Rows complete in every table, best mean first, over {counted(cells, 'cell')} and "
        f"{counted(seeds, 'run')} each, "
        "against those that other figures highlight (bold). In each field: cells (noise, ratio) "
        "that the row wins / ties / loses against the column by mean paired difference; as "
        "colour: probability that a run of the row beats the column's run of the same seed, ties "
        "half, averaged over cells."
    )
    title = f"{summary.dataset}: which row beats which{material.about}?"
    groups = summary.ranking.groups if summary.ranking else None
    answer = f"These counts are not tested. {separated(groups)}"
    return finish(figure, stem, title, caption, answer=answer)
