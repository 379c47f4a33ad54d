"""Which rows a picture draws in colour: at most eight, the same in every picture of a board.

The rule, where a design has more than eight rows:

1. Full training, random choice (of several kinds the one with the best mean) and full training that
   ends as early.
2. The three other pruning rows with the best means over all cells, the leaders.
3. Pairs of a method with and without a module, as long as both find a place: first those with a row
   that is highlighted already, then those with the larger difference.
4. Pruning rows by their means.

Rows that lack runs follow after all complete ones, those with more runs first, and oracles last. A
design of up to eight rows has all of them highlighted. The choice follows the ranking that the
findings speak of; it is no test, and a pale row is not a worse one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from prunebench.leaderboard.board.model import Summary
from prunebench.registry import own_scored

#: Most rows in colour.
MOST = 8
LEADERS = 3
RANDOM_CHOICE = ("random", "random-dynamic", "random-batch")
SHORTER = "short-full"

Role = Literal["full", "control", "leader", "module", "row"]


@dataclass(frozen=True)
class Highlight:
    """The rows in colour.

    Attributes:
        roles: Why each row is highlighted, in the order of the choice; at most eight.
        hues: Number of a hue for every row but full training and controls, from 0, by name: those
            of one base method share it, so that a row and its module have one colour. A base
            method has the same in all pictures that show part of the rows, if all rows together
            have it highlighted.
    """

    roles: Mapping[str, Role]
    hues: Mapping[str, int]

    @property
    def rows(self) -> tuple[str, ...]:
        """Labels in the order of the choice."""
        return tuple(self.roles)

    def __contains__(self, label: object) -> bool:
        return label in self.roles


def base_of(label: str) -> str:
    """The method under options and another score: ``seta`` of ``seta+align (r=0.5)``."""
    return own_scored(label.split(" (", 1)[0])


def is_variant(label: str) -> bool:
    """Whether a row's method has another score than its own: ``seta+align``, ``seta+bls``."""
    return own_scored(label) != label


def highlight(summary: Summary, among: Collection[str] | None = None) -> Highlight:
    """The rows in colour of a design; see the rule above.

    Args:
        summary: The design over its ratios.
        among: Rows that a picture can show, such as those with stored curves; None for all.
    """
    known = [label for label in _by_mean(summary) if among is None or label in among]
    roles: dict[str, Role] = {}
    everything = len(known) <= MOST
    for label, role in (*_fixed(summary, known), *_chosen(summary, known)):
        if everything or len(roles) < MOST:
            roles.setdefault(label, role)
    if everything:  # oracles, and further controls
        for label in known:
            kind = summary.series[label].kind
            roles.setdefault(label, "control" if kind in ("control", "oracle") else "row")
    coloured = [label for label, role in roles.items() if role not in ("full", "control")]
    hues = _hues(coloured, {} if among is None else highlight(summary).hues)
    return Highlight(roles, hues)


def _hues(labels: Sequence[str], given: Mapping[str, int]) -> dict[str, int]:
    """A number for each base method by name: that of the whole design, where it has one there."""
    known = {base_of(label): hue for label, hue in given.items()}
    used = set(known.values())
    free = (hue for hue in count() if hue not in used)
    for base in sorted({base_of(label) for label in labels} - known.keys()):
        known[base] = next(free)
    return {label: known[base_of(label)] for label in labels}


def _by_mean(summary: Summary) -> list[str]:
    """Every row: complete ones by mean, the others by the number of their runs, oracles last."""
    ranked = summary.ranking.labels if summary.ranking else ()
    others = (label for label in summary.series if label not in ranked)
    size = {label: sum(map(len, row.values.values())) for label, row in summary.series.items()}
    oracle = {label: row.kind == "oracle" for label, row in summary.series.items()}
    return [*ranked, *sorted(others, key=lambda label: (oracle[label], -size[label], label))]


def _fixed(summary: Summary, known: list[str]) -> Iterator[tuple[str, Role]]:
    """Full training, one kind of random choice, and full training that ends as early."""
    yield from ((x, "full") for x in known if summary.series[x].kind == "full")
    for names in (RANDOM_CHOICE, (SHORTER,)):
        yield from ((x, "control") for x in [x for x in known if base_of(x) in names][:1])


def _chosen(summary: Summary, known: list[str]) -> Iterator[tuple[str, Role]]:
    """Leaders, pairs and further rows; a pair that would not fit is passed over."""
    taken = [label for label, _ in _fixed(summary, known)]
    rows = [x for x in known if summary.series[x].kind == "method" and x not in taken]
    leaders = rows[:LEADERS]
    yield from ((label, "leader") for label in leaders)
    taken += leaders
    pairs = [m.comparison for m in summary.modules.pairs] if summary.modules else []
    pairs = [pair for pair in pairs if pair.a in rows and pair.b in rows]
    while pairs:
        pair = min(pairs, key=lambda p: (not {p.a, p.b} & set(taken), -abs(p.pooled.mean),
                                         p.a, p.b))  # fmt: skip
        pairs.remove(pair)
        own = [label for label in (pair.b, pair.a) if label not in taken]
        if len(taken) + len(own) <= MOST:
            yield from ((label, "module") for label in own)
            taken += own
    yield from ((label, "row") for label in rows)
