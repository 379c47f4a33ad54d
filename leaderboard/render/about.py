"""What a board is about and what it found, as every form says it first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Board, Table
from prunebench.leaderboard.findings import Finding
from prunebench.leaderboard.findings.phrases import counted, listed
from prunebench.leaderboard.number_text import span

#: Heading of the sentences.
FINDINGS = "What was found"
#: Seconds since 1970 that a date with a year of four digits may have.
_LATEST = 253_402_300_799


@dataclass(frozen=True)
class About:
    """What the title of a board names.

    Attributes:
        datasets, networks, budgets: Names, in the order of the tables.
        seeds: Fewest and most seeds in a noise setting of a row.
        dates: First and last day (UTC) on which a run ended; empty where no record says it.
        methods: Names of the methods that prune.
        rows: Labels of their rows, in the order of the tables: a method has several where it ran
            with several options, or on samples that another network chose.
    """

    datasets: tuple[str, ...]
    networks: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, int]
    dates: tuple[str, ...]
    methods: tuple[str, ...]
    rows: tuple[str, ...]

    @property
    def text(self) -> str:
        """Data sets, networks, budgets, seeds and days in one line."""
        days = " to ".join(dict.fromkeys(self.dates))
        what = " with ".join(filter(None, (listed(self.datasets), listed(self.networks))))
        parts = [what, f"budget {listed(self.budgets)}",
                 f"n = {span(*self.seeds)} {'seed' if self.seeds == (1, 1) else 'seeds'}",
                 days]  # fmt: skip
        return ", ".join(part for part in parts if part)


def about(board: Board) -> About:
    """What a board is about, from the runs that count."""
    rows = [row for table in board.tables for row in (*table.rows, *table.incomplete)]
    runs = [run for table in board.tables for slots in table.runs.values()
            for run in slots.values() if run.accuracy is not None]  # fmt: skip
    sizes = [size for row in rows for size in row.seeds]
    pruning = _once(row.label for row in rows if row.kind == "method")
    return About(
        datasets=_once(run.dataset for run in runs),
        networks=_once(str(table.shared.recipe.get("model") or "") for table in board.tables),
        budgets=_once(table.shared.budget for table in board.tables),
        seeds=(min(sizes), max(sizes)),
        dates=_dates(runs),
        methods=_once(
            found[label]
            for found in map(methods_of, board.tables)
            for label in pruning
            if label in found
        ),
        rows=pruning,
    )


def title(board: Board) -> str:
    """The title of every form."""
    return f"Leaderboard: {about(board).text}"


def counts(board: Board) -> str:
    """How many methods prune, in how many rows, and how many runs are behind the board."""
    found = about(board)
    methods, rows = counted(len(found.methods), "method"), counted(len(found.rows), "row")
    several = f" in {rows}" if len(found.rows) != len(found.methods) else ""
    return f"{methods}{several}, {counted(board.used, 'run')}"


def found_by_scope(said: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
    """Sentences in their order, with the designs that they speak of; an empty scope where all
    speak of the same."""
    several = len({finding.scope for finding in said}) > 1
    return [
        (scope if several else "", list(own))
        for scope, own in groupby(said, key=lambda finding: finding.scope)
    ]


def methods_of(table: Table) -> dict[str, str]:
    """Name of the method of each row, by label."""
    return {label: next(iter(slots.values())).method for label, slots in table.runs.items()
            if slots}  # fmt: skip


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(names) if name)


def _dates(runs: Iterable[Run]) -> tuple[str, ...]:
    ends = [end for run in runs if 0 < (end := run.record.timing.get("finished", 0.0)) <= _LATEST]
    return tuple(
        datetime.fromtimestamp(end, UTC).date().isoformat() for end in (min(ends), max(ends))
    ) if ends else ()  # fmt: skip
