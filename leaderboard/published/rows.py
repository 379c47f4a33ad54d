"""Rows copied from a paper: shown beside ours, unpaired, never ranked or tested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prunebench.leaderboard.published.numbers import Printed

ABOUT = (
    "Copied from the paper: printed means, another set-up, unpaired, not ranked and not tested; "
    "`prunebench reproduce` names the differences"
)


@dataclass(frozen=True)
class Copied:
    """One printed row.

    Attributes:
        label: Method as named here, with the criterion where it is not cross-entropy.
        values: (mean, standard deviation or None) by noise setting of the table; None where the
            paper prints none.
    """

    label: str
    values: tuple[tuple[float, float | None] | None, ...]


def copied_rows(
    printed: Iterable[Printed], dataset: str, criterion: str, ratio: float, noises: Sequence[str]
) -> tuple[Copied, ...]:
    """The paper's rows for one table of ours.

    Args:
        printed: All printed numbers.
        dataset, criterion: Names of the table's.
        ratio: Its ratio; full training is printed at 0 and is a row of every table.
        noises: Its columns.
    """
    relabel = "" if criterion == "ce" else criterion
    found: dict[str, dict[str, tuple[float, float | None]]] = defaultdict(dict)
    for row in printed:
        if row.metric != "accuracy" or row.options or row.dataset != dataset:
            continue
        if row.relabel != relabel or row.noise not in noises:
            continue
        if row.ratio == ratio or (row.method == "full" and row.ratio == 0):
            found[row.method].setdefault(row.noise, (row.value, row.std))
    order = sorted(found, key=lambda method: (method != "full", method))
    return tuple(
        Copied(method, tuple(found[method].get(noise) for noise in noises)) for method in order
    )
