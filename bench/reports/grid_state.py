"""How far the runs of a results folder are: counts by method and setting, and the time left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prunebench.errors import InputError
from prunebench.leaderboard.board.check_record import check_shape
from prunebench.leaderboard.board.collect import COUNTED, PLANNED, Run, as_run, evidence_only
from prunebench.leaderboard.board.labels import KINDS, kind_of, noise_order, row_id, row_labels
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.record import Record, canonical

#: What a cell of a grid can be; ``failed`` are those that failed or were killed.
STATES = ("done", "running", "failed", "skipped", "left")
_STATE = {
    "done": "done", "diverged": "done", "failed": "failed", "killed": "failed",
    "skipped": "skipped", PLANNED: "left",
}  # fmt: skip
#: No run takes longer; a record may claim anything.
_LONGEST_S = 1e9
UNREADABLE = "record whose fields no table can use"


@dataclass(frozen=True)
class StateTable:
    """The runs of one data set and criterion, over all ratios, seeds and recipes.

    Attributes:
        dataset, criterion: Names.
        noises: Names of the settings, the columns.
        rows: Label of a row as on boards, and per setting the number of runs by state.
    """

    dataset: str
    criterion: str
    noises: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Mapping[str, int], ...]], ...]


@dataclass(frozen=True)
class GridState:
    """How far the runs of a folder are.

    Attributes:
        tables: One for each data set and criterion.
        counts: Runs of all tables by state.
        beside: Runs that are rows of no table, by what they are.
        seconds_left: Estimate for what is left, one run at a time: a run takes what finished ones
            of its method, or else of its data set and recipe, took, and one that is running is
            half done. None where nothing is left or nothing has been timed.
    """

    tables: tuple[StateTable, ...]
    counts: Mapping[str, int]
    beside: Mapping[str, int]
    seconds_left: float | None

    def as_dicts(self) -> list[dict[str, Any]]:
        """A dictionary for each data set, criterion, row and setting that has runs."""
        return [
            {"dataset": table.dataset, "criterion": table.criterion, "method": label,
             "noise": noise, **{state: counts.get(state, 0) for state in STATES}}
            for table in self.tables
            for label, cells in table.rows
            for noise, counts in zip(table.noises, cells, strict=True)
            if counts
        ]  # fmt: skip


@dataclass
class _Group:
    """Runs that differ in the seed alone."""

    first: Record
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    timed: int = 0


def grid_state(
    records: Iterable[Record], planned: Iterable[Record], running: Collection[str]
) -> GridState:
    """Counts what is recorded, what runs and what grids asked for beside.

    Args:
        records: Of a results folder.
        planned: The cells that its grids asked for.
        running: Keys that live processes hold.
    """
    groups: dict[str, _Group] = {}
    beside: Counter[str] = Counter()
    for record in _once(records, planned):
        if reason := evidence_only(record.spec):
            beside[reason] += record.status != PLANNED
            continue
        identity = canonical([{**record.spec, "seed": None}, record.info.get("label"),
                              record.status == PLANNED])  # fmt: skip
        group = groups.setdefault(identity, _Group(record))
        state = "running" if record.key in running else _STATE[record.status]
        group.counts[state] += 1
        seconds = record.timing.get("total_s", 0.0)
        if record.status in COUNTED and 0 < seconds < _LONGEST_S:
            group.seconds += seconds
            group.timed += 1
    runs: list[tuple[Run, _Group]] = []
    for group in groups.values():
        try:
            check_shape(group.first)
            runs.append((as_run(group.first, ProtocolFile()), group))
        except InputError:
            beside[UNREADABLE] += group.counts.total() - group.counts["left"]
    counts = sum((group.counts for _, group in runs), Counter[str]())
    return GridState(
        _tables(runs), {state: counts[state] for state in STATES}, +beside,
        _seconds_left(runs),
    )  # fmt: skip


def _once(records: Iterable[Record], planned: Iterable[Record]) -> Iterator[Record]:
    seen: set[str] = set()
    for record in (*records, *planned):
        if record.key not in seen:
            seen.add(record.key)
            yield record


def _tables(runs: Iterable[tuple[Run, _Group]]) -> tuple[StateTable, ...]:
    found: dict[tuple[str, str], list[tuple[Run, _Group]]] = defaultdict(list)
    for run, group in runs:
        found[run.record.dataset, run.criterion].append((run, group))
    tables = []
    for (dataset, criterion), own in sorted(found.items()):
        labels = row_labels(run for run, _ in own)
        rows: dict[tuple[int, str], dict[str, Counter[str]]] = defaultdict(dict)
        for run, group in own:
            row = rows[KINDS.index(kind_of(run)), labels[row_id(run)]]
            row[run.noise] = row.get(run.noise, Counter()) + group.counts
        noises = tuple(sorted({noise for row in rows.values() for noise in row}, key=noise_order))
        tables.append(StateTable(dataset, criterion, noises, tuple(
            (label, tuple(row.get(noise, Counter()) for noise in noises))
            for (_, label), row in sorted(rows.items())
        )))  # fmt: skip
    return tuple(tables)


def _seconds_left(runs: Iterable[tuple[Run, _Group]]) -> float | None:
    """See ``GridState``; other settings of a method train as long."""
    known: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    kinds: list[tuple[list[str], _Group]] = []
    for run, group in runs:
        spec = run.record.spec
        recipe = [spec["dataset"], spec.get("recipe"), spec.get("budget")]
        kind = [*recipe, run.criterion, spec["method"], run.ratio]
        names = [canonical(kind), canonical(recipe), ""]
        kinds.append((names, group))
        for name in names:
            seconds, timed = known[name]
            known[name] = (seconds + group.seconds, timed + group.timed)
    total, open_runs = 0.0, 0.0
    for names, group in kinds:
        share = group.counts["left"] + group.counts["running"] / 2
        seconds, timed = next((known[name] for name in names if known[name][1]), (0.0, 0))
        if share and not timed:
            return None
        open_runs += share
        total += share * seconds / max(1, timed)
    return total if open_runs else None
