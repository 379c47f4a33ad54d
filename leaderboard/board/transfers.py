"""Finds subsets that one recipe's scoring run chose and several recipes train."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prunebench.leaderboard.board.collect import FULL, Run
from prunebench.leaderboard.board.designs import Design, label_designs, naming_fields, words_of
from prunebench.leaderboard.board.labels import RowId, given_label, method_id
from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.board.scored_with import scoring_recipe
from prunebench.leaderboard.filters import leaves
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.inference.transfer import Trained, Transfer, transfer
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.record import canonical

RANDOM = "random"


def transfers(
    designs: Sequence[Design], tables: Mapping[str, Sequence[Table]], protocol: ProtocolFile
) -> tuple[Transfer, ...]:
    """A table for each scoring recipe whose choice another recipe trains.

    Args:
        designs: Of the board.
        tables: By label of the design.
        protocol: The protocol.
    """
    found: dict[tuple[str, str], list[Design]] = defaultdict(list)
    recipes: dict[str, dict[str, Any]] = {}
    for design in designs:
        for run in design.runs:
            if scoring := scoring_recipe(run.record.spec):
                name = canonical(scoring)
                recipes[name] = scoring
                if design not in found[canonical(design.frame), name]:
                    found[canonical(design.frame), name].append(design)
    frames = label_designs({canonical(d.frame): d.frame for d in designs})
    made = []
    for (frame, name), away in sorted(found.items()):
        home = [d for d in designs if canonical(d.frame) == frame
                and d.content.get("recipe") == recipes[name]]  # fmt: skip
        scored, *networks = _networks(
            [recipes[name], *(d.content.get("recipe", {}) for d in (*home, *away))]
        )
        parts = [*((_rows(tables[d.label]), "") for d in home),
                 *((_rows(tables[d.label]), name) for d in away)]  # fmt: skip
        titles = _titles([rows for rows, _ in parts], name)
        trained = [_trained(network, rows, chosen, titles)
                   for network, (rows, chosen) in zip(networks, parts, strict=True)]  # fmt: skip
        made.append(transfer(frames[frame], scored, trained, protocol))
    return tuple(made)


def _networks(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of recipes by what they differ in."""
    flat = [dict(leaves({"recipe": recipe})) for recipe in recipes]
    paths = naming_fields(flat) or ["recipe.model"]
    return [", ".join(words_of(path, own.get(path)) for path in paths) for own in flat]


@dataclass(frozen=True)
class _Row:
    """A row of a design over its tables: its label, its first run and its accuracies."""

    label: str
    run: Run
    series: Series


#: By method and scoring recipe, which is empty for the design's own.
_Rows = Mapping[tuple[RowId, str], _Row]


def _rows(tables: Sequence[Table]) -> _Rows:
    found: dict[tuple[RowId, str], _Row] = {}
    for table in tables:
        for label, slots in table.runs.items():
            run = next(iter(slots.values()))
            scoring = scoring_recipe(run.record.spec)
            slot = method_id(run), canonical(scoring) if scoring else ""
            row = found.get(slot, _Row(label, run, replace(table.series[label], values={})))
            values = {**row.series.values, **table.series[label].values}
            found[slot] = replace(row, series=replace(row.series, values=values))
    return found


def _titles(parts: Sequence[_Rows], scoring: str) -> dict[RowId, str]:
    """Names of the methods whose subsets a scoring recipe chose for another one."""
    titles: dict[RowId, str] = {}
    for rows in parts:
        for (method, scored), row in rows.items():
            if scored == scoring and row.series.values:
                plain = given_label(row.run) or row.run.method
                taken = plain in titles.values()
                titles.setdefault(method, row.label if taken else plain)
    return titles


def _trained(network: str, rows: _Rows, chosen: str, titles: Mapping[RowId, str]) -> Trained:
    """What a network makes of the subsets.

    Args:
        network: Its name.
        rows: Of its tables.
        chosen: The scoring recipe as its rows name it: empty where it is their own.
        titles: Names of the methods.
    """

    def scored(by: str) -> dict[str, Series]:
        return {title: rows[method, by].series for method, title in titles.items()
                if (method, by) in rows and rows[method, by].series.values}  # fmt: skip

    by_label = {row.label: row.series for row in rows.values()}
    return Trained(network, by_label.get(RANDOM), by_label.get(FULL), scored(chosen),
                   scored("") if chosen else {})  # fmt: skip
