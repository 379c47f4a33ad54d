"""From records to a board; pure, and independent of the records' order."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from prunebench.errors import InputError
from prunebench.leaderboard.aggregate import Run, collect
from prunebench.leaderboard.labels import (
    KINDS,
    RowId,
    kind_of,
    noise_order,
    row_id,
    row_labels,
)
from prunebench.leaderboard.protocol import FULL, WITH_REFERENCE, Protocol, protocols
from prunebench.leaderboard.stats import mean_interval, paired_difference
from prunebench.leaderboard.tables import Board, Cell, Row, Table
from prunebench.record import Record

Slot = tuple[str, int]
Slots = dict[Slot, Run]


def build(records: Iterable[Record]) -> Board:
    """Builds one table per (data set, criterion, ratio).

    The (noise, seed) cells of a table are those of its methods at that ratio; full training and
    ``full+reference``, which run at ratio 0, stand in every table with their runs of those
    cells. Rows with all cells are ranked by mean accuracy over noise settings, which orders as
    the mean paired difference to full training does.

    Raises:
        InputError: Nothing to show, mixed protocols, or two runs for one cell.
    """
    collected = collect(records)
    runs = [run for run in collected.runs if run.accuracy is not None]
    if not runs:
        found = ", ".join(f"{count} {reason}" for reason, count in collected.excluded)
        raise InputError("no evaluation run with a test accuracy", where="leaderboard",
                         accepted=f"records of role eval; found {found or 'none'}")  # fmt: skip
    protocol = protocols(collected.runs)
    used: dict[str, Run] = {}
    tables: list[Table] = []
    compared = {run.board for run in runs if not _carried(run)} or protocol.keys()
    for name in sorted(compared):
        own = [run for run in collected.runs if run.board == name]
        for ratio in _ratios(own):
            tables.append(_table(own, ratio, protocol[name], used))
    counts = Counter(dict(collected.excluded))
    if len(used) < len(runs):
        counts["outside every table's cells"] = len(runs) - len(used)
    lines = [f"{key} {run.record.digest}\n" for key, run in sorted(used.items())]
    return Board(
        tables=tuple(tables),
        used=len(used),
        digest=hashlib.sha256("".join(lines).encode()).hexdigest()[:16],
        excluded=tuple(sorted(counts.items())),
        environments=_environments(used.values()),
    )


def _carried(run: Run) -> bool:
    return run.ratio == 0 and run.method in (FULL, WITH_REFERENCE)


def _ratios(runs: Sequence[Run]) -> list[float]:
    return sorted({run.ratio for run in runs if not _carried(run)}) or [0.0]


def _environments(runs: Iterable[Run]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for name in ("device_class", "threads", "code"):
            value = run.record.environment.get(name)
            if value is not None:
                found[name].add(str(value))
    return tuple((name, tuple(sorted(values))) for name, values in sorted(found.items()))


def _table(runs: Sequence[Run], ratio: float, protocol: Protocol, used: dict[str, Run]) -> Table:
    own = [run for run in runs if run.ratio == ratio and not _carried(run)]
    methods = [run for run in own if kind_of(run) == "method"]
    asked = {(run.noise, run.seed) for run in methods or own or runs}
    shown = [run for run in own + [r for r in runs if _carried(r)]
             if (run.noise, run.seed) in asked]  # fmt: skip
    by_row: dict[RowId, Slots] = defaultdict(dict)
    for run in shown:
        other = by_row[row_id(run)].setdefault((run.noise, run.seed), run)
        if other is not run:
            keys = " and ".join(sorted((other.record.key, run.record.key)))
            raise InputError(
                f"two runs of {run.method}, {run.board}, {run.noise}, seed {run.seed}, "
                f"ratio {ratio:g}: {keys}",
                where="leaderboard",
                accepted="one run per cell",
            )
    used.update({run.record.key: run for run in shown if run.accuracy is not None})
    noises = tuple(sorted({noise for noise, _ in asked}, key=noise_order))
    labels = row_labels(shown)
    baseline = next((slots for (name, _), slots in sorted(by_row.items()) if name == FULL), {})
    rows = [
        _row(labels[identity], slots, baseline, noises, asked)
        for identity, slots in sorted(by_row.items())
    ]
    complete = _ranked([row for row in rows if row.complete])
    incomplete = sorted((r for r in rows if not r.complete), key=lambda r: (_place(r), r.label))
    return Table(protocol.board, ratio, noises, tuple(complete), tuple(incomplete), protocol)


def _place(row: Row) -> int:
    return KINDS.index(row.kind)


def _row(label: str, slots: Slots, baseline: Slots, noises: Sequence[str], asked: set[Slot]) -> Row:
    first = next(iter(slots.values()))
    kind = kind_of(first)
    runs = [run for _, run in sorted(slots.items()) if run.accuracy is not None]
    cells = tuple(_cell(noise, slots, {} if kind == "full" else baseline) for noise in noises)
    lacking = Counter(
        slots[slot].missing if slot in slots else "no record"
        for slot in asked
        if slot not in slots or slots[slot].accuracy is None
    )
    complete = not lacking
    paired = complete and kind != "full" and len(_values(baseline)) == len(asked)
    sizes = [cell.accuracy.n if cell else 0 for cell in cells]
    used = {str(run.record.info.get("clean_labels_used") or "") for run in slots.values()}
    return Row(
        label=label,
        kind=kind,
        cells=cells,
        present=len(runs),
        expected=len(asked),
        missing=tuple(sorted(lacking.items())),
        mean=_mean([c.accuracy.mean for c in cells if c]) if complete else None,
        difference=_mean([c.difference.mean for c in cells if c and c.difference])
        if paired
        else None,
        nominal=first.ratio,
        realised=_mean([run.metric("realised_ratio") for run in runs]),
        compute=_mean([run.metric("compute_ratio") for run in runs]),
        epochs=_mean([run.record.ledger.get("epochs") for run in runs]),
        steps=_mean([run.record.ledger.get("steps") for run in runs]),
        worst_class=_mean([run.metric("worst_class_accuracy") for run in runs]),
        seeds=(min(sizes), max(sizes)),
        clean_labels=", ".join(sorted(used - {""})),
        leaks=any(run.record.info.get("reference_leaks") for run in slots.values()),
    )


def _values(slots: Slots) -> dict[Slot, float]:
    return {slot: run.accuracy for slot, run in slots.items() if run.accuracy is not None}


def _cell(noise: str, slots: Slots, baseline: Slots) -> Cell | None:
    values = {seed: v for (name, seed), v in sorted(_values(slots).items()) if name == noise}
    if not values:
        return None
    full = {seed: v for (name, seed), v in _values(baseline).items() if name == noise}
    difference = paired_difference(values, full)
    runs = [slots[noise, seed] for seed in values]
    kept = [run.metric("kept_noise_rate") for run in runs]
    noise_rates = [rate for rate in kept if rate is not None]
    return Cell(
        accuracy=mean_interval(list(values.values())),
        difference=difference if difference.n else None,
        diverged=sum(run.diverged for run in runs),
        kept_noise=mean_interval(noise_rates) if noise_rates else None,
        auroc=_mean([run.metric("score_auroc") for run in runs]),
        worst_class=_mean([run.metric("worst_class_accuracy") for run in runs]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Full training, controls, methods by rank, oracles; equal means share a rank."""
    scores = [round(row.mean or 0.0, 9) for row in rows if row.kind == "method"]
    ranked = []
    for row in rows:
        if row.kind == "method":
            score = round(row.mean or 0.0, 9)
            rank = 1 + sum(other > score for other in scores)
            row = replace(row, rank=rank, tied=scores.count(score) > 1)
        ranked.append(row)
    return sorted(ranked, key=lambda row: (_place(row), row.rank or 0, row.label))
