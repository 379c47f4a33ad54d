"""Critical-difference diagrams: mean ranks with bars over what is not separable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.answers import sentence
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.row_styles import RowStyle, row_styles
from prunebench.leaderboard.figures.style import GREY, INK, Drawn, Omitted, finish, new, slug
from prunebench.leaderboard.findings.phrases import joined
from prunebench.leaderboard.findings.rows import lead
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.inference.groups import Groups, rank_groups
from prunebench.leaderboard.inference.series import Series, draws_of, matrix
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.row_text import p_text
from prunebench.leaderboard.stats import compact_letters, nemenyi_cd
from prunebench.leaderboard.stats.ranks import block_ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 0.155  # inches


@dataclass(frozen=True)
class Strip:
    """One row of the diagram.

    Attributes:
        title: Noise setting, or what all of them are called.
        ranks: Mean rank by label, best first.
        blocks: How many blocks they are means over, and what the blocks are.
        bars: Runs of labels that are not separated, where every group is such a run.
        letters: Of each label; empty where bars can show the groups or no pair can be separated.
        note: Why there are neither, else empty.
    """

    title: str
    ranks: dict[str, float]
    blocks: tuple[int, str]
    bars: tuple[tuple[str, ...], ...]
    letters: dict[str, str]
    note: str


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set with two complete rows and two blocks somewhere."""
    for summary, _ in material.groups():
        stem = f"critical-difference-{slug(summary.dataset)}"
        found = strips(summary, material.board.protocol)
        telling = [strip for strip in found if not strip.note]
        if found:
            styles = row_styles(highlight(summary), summary.series)
            shown = [s for s in found if s in telling or s is found[-1]]
            silent = [strip.title for strip in found if strip not in shown]
            yield _figure(stem, summary, shown, material, styles, silent)
        else:
            yield Omitted(stem, "fewer than two complete rows, or two seeds")


def strips(summary: Summary, protocol: ProtocolFile) -> list[Strip]:
    """One strip per noise setting (blocks: seeds, ratios averaged), and one over all of them
    (blocks: noise settings); rows that are complete in every table."""
    ranking = summary.ranking
    if ranking is None or len(ranking.labels) < 2:
        return []
    rows = [summary.series[label] for label in ranking.labels]
    found = []
    for noise in summary.noises:
        own = [Series(row.label, row.kind, {c: v for c, v in row.values.items() if c[0] == noise})
               for row in rows]  # fmt: skip
        table = matrix(own)
        count = int(table.unit.max()) + 1
        if count < 2:
            continue
        blocks = list(zip(*table.unit_means, strict=True))
        groups = rank_groups(own, protocol, f"letters, {summary.dataset}, {noise}")
        ranks = dict(zip(table.labels, block_ranks(blocks).mean(axis=0).tolist(), strict=True))
        found.append(strip_of(noise, ranks, (count, "seeds"), groups))
    if len(summary.noises) > 1 and ranking.mean_ranks:
        blocks_all = (len({draws_of(noise) for noise in summary.noises}), "noise settings")
        found.append(strip_of("all noise settings", dict(ranking.mean_ranks), blocks_all,
                            ranking.groups))  # fmt: skip
    return found


def strip_of(
    title: str, ranks: dict[str, float], blocks: tuple[int, str], groups: Groups | None
) -> Strip:
    """Bars where every group is a run of the ranks, letters elsewhere, a note for neither.

    Args:
        title: Of the strip.
        ranks: Mean rank by label; their order may differ from the groups', which is by accuracy.
        blocks: Number and name of the blocks the ranks are means over.
        groups: Rank groups of the same rows, or None.
    """
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    ordered = {label: ranks[label] for label in order}
    if groups is None or groups.underpowered:
        note = "" if groups is None else (
            f"the test of all pairs needs more runs: smallest p {p_text(groups.smallest_p)} > "
            f"{p_text(groups.needed_p)} with {groups.units} units"
        )  # fmt: skip
        return Strip(title, ordered, blocks, (), {}, note)
    pairs, rejected = groups.pairwise.tests, groups.pairwise.family.rejected
    letters = compact_letters(order, [p for p in pairs if f"{p[0]} - {p[1]}" in rejected])
    if letters.contiguous:
        bars = tuple(group for group in letters.groups if len(group) > 1)
        return Strip(title, ordered, blocks, bars, {}, "")
    return Strip(title, ordered, blocks, (), dict(letters.letters), "")


