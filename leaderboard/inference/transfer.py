"""Subsets that one network chose, trained with others: whether their lead over random stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prunebench.leaderboard.inference.compare import Comparison, compare
from prunebench.leaderboard.inference.series import Cell, Series, differences
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import (
    Family,
    MeanInterval,
    PairedDifference,
    family,
    mean_interval,
    paired_difference,
)
from prunebench.leaderboard.stats.exact import at_most

#: Seeds by cell.
_Runs = Mapping[Cell, frozenset[int]]

TOO_FEW, NO_LEAD, BEHIND = "too few seeds", "no lead to keep", "behind already"
STAYS, SMALLER, LARGER = "stays", "stays, smaller", "stays, larger"
NOT_SHOWN, TURNS = "no longer shown", "turns into a loss"


@dataclass(frozen=True)
class Trained:
    """What one network makes of a table's subsets.

    Attributes:
        network: Its name here.
        random, full: Rows of its table; None where it has none.
        chosen: Rows whose subset the scoring network chose, by method.
        own: Rows whose subset this network's own scoring run chose, by method; of the scoring
            network itself empty.
    """

    network: str
    random: Series | None
    full: Series | None
    chosen: Mapping[str, Series]
    own: Mapping[str, Series]


@dataclass(frozen=True)
class TransferCell:
    """One method under one noise setting and ratio, trained with one network.

    Attributes:
        method, network: Names.
        cell: Noise setting and ratio.
        accuracy: Percent over the seeds.
        random, full: Difference to the row of the same network by common seed; None without it.
        own: Accuracy where the trained network chose the subset itself; None where it did not.
        against_own: Chosen by the scoring network minus chosen by the trained one.
    """

    method: str
    network: str
    cell: Cell
    accuracy: MeanInterval
    random: PairedDifference | None
    full: PairedDifference | None
    own: MeanInterval | None
    against_own: PairedDifference | None


@dataclass(frozen=True)
class Carried:
    """The lead of one method over random choice, from one network to another.

    Attributes:
        method, network: The method, and the network that its subset is trained with.
        home: Method minus random, trained with the scoring network, over the cells and seeds that
            both networks have; None where there are none.
        away: Likewise, trained with ``network``; over all it has where ``home`` is None.
        change: ``away`` minus ``home``, paired by noise setting, ratio and seed.
        against_own: Chosen by the scoring network minus chosen by ``network``; None where
            that was not run.
        alpha: Level at which a sign-flip decides on differences that are equal in every seed.
        runs: Cells and seeds of the leads, where those of another network of the method are
            others; else empty.
        partial: Whether a lead leaves out runs that the other network lacks.
    """

    method: str
    network: str
    home: Comparison | None
    away: Comparison | None
    change: Comparison | None
    against_own: Comparison | None
    alpha: float
    runs: str = ""
    partial: bool = False

    @property
    def row(self) -> str:
        """The method, with its runs where they differ between networks."""
        return f"{self.method} ({self.runs})" if self.runs else self.method

    @property
    def verdict(self) -> str:
        """What the 95 % intervals over all cells say; empty without a row of the scoring network
        or of random choice."""
        if self.home is None or self.away is None:
            return ""
        home, away, change = (_side(one, self.alpha)
                              for one in (self.home, self.away, self.change))  # fmt: skip
        if home is None or away is None:
            return TOO_FEW
        if home <= 0:
            return BEHIND if home < 0 else NO_LEAD
        if away <= 0:
            return TURNS if away < 0 else NOT_SHOWN
        return {-1: SMALLER, 1: LARGER}.get(change or 0, STAYS)


@dataclass(frozen=True)
class Transfer:
    """One scoring recipe, and what it chose for several networks.

    Attributes:
        dataset: Name of the tables.
        scored: Name of the scoring network.
        networks: Those that train, the scoring network first where it trains too.
        cells: By method, noise setting, ratio and network.
        baselines: Accuracy of full training and random choice by (row, network) and cell.
        carried: By method, then network; without the scoring network.
        leads: Method minus random under every network as ``carried`` holds it, Holm; None without
            random choice.
        changes: Change of the lead under every other network, Holm; None likewise, or where the
            scoring network trains nothing.
    """

    dataset: str
    scored: str
    networks: tuple[str, ...]
    cells: tuple[TransferCell, ...]
    baselines: Mapping[tuple[str, str], Mapping[Cell, MeanInterval]]
    carried: tuple[Carried, ...]
    leads: Family | None
    changes: Family | None

    @property
    def home(self) -> bool:
        """Whether the scoring network trains too."""
        return self.scored in self.networks


def transfer(
    dataset: str, scored: str, trained: Sequence[Trained], protocol: ProtocolFile
) -> Transfer:
    """Compares what several networks make of the same subsets.

    Args:
        dataset: Name of the tables.
        scored: Name of the scoring network.
        trained: The networks that train, the scoring network first where it does.
        protocol: The protocol.
    """
    methods = list(dict.fromkeys(name for one in trained for name in one.chosen))
    home = next((one for one in trained if one.network == scored), None)
    carried = [found for method in methods for found in _carried(method, home, trained, protocol)]
    leads = {
        member(one.row if network == scored else one.method, network): lead
        for one in carried for network, lead in ((scored, one.home), (one.network, one.away))
        if lead is not None
    }  # fmt: skip
    name = f"scored with {scored}, {dataset}"
    return Transfer(
        dataset=dataset,
        scored=scored,
        networks=tuple(one.network for one in trained),
        cells=tuple(cell for method in methods for cell in _cells(method, trained)),
        baselines={
            (label, one.network): _means(row)
            for one in trained for label, row in (("full", one.full), ("random", one.random))
            if row is not None
        },
        carried=tuple(carried),
        leads=_family(f"lead over random, {name}", protocol, leads),
        changes=_family(f"change of the lead, {name}", protocol,
                        {member(one.method, one.network): one.change for one in carried
                         if one.change is not None}),
    )  # fmt: skip


def member(method: str, network: str) -> str:
    """Name of a test in the families."""
    return f"{method}, trained with {network}"


def _family(name: str, protocol: ProtocolFile, found: Mapping[str, Comparison]) -> Family | None:
    tests = {label: comparison.pooled.sign_flip for label, comparison in found.items()}
    return family(name, tests, "holm", protocol.alpha) if tests else None


def _carried(
    method: str, home: Trained | None, trained: Sequence[Trained], protocol: ProtocolFile
) -> list[Carried]:
    """The lead of one method under every network but the scoring one."""
    first: _Runs | None = None
    found = []
    for one in trained:
        if one is home or method not in one.chosen:
            continue
        away, there = _runs(one, method), _runs(home, method)
        runs: _Runs = {cell: seeds & there[cell] for cell, seeds in away.items()
                       if cell in there}  # fmt: skip
        under_home = _lead(home, method, runs, protocol)
        if under_home is None:
            runs = away
        first = runs if first is None else first
        against_own = None
        if method in one.own:
            against_own = compare(one.chosen[method], one.own[method], protocol)
        found.append(Carried(
            method, one.network, under_home, _lead(one, method, runs, protocol),
            _change(one, home, method, protocol) if under_home else None, against_own,
            protocol.alpha, "" if runs == first else f"runs of {one.network}",
            under_home is not None and (runs != away or runs != there),
        ))  # fmt: skip
    return found


def _change(
    away: Trained, home: Trained | None, method: str, protocol: ProtocolFile
) -> Comparison | None:
    """Lead under another network minus lead under the scoring one, over their common runs."""
    leads = []
    for one in (away, home):
        if one is None or one.random is None:
            return None
        values = differences(one.chosen[method], one.random)
        leads.append(Series(f"{method} - random with {one.network}", "method", values))
    return compare(leads[0], leads[1], protocol)


def _runs(one: Trained | None, method: str) -> _Runs:
    """Cells and seeds of a method that a network has with random choice; empty without one."""
    if one is None or one.random is None or method not in one.chosen:
        return {}
    return {cell: frozenset(seeds)
            for cell, seeds in differences(one.chosen[method], one.random).items()}  # fmt: skip


def _lead(
    one: Trained | None, method: str, runs: _Runs, protocol: ProtocolFile
) -> Comparison | None:
    """Method minus random over some of its runs."""
    if one is None or one.random is None or method not in one.chosen:
        return None
    return compare(_within(one.chosen[method], runs), _within(one.random, runs), protocol)


def _within(row: Series, runs: _Runs) -> Series:
    values = {cell: {seed: row.values[cell][seed] for seed in sorted(seeds)}
              for cell, seeds in runs.items() if seeds}  # fmt: skip
    return replace(row, values=values)


def _side(found: Comparison | None, alpha: float) -> int | None:
    """-1, 0 or 1: where the interval over all cells lies; None without one. An interval that is a
    point decides nothing itself: the sign-flip does, where its smallest p reaches the level."""
    if found is None or found.pooled.low is None or found.pooled.high is None:
        return None
    low, high, flips = found.pooled.low, found.pooled.high, found.pooled.sign_flip
    if low == high and not at_most(flips.p, alpha):
        return 0 if at_most(flips.smallest_p, alpha) else None
    return (low > 0) - (high < 0)


def _cells(method: str, trained: Sequence[Trained]) -> list[TransferCell]:
    cells = sorted({cell for one in trained if method in one.chosen
                    for cell in one.chosen[method].values})  # fmt: skip
    return [
        _cell(method, one, cell)
        for cell in cells for one in trained
        if method in one.chosen and cell in one.chosen[method].values
    ]  # fmt: skip


def _cell(method: str, one: Trained, cell: Cell) -> TransferCell:
    values = one.chosen[method].values[cell]

    def against(row: Series | None) -> PairedDifference | None:
        found = paired_difference(values, row.values.get(cell, {})) if row else None
        return found if found and found.n else None

    own = one.own.get(method)
    theirs = own.values.get(cell) if own else None
    return TransferCell(
        method, one.network, cell, mean_interval(list(values.values())),
        against(one.random), against(one.full),
        mean_interval(list(theirs.values())) if theirs else None, against(own),
    )  # fmt: skip


def _means(row: Series) -> dict[Cell, MeanInterval]:
    return {cell: mean_interval(list(by_seed.values())) for cell, by_seed in row.values.items()}
