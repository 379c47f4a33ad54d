"""From records to a board; pure, and independent of the records' order."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from prunebench.errors import InputError, nearest
from prunebench.leaderboard.board.collect import FULL, Run, collect
from prunebench.leaderboard.board.designs import group_by_design
from prunebench.leaderboard.board.labels import RowId, kind_of, noise_order, row_id, row_labels
from prunebench.leaderboard.board.mixed_sources import mixed_lines
from prunebench.leaderboard.board.model import Board, Row, Table
from prunebench.leaderboard.board.rows import (
    Slot,
    Slots,
    diverged_as_chance,
    make_row,
    place,
    ranked_rows,
    unequal_classes,
    values_of,
)
from prunebench.leaderboard.board.shared_protocol import SharedProtocol, check_design
from prunebench.leaderboard.board.summaries import design_summary, recipe_summaries
from prunebench.leaderboard.board.transfers import transfers
from prunebench.leaderboard.board.tuned import refuse_leaks
from prunebench.leaderboard.contributed import History
from prunebench.leaderboard.headline import HEADLINES
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.inference.table import table_tests
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.published.numbers import Printed, printed_rows
from prunebench.record import Record


def build(
    records: Iterable[Record],
    protocol: ProtocolFile | None = None,
    printed: Sequence[Printed] = (),
    align_shown: bool | None = None,
    history: History | None = None,
) -> Board:
    """Builds one table per (design, ratio), a summary per design, and one over several recipes
    where their tables hold the same cells.

    The (noise, seed) cells of a table are those of its methods at that ratio; full training and
    ``full+reference``, which run at ratio 0, are rows of every table with their runs of those
    cells. Rows with all cells are ranked by mean accuracy over noise settings, which orders as
    the mean paired difference to full training does.

    Args:
        records: Any records; the protocol's filters and the roles leave some out.
        protocol: The protocol; None for the default one.
        printed: Numbers of a paper, copied beside the tables that they belong to.
        align_shown: Whether rows with AlignPrune stand beside random choice and other uses of the
            clean samples; None for yes where their records are of a set of metrics that is as
            late as these sections.
        history: Submissions that brought some of the records; None for none.

    Raises:
        InputError: Nothing to show, mixed protocols, or two runs for one cell.
    """
    protocol, history = protocol or ProtocolFile(), history or History()
    if printed and protocol.metric != "accuracy":
        raise InputError(
            "a paper's printed numbers are accuracies", where="leaderboard: --copy-from-paper",
            accepted=f"a board of the metric accuracy, not {protocol.metric}",
        )  # fmt: skip
    collected = collect(records, protocol)
    runs = [run for run in collected.runs if run.accuracy is not None]
    if not runs:
        found = ", ".join(f"{count} {reason}" for reason, count in collected.excluded)
        what = HEADLINES[protocol.metric].lacking
        raise InputError(f"no evaluation run with a {what}", where="leaderboard",
                         accepted=f"records of role eval; found {found or 'none'}")  # fmt: skip
    refuse_leaks(collected.runs)
    known = group_by_design(collected.runs)
    compared = [design for design in known if design.measured] or list(known)
    used: dict[str, Run] = {}
    tables: dict[str, list[Table]] = {}
    for design in compared:
        shared = check_design(design)
        tables[design.label] = []
        for ratio in _ratios(design.runs):
            table = _table(design.runs, ratio, shared, used, protocol)
            rows = printed_rows(printed, design.runs[0].dataset, design.runs[0].criterion, ratio,
                               table.noises)  # fmt: skip
            tables[design.label].append(_with_names(replace(table, printed=rows), history))
    known_rows = {label for own in tables.values() for table in own for label in table.series}
    if protocol.reference not in (FULL, *known_rows):
        raise InputError(f"no row {protocol.reference!r}", where="leaderboard: reference",
                         accepted=nearest(protocol.reference, known_rows))  # fmt: skip
    counts = Counter(dict(collected.excluded))
    if len(used) < len(runs):
        counts["outside every table's cells"] = len(runs) - len(used)
    lines = [f"{key} {run.record.digest}\n" for key, run in sorted(used.items())]
    return Board(
        tables=tuple(table for own in tables.values() for table in own),
        summaries=tuple(design_summary(own, protocol, align_shown) for own in tables.values()),
        recipe_summaries=recipe_summaries(compared, tables, protocol),
        transfers=transfers(compared, tables, protocol),
        protocol=protocol,
        used=len(used),
        digest=hashlib.sha256("".join(lines).encode()).hexdigest()[:16],
        excluded=tuple(sorted(counts.items())),
        environments=_environments(used.values()),
        history=history,
    )  # fmt: skip


def _with_names(table: Table, history: History) -> Table:
    """A table whose rows say who ran them, where submissions brought some."""
    if not history.contributions:
        return table

    def named(row: Row) -> Row:
        runs = table.runs[row.label].values()
        return replace(row, ran_by=history.ran_by(run.record.key for run in runs))

    return replace(table, rows=tuple(map(named, table.rows)),
                   incomplete=tuple(map(named, table.incomplete)))  # fmt: skip


def _ratios(runs: Sequence[Run]) -> list[float]:
    return sorted({run.ratio for run in runs if not run.carried}) or [0.0]


def _environments(runs: Iterable[Run]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for name in ("device_class", "threads", "code"):
            value = run.record.environment.get(name)
            if value is not None:
                found[name].add(str(value))
    return tuple((name, tuple(sorted(values))) for name, values in sorted(found.items()))


def _table(
    runs: Sequence[Run],
    ratio: float,
    shared: SharedProtocol,
    used: dict[str, Run],
    protocol: ProtocolFile,
) -> Table:
    own = [run for run in runs if run.ratio == ratio and not run.carried]
    methods = [run for run in own if kind_of(run) == "method"] or own
    asked = {(run.noise, run.seed) for run in methods or runs}
    by_row = _by_row(own + [r for r in runs if r.carried], asked, shared.board, ratio)
    notes: tuple[str, ...] = ()
    if protocol.rows == "intersect":
        asked, notes = _intersection(by_row, asked)
        by_row = {identity: kept for identity, slots in by_row.items()
                  if (kept := {s: run for s, run in slots.items() if s in asked})}  # fmt: skip
    shown = [run for slots in by_row.values() for run in slots.values()]
    used.update({run.record.key: run for run in shown if run.accuracy is not None})
    noises = tuple(sorted({noise for noise, _ in asked}, key=noise_order))
    labels = row_labels(shown)
    baseline = next((slots for (name, _), slots in sorted(by_row.items()) if name == FULL), {})
    fulls = [labels[identity] for identity in by_row if identity[0] == FULL]
    slots_of = {labels[identity]: slots for identity, slots in sorted(by_row.items())}
    usual = protocol.reference == FULL
    reference = slots_of.get(protocol.reference, baseline if usual else {})
    unequal = unequal_classes(shown)
    rows = [
        make_row(
            label,
            slots,
            {} if label == protocol.reference or (usual and label in fulls) else reference,
            baseline,
            noises,
            asked,
            unequal,
        )
        for label, slots in slots_of.items()
    ]
    complete = ranked_rows([row for row in rows if row.complete])
    incomplete = sorted((r for r in rows if not r.complete), key=lambda r: (place(r), r.label))
    series = {row.label: _series(row, slots_of[row.label], ratio) for row in rows}
    return Table(
        shared.board,
        ratio,
        noises,
        tuple(complete),
        tuple(incomplete),
        shared,
        series=series,
        tests=table_tests(
            [series[row.label] for row in complete if row.kind != "oracle"],
            [series[row.label] for row in incomplete if row.kind != "oracle"],
            noises,
            next(iter(fulls), FULL),
            protocol,
            f"{shared.board}, ratio {ratio:g}",
        ),
        notes=notes
        + diverged_as_chance(complete, slots_of)
        + tuple(f"⚠ {line}" for line in mixed_lines(run.record for run in shown)),
        runs=slots_of,
        reference=protocol.reference,
    )


def _by_row(runs: Sequence[Run], asked: set[Slot], board: str, ratio: float) -> dict[RowId, Slots]:
    by_row: dict[RowId, Slots] = defaultdict(dict)
    for run in runs:
        if (run.noise, run.seed) not in asked:
            continue
        other = by_row[row_id(run)].setdefault((run.noise, run.seed), run)
        if other is not run:
            keys = " and ".join(sorted((other.record.key, run.record.key)))
            raise InputError(
                f"two runs of {run.method}, {board}, {run.noise}, seed {run.seed}, "
                f"ratio {ratio:g}: {keys}",
                where="leaderboard",
                accepted="one run per cell",
            )
    return dict(by_row)


def _intersection(
    by_row: dict[RowId, Slots], asked: set[Slot]
) -> tuple[set[Slot], tuple[str, ...]]:
    """The (noise, seed) cells that every row has, and which went."""
    common = set(asked)
    for slots in by_row.values():
        common &= values_of(slots).keys()
    if not common:
        raise InputError("no (noise, seed) cell that every row has", where="leaderboard: rows",
                         accepted="rows = 'complete', or fewer rows")  # fmt: skip
    gone = sorted(asked - common)
    if not gone:
        return common, ()
    listed = ", ".join(f"{noise} seed {seed}" for noise, seed in gone)
    return common, (f"rows = intersect: {len(gone)} of {len(asked)} cells left out: {listed}",)


def _series(row: Row, slots: Slots, ratio: float) -> Series:
    values: dict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    for (noise, seed), value in sorted(values_of(slots).items()):
        values[noise, ratio][seed] = value
    return Series(row.label, row.kind, dict(values))