def _figure(
    stem: str,
    summary: Summary,
    found: Sequence[Strip],
    material: Material,
    styles: Mapping[str, RowStyle],
    silent: Sequence[str],
) -> Drawn:
    levels = [_levels(strip) for strip in found]
    named = [_named(strip, styles, last=strip is found[-1]) for strip in found]
    heights = [len(set(level)) * 0.45 + _most(names, strip) + 3.6 + 1.3 * material.nemenyi
               for strip, level, names in zip(found, levels, named, strict=True)]  # fmt: skip
    figure = new(0.85 + _LINE * math.fsum(heights))
    grid = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    alpha = material.board.protocol.alpha
    nemenyi = alpha if material.nemenyi else None
    for axes, strip, level, names, height in zip(grid, found, levels, named, heights, strict=True):
        _draw_strip(axes, strip, level, names, height, styles, nemenyi)
    family = summary.ranking and summary.ranking.groups
    size, left = family.pairwise.family.size if family else 0, len(summary.incomplete)
    caption = (
        "Mean ranks, 1 is best, of rows complete in every table: per noise setting over seeds "
        "(ratios averaged), at the end over noise settings, where every row is named. A "
        "bar joins rows that are not separable (paired sign-flip over (noise, seed) units on "
        f"accuracies, Holm over {size} "
        f"pairs at {alpha:g}), which is not the same as equal; where groups are no unbroken runs "
        "of ranks, rows share a letter instead."
        + (" Nemenyi's distance is drawn for comparison: it rests on the ranks alone and on who "
           "else is entered." if material.nemenyi else "")
        + (f" This test of all pairs needs more runs under {joined(silent)}: no strip."
           if silent else "")
        + (f" Left out as incomplete: {left} row{'s' * (left > 1)}." if left else "")
    )  # fmt: skip
    title = f"{summary.dataset}: which rows can be told apart{material.about}?"
    return finish(figure, stem, title, caption, answer=sentence(material, summary, lead))


def _named(strip: Strip, styles: Mapping[str, RowStyle], last: bool) -> list[str]:
    """Rows with their names: all in the last strip, highlighted ones in the others."""
    return [label for label in strip.ranks if last or styles[label].shown]


def _most(names: Sequence[str], strip: Strip) -> int:
    """Lines of names on the side that has more of them."""
    left = len(_left(names, strip))
    return max(left, len(names) - left)


def _left(names: Sequence[str], strip: Strip) -> list[str]:
    """Names that stand on the left: those of the better half of the ranks, but half at most."""
    middle = (len(strip.ranks) + 1) / 2
    better = [name for name in names if strip.ranks[name] <= middle]
    half = (len(names) + 1) // 2
    return better[:half] if len(names) == len(strip.ranks) else better


def _levels(strip: Strip) -> list[int]:
    """Line of each bar, so that bars on one line do not touch."""
    ends: list[float] = []
    found = []
    for bar in strip.bars:
        low, high = strip.ranks[bar[0]], strip.ranks[bar[-1]]
        level = next((i for i, end in enumerate(ends) if end < low - 0.3), len(ends))
        if level == len(ends):
            ends.append(high)
        ends[level] = high
        found.append(level)
    return found


def _draw_strip(
    axes: Axes, strip: Strip, levels: list[int], names: Sequence[str], height: float,
    styles: Mapping[str, RowStyle], nemenyi: float | None,
) -> None:  # fmt: skip
    k = len(strip.ranks)
    margin = 0.3 * (k - 1) + 0.3
    axes.set_xlim(1 - margin, k + margin)
    top = 2.7 + 1.3 * (nemenyi is not None)
    axes.set_ylim(top - height, top)
    axes.set_axis_off()
    axes.hlines(0, 1, k, color=INK, lw=0.9)
    step = 1 if k <= 12 else 2
    for rank in range(1, k + 1):
        major = (rank - 1) % step == 0
        axes.vlines(rank, 0, 0.28 if major else 0.15, color=INK, lw=0.7)
        if major:
            axes.text(rank, 0.36, str(rank), ha="center", va="bottom", fontsize=7.5)
    count, what = strip.blocks
    axes.text(1 - margin, top - 0.9, strip.title, fontsize=9, fontweight="bold", va="bottom")
    axes.text(k + margin, top - 0.9, "; ".join(filter(None, (f"{count} {what}", strip.note))),
              fontsize=7.5, color=GREY, ha="right", va="bottom")  # fmt: skip
    for bar, level in zip(strip.bars, levels, strict=True):
        y = -0.42 - 0.45 * level
        axes.hlines(y, strip.ranks[bar[0]] - 0.06, strip.ranks[bar[-1]] + 0.06, color=INK, lw=2.6)
    base = -0.6 - 0.45 * len(set(levels))
    left = _left(names, strip)
    right = names[len(left) :]
    for label, at in strip.ranks.items():
        look = styles[label]
        axes.plot([at], [0], ls="", color=look.colour, ms=3.6 if look.shown else 2.6, marker="o",
                  zorder=4 if look.shown else 3)  # fmt: skip
    for place, label in [*enumerate(left), *enumerate(reversed(right))]:
        y = base - place - 0.3
        at, look, first = strip.ranks[label], styles[label], label in left
        edge = 1 - 0.06 * margin if first else k + 0.06 * margin
        axes.plot([at, at, edge], [0, y, y], color=look.colour, lw=0.9 if look.shown else 0.6,
                  zorder=2 if look.shown else 1)  # fmt: skip
        shared = f" ({strip.letters[label]})" if label in strip.letters else ""
        name = f"{label}{shared}  {at:.1f}" if first else f"{at:.1f}  {label}{shared}"
        axes.text(edge + (-0.05 if first else 0.05), y, name, ha="right" if first else "left",
                  va="center", fontsize=7.5, **look.name)  # fmt: skip
    if nemenyi is not None:
        cd = nemenyi_cd(k, count, nemenyi).cd
        axes.annotate("", (1, 1.8), (1 + cd, 1.8),
                      arrowprops={"arrowstyle": "|-|,widthA=0.25,widthB=0.25", "lw": 0.9,
                                  "shrinkA": 0, "shrinkB": 0})  # fmt: skip
        axes.text(1, 2.05, f"Nemenyi's critical difference {cd:.2f}", fontsize=7.5, va="bottom")
