"""How many seeds a single cell would need to see a difference of half a point."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.figures.answers import sentence
from prunebench.leaderboard.figures.classes import bold_names
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.row_styles import row_styles
from prunebench.leaderboard.figures.style import (
    GREY,
    INK,
    Drawn,
    Omitted,
    finish,
    new,
    plain_numbers,
    slug,
)
from prunebench.leaderboard.findings.limits import limits
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.inference.compare import POWER
from prunebench.leaderboard.inference.series import Series, differences
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import SeedsNeeded, seeds_needed
from prunebench.leaderboard.stats.exact import numbers, squares

#: Points worth seeing.
EFFECT = 0.5


@dataclass(frozen=True)
class Need:
    """Seeds for one row against the reference.

    Attributes:
        sd: Standard deviation of the paired difference, pooled within cells.
        df: Its degrees of freedom.
        seeds: The answer, with the sd as observed and with the upper end of its interval.
    """

    sd: float
    df: int
    seeds: SeedsNeeded


def need(row: Series, reference: Series, protocol: ProtocolFile) -> Need | None:
    """Pools the sd of paired differences within cells; None below one degree of freedom."""
    total, df = Fraction(0), 0
    for d in differences(row, reference).values():
        total += squares(numbers(list(d.values())))
        df += len(d) - 1
    if df < 1:
        return None
    sd = math.sqrt(total / df)
    return Need(sd, df, seeds_needed(EFFECT, sd, protocol.alpha, POWER, observed=df + 1))


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per data set."""
    protocol = material.board.protocol
    for summary, _ in material.groups():
        stem = f"seeds-needed-{slug(summary.dataset)}"
        reference = summary.series.get(protocol.reference)
        if reference is None:
            yield Omitted(stem, f"no row {protocol.reference!r} to take differences to")
            continue
        found = {label: n for label, row in summary.series.items()
                 if row is not reference and (n := need(row, reference, protocol))}  # fmt: skip
        if found:
            yield _figure(stem, summary, found, material)
        else:
            yield Omitted(stem, "no cell with two common seeds")


def _figure(stem: str, summary: Summary, found: dict[str, Need], material: Material) -> Drawn:
    protocol = material.board.protocol
    chosen = highlight(summary)
    styles = row_styles(chosen, summary.series)
    order = sorted(found, key=lambda label: (found[label].seeds.n or math.inf, found[label].sd,
                                             label))  # fmt: skip
    figure = new(1.3 + 0.19 * max(len(order), 5))
    axes = figure.subplots()
    edge = max([n for x in found.values() for n in (x.seeds.n, x.seeds.n_high) if n] + [10])
    for place, label in enumerate(order):
        item, look = found[label].seeds, styles[label]
        low, high = item.n or edge, item.n_high or edge
        axes.plot([low, high], [place, place], color=look.colour, lw=1.4, alpha=0.55)
        axes.plot([low], [place], ls="", **look.points)
        text = f" {item.n if item.n else '> 100000'}   (sd {found[label].sd:.2f})"
        axes.annotate(text, (high, place), xytext=(5, 0), textcoords="offset points", va="center",
                      fontsize=7, color=INK)  # fmt: skip
    axes.set_yticks(range(len(order)), order)
    bold_names(axes, order, chosen)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(1.7, edge * 3)
    marks = [x for x in (2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000)
             if x <= edge * 1.6]  # fmt: skip
    axes.set_xticks(marks)
    plain_numbers(axes.xaxis)
    axes.grid(axis="x")
    have = {len(v) for row in summary.series.values() for v in row.values.values()}
    axes.axvline(max(have), color=GREY, ls=(0, (4, 2)), lw=1)
    axes.annotate(f"this board: {max(have)}", (max(have), 1), xycoords=("data", "axes fraction"),
                  xytext=(3, 2), textcoords="offset points", fontsize=7, color=GREY)  # fmt: skip
    axes.set_xlabel(f"seeds per cell to see {EFFECT:g} points (log)")
    dfs = sorted({n.df for n in found.values()})
    caption = (
        f"Seeds with which a paired t test in one cell finds a true difference of {EFFECT:g} "
        f"points to {protocol.reference} with {100 * POWER:.0f} % power at {protocol.alpha:g}, "
        "uncorrected. Marks and numbers: standard deviation of the paired difference as observed, "
        f"pooled within cells ({dfs[0]}{f' to {dfs[-1]}' if len(dfs) > 1 else ''} degrees of "
        "freedom); lines reach to the upper end of its 95 % interval. Tests pooled over cells "
        "need fewer. Bold: rows that other figures highlight."
    )
    enough = sum((n.seeds.n or math.inf) <= max(have) for n in found.values())
    answer = (
        f"For {enough} of {len(found)} rows the {max(have)} seeds of this board are enough in one "
        f"cell, by the spread as observed. {sentence(material, summary, limits)}"
    )
    title = f"{summary.dataset}: how many seeds would show {EFFECT:g} points{material.about}?"
    return finish(figure, stem, title, caption, answer=answer.strip())
