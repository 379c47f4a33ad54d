"""Critical difference: mean ranks of rows, and columns of rows that are not separated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from prunebench.leaderboard.inference.groups import Groups
from prunebench.leaderboard.inference.series import matrix
from prunebench.leaderboard.number_text import number, p_text
from prunebench.leaderboard.render.html.charts.answers import answer
from prunebench.leaderboard.render.html.charts.axis import Axis, pixel
from prunebench.leaderboard.render.html.charts.design import Design, Picture
from prunebench.leaderboard.render.html.charts.panel import WIDTH
from prunebench.leaderboard.render.html.tooltips import group_facts
from prunebench.leaderboard.render.short_names import short_names
from prunebench.leaderboard.stats.ranks import block_ranks

_NAMES, _END, _TOP, _LINE = 178.0, 340.0, 34.0, 17.0
#: Signs of a name that the room at the left takes.
_LONGEST = 26


def told_apart(design: Design) -> Picture | None:
    """Rows that have all runs, by mean rank over the settings; None below two."""
    ranking = design.summary.ranking
    if ranking is None or len(ranking.labels) < 2:
        return None
    by_setting = _ranks(design, ranking.labels)
    ranks = dict(ranking.mean_ranks) or {label: by_setting[label][0] for label in by_setting}
    groups = ranking.groups
    usable = groups if groups is not None and not groups.underpowered else None
    size = groups.pairwise.family.size if groups else 0
    if usable is not None:
        how = (f"A column joins rows that are not separated (paired sign-flip over (noise, seed) "
               f"units, Holm over {size} pairs), which is not the same as equal.")  # fmt: skip
    else:
        how = "The test of all pairs of rows needs more runs" + (
            f" (smallest p {p_text(groups.smallest_p)}, needed {p_text(groups.needed_p)})"
            if groups else "") + ": the order is no finding."  # fmt: skip
    return Picture(
        "apart", "Told apart", "Which rows can be told apart?", answer(design, "lead"),
        "Mean rank over the settings, 1 is best, of rows that have all runs; small strokes: the "
        f"rank in each setting. {how}",
        (_draw(design, ranks, by_setting, usable),), zoom=False,
    )  # fmt: skip


def _ranks(design: Design, labels: Sequence[str]) -> dict[str, list[float]]:
    """Ranks by mean in each setting, the ratios averaged."""
    table = matrix([design.summary.series[label] for label in labels])
    blocks = list(zip(*table.cluster_means, strict=True))
    found = block_ranks(blocks if len(blocks) > 1 else blocks * 2)[: len(blocks)]
    return {label: [float(row[place]) for row in found] for place, label in enumerate(table.labels)}


def _draw(
    design: Design, ranks: Mapping[str, float], by_setting: Mapping[str, Sequence[float]],
    groups: Groups | None,
) -> Markup:  # fmt: skip
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    count = len(order)
    axis = Axis("mean rank", 1.0, float(count))
    bottom = _TOP + _LINE * count
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if (count - 1) / s <= 6 or s == 100)
    ticks = []
    for rank in [1, *range(step, count + 1, step)] if step > 1 else range(1, count + 1):
        px = pixel(axis.at(float(rank), _NAMES, _END))
        ticks.append(f'<path d="M{px} {pixel(_TOP - 6)}V{pixel(bottom)}"/>'
                     f'<text x="{px}" y="{pixel(_TOP - 10)}">{rank}</text>')  # fmt: skip
    facts = group_facts(groups) if groups else {}
    names = short_names(design.looks, _LONGEST)
    rows = []
    for place, label in enumerate(order):
        look, y = design.looks[label], _TOP + _LINE * (place + 0.5)
        px = pixel(axis.at(ranks[label], _NAMES, _END))
        strokes = "".join(f"M{pixel(axis.at(r, _NAMES, _END))} {pixel(y - 4)}v8"
                          for r in by_setting[label])  # fmt: skip
        tip = design.tips.add(f"{label}: mean rank {number(ranks[label], 2)}", [
            ("mean", f"{number(_mean(design, label), 2)} %"), *facts.get(label, [])])  # fmt: skip
        link = "" if tip is None else f' data-tip="{tip}"'
        classes = f" {look.classes}" * bool(look.classes)
        rows.append(
            f'<g class="row{classes}" data-row="{look.place}"><title>{escape(label)}</title>'
            f'<path class="strokes" d="{strokes}"/>'
            f'<use href="#{look.sign}" x="{px}" y="{pixel(y)}"{link}/>'
            f'<text x="{pixel(_NAMES - 10)}" y="{pixel(y + 4)}">{escape(names[label])}</text></g>'
        )  # fmt: skip
    columns = _columns(order, groups) if groups else ""
    return Markup(
        f'<svg class="panel ranks" viewBox="0 0 {pixel(WIDTH)} {pixel(bottom + 6)}" role="img" '
        f'aria-label="Mean ranks of {count} rows, best first">'
        f'<text class="panel-title" x="{pixel(_NAMES)}" y="10">mean rank</text>'
        f'<g class="ticks x">{"".join(ticks)}</g>{columns}{"".join(rows)}</svg>'
    )


def _mean(design: Design, label: str) -> float | None:
    ranking = design.summary.ranking
    return ranking.means[label] if ranking else None


def _columns(order: Sequence[str], groups: Groups) -> str:
    """A column for each group of more than one row: a line over its rows, a dot at each."""
    members = [sorted(order.index(label) for label in group if label in order)
               for group in groups.pairwise.letters.groups]  # fmt: skip
    members = [own for own in members if len(own) > 1]
    step = min(12.0, (WIDTH - _END - 16) / max(1, len(members)))
    found = []
    for place, own in enumerate(members):
        x = pixel(_END + 14 + step * place)
        top, end = (_TOP + _LINE * (line + 0.5) for line in (own[0], own[-1]))
        dots = "".join(f"M{x} {pixel(_TOP + _LINE * (line + 0.5) - 5)}v10" for line in own)
        found.append(f'<g class="group"><path d="M{x} {pixel(top)}V{pixel(end)}"/>'
                     f'<path class="members" d="{dots}"/></g>')  # fmt: skip
    return "".join(found)
