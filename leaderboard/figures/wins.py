"""Who beats whom: wins, ties and losses over cells, and the probability of improvement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.style import INK, Drawn, Omitted, finish, new, slug
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
            yield _figure(stem, summary, ranking.labels, material.about)


def _figure(stem: str, summary: Summary, labels: Sequence[str], about: str) -> Drawn:
    k = len(labels)
    grid: dict[tuple[int, int], Duel] = {}
    for i, a in enumerate(labels):
        for j, b in enumerate(labels):
            found = duel(summary.series[a], summary.series[b]) if i != j else None
            if found is not None:
                grid[i, j] = found
    values = np.full((k, k), np.nan)
    for place, found in grid.items():
        values[place] = found.improvement
    cells = len(summary.series[labels[0]].values)
    figure = new(1.9 + 0.27 * max(k, 5))
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(values), cmap="RdBu", vmin=0, vmax=1,
                        aspect="auto", interpolation="nearest")  # fmt: skip
    size = 7.5 if k <= 12 else 5.8
    for (i, j), found in grid.items():
        w = found.outcomes
        text = f"{w.wins}/{w.ties}/{w.losses}" if j > i else f"{found.improvement:.2f}"
        dark = abs(found.improvement - 0.5) > 0.32
        axes.text(j, i, text, ha="center", va="center", fontsize=size,
                  color="white" if dark else INK)  # fmt: skip
    axes.set_yticks(range(k), labels)
    axes.set_xticks(range(k), labels, rotation=45, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.025, aspect=30)
    bar.set_label("P(row beats column)")
    bar.outline.set_visible(False)
    seeds = sum(len(v) for v in summary.series[labels[0]].values.values())
    caption = (
        f"Rows complete in every table, best mean first, over {cells} cells and {seeds} runs each. "
        "Above the diagonal: cells (noise, ratio) that the row wins / ties / loses against the "
        "column by mean paired difference. Below it, and as colour: probability that a run of the "
        "row beats the column's run of the same seed, ties half, averaged over cells. No test."
    )
    return finish(figure, stem, f"{summary.dataset}: wins, ties, losses{about}", caption)
