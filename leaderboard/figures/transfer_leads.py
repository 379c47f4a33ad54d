"""Lead over random choice of subsets that one network chose, by the network that is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prunebench.leaderboard.figures.answers import NOT_TESTED
from prunebench.leaderboard.figures.classes import bold_names
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.row_styles import MARKERS
from prunebench.leaderboard.figures.style import (
    GREY,
    HUES,
    WIDTH,
    Drawn,
    Omitted,
    finish,
    new,
    slug,
)
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.inference.transfer import Transfer

#: Rows that are not highlighted.
_PALE = "#C4C4C4"


def draw(material: Material) -> Iterator[Drawn | Omitted]:
    """One figure per table of transferred subsets that has random choice; none on other boards."""
    for found in material.board.transfers:
        if found.leads is not None:
            stem = f"transfer-{slug(found.dataset)}-{slug(found.scored)}"
            yield _figure(stem, found, material)


def leads(found: Transfer) -> dict[str, dict[str, Comparison]]:
    """Method minus random by method and trained network; a method has a line for each set of runs
    that its leads are over."""
    table: dict[str, dict[str, Comparison]] = {}
    for one in found.carried:
        own = table.setdefault(one.row, {})
        for network, lead in ((found.scored, one.home), (one.network, one.away)):
            if lead is not None:
                own[network] = lead
    return table


def _figure(stem: str, found: Transfer, material: Material) -> Drawn:
    table = leads(found)
    methods = sorted(table, key=lambda name: (-_first(found, table[name]), name))
    home = max(material.board.summaries, key=lambda s: len(table.keys() & s.series.keys()))
    chosen = highlight(home, table)
    many = len(methods) > len(chosen.rows)
    figure = new(1.5 + (0.3 if many else 0.42) * max(3, len(methods)), min(WIDTH, 8.0))
    axes = figure.subplots()
    step = 0.6 / max(1, len(found.networks))
    for number, network in enumerate(found.networks):
        known = [(place, table[name][network].pooled) for place, name in enumerate(methods)
                 if network in table[name]]  # fmt: skip
        heights = [place + (number - (len(found.networks) - 1) / 2) * step for place, _ in known]
        colour = HUES[number % len(HUES)]
        for shown in (False, True):
            own = [(height, lead) for height, (place, lead) in zip(heights, known, strict=True)
                   if (methods[place] in chosen or not many) == shown]  # fmt: skip
            look = colour if shown else _PALE
            for height, lead in own:
                if lead.low is not None and lead.high is not None:
                    axes.plot([lead.low, lead.high], [height, height], color=look, lw=1.0)
            if own:
                axes.plot([lead.mean for _, lead in own], [height for height, _ in own], ls="",
                          color=look, ms=5 if shown else 3, marker=MARKERS[number % len(MARKERS)],
                          label=network if shown else None)  # fmt: skip
    axes.axvline(0, color=GREY, lw=0.8, zorder=0)
    axes.set_yticks(range(len(methods)), methods)
    bold_names(axes, methods, chosen)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.set_xlabel("points over random choice under the same network")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center",
                  title="trained with")  # fmt: skip
    caption = (
        f"Subsets that the scoring run of {found.scored} chose, trained with each network: mean "
        "difference to random choice under that network over all noise settings and ratios, with "
        "its 95 % interval for these cells and new seeds, not corrected. Methods by their lead "
        f"with {found.networks[0]}."
    )
    if any(one.partial for one in found.carried):
        caption += " Runs that one of two networks lacks are in neither lead."
    if many:
        caption += " Pale: rows that other figures do not highlight."
    title = f"{found.dataset}: do subsets chosen with {found.scored} serve other networks"
    title += f"{material.about}?"
    return finish(figure, stem, title, caption, answer=_above(found, table))


def _above(found: Transfer, table: Mapping[str, Mapping[str, Comparison]]) -> str:
    """How many leads lie above and below 0 by their intervals, network by network."""
    said = []
    for network in found.networks:
        own = [leads_of[network].pooled for leads_of in table.values() if network in leads_of]
        ends = [(p.low, p.high) for p in own if p.low is not None and p.high is not None]
        if ends:
            said.append(f"{sum(low > 0 for low, _ in ends)} above and "
                        f"{sum(high < 0 for _, high in ends)} below random choice of {len(ends)} "
                        f"with {network}")  # fmt: skip
    return f"By uncorrected intervals {'; '.join(said)}." if said else NOT_TESTED


def _first(found: Transfer, own: dict[str, Comparison]) -> float:
    lead = own.get(found.networks[0])
    return float("-inf") if lead is None else lead.pooled.mean
