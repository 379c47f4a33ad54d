"""The table "score or sampler?": what explains the differences between the pairs of a grid."""

from __future__ import annotations

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.inference.score_grid import ScoreGrid
from prunebench.leaderboard.render.row_text import number
from prunebench.leaderboard.stats import TwoWay, VarianceShare

#: Columns beside noise and ratio.
PARTS = ("score", "sampler", "score x sampler", "seeds")


def parts_of(found: TwoWay) -> tuple[VarianceShare, ...]:
    """Its parts in the order of ``PARTS``."""
    return found.rows, found.columns, found.interaction, found.noise


def share_text(share: VarianceShare) -> str:
    """Percent, with its range where one seed is left out."""
    text = number(100 * share.value, 1)
    if share.low is None or share.high is None:
        return text
    return f"{text} [{number(100 * share.low, 1)}, {number(100 * share.high, 1)}]"


def shares_of(summary: Summary) -> list[tuple[str, float, TwoWay]]:
    """(noise, ratio, parts) in the order of the tables; none without a grid."""
    grid = summary.score_grid
    return [] if grid is None else [
        (noise, ratio, grid.shares[noise, ratio])
        for noise in summary.noises for ratio in summary.ratios if (noise, ratio) in grid.shares
    ]  # fmt: skip


def share_lines(grid: ScoreGrid) -> list[str]:
    """What the table shows, and what it does not."""
    lines = [
        f"Percent of the variance between the mean accuracies of {len(grid.labels)} pairs that "
        f"each part explains: scores {', '.join(grid.scores)}; samplers "
        f"{', '.join(grid.samplers)}. Parts sum to 100. What the spread over seeds adds to a part "
        "is taken out of it and stands under seeds: a part without effect is 0 on average, and can "
        "be below. In brackets: least and greatest value with one seed left out, which is no "
        "confidence interval",
        "A share holds for these scores and samplers; few pairs far off, such as runs at the level "
        "of chance, can make most of it",
    ]
    if grid.left_out:
        lines.append(f"Not in the grid: {', '.join(grid.left_out)}")
    return lines
