"""What is wrong, missing or suspicious in a set of records, before anything is claimed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import FULL, PLANNED, Run, chosen, collect, difference
from prunebench.leaderboard.board.designs import group_by_design
from prunebench.leaderboard.board.labels import RowId, kind_of, noise_order, row_id, row_labels
from prunebench.leaderboard.board.mixed_sources import mixed_lines
from prunebench.leaderboard.board.rows import Slot
from prunebench.leaderboard.board.shared_protocol import check_design
from prunebench.leaderboard.board.tuned import refuse_leaks
from prunebench.leaderboard.filters import FilterError
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.row_text import OFF_RATIO
from prunebench.record import Record

#: An accuracy this many median deviations from those of its cell is worth a look.
OUTLYING = 8.0
_SPREAD = 1.4826
#: Detail of a table without full training, which may stand on another board.
NO_FULL = "no run of full training: no differences to it"


@dataclass(frozen=True)
class AuditFinding:
    """One thing to look at.

    Attributes:
        level: ``error`` refuses a leaderboard, ``warning`` shows on it, ``note`` is context.
        what: Kind, one word or two.
        where: Cell or key.
        detail: One line.
    """

    level: str
    what: str
    where: str
    detail: str


def audit(
    records: Sequence[Record], protocol: ProtocolFile | None = None, planned: Iterable[Record] = ()
) -> list[AuditFinding]:
    """All findings, errors first; empty where there is nothing to report.

    Looks for doubled runs, mixed protocols, missing, failed and diverged runs, unequal seeds,
    realised ratios off their nominal value, outlying and impossible figures, several machines,
    thread counts or code revisions, several sources of one plug-in, and label noise that differs
    from its nominal one.

    Args:
        records: Any records, the same one several times too.
        protocol: Filters; None looks at all.
        planned: Cells that grids asked for, whatever became of them; their status is ``planned``.

    Raises:
        FilterError: A filter that no record fits.
    """
    found: list[AuditFinding] = []
    by_key: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        by_key[record.key][record.digest] = record
    unique: list[Record] = []
    for key, same in sorted(by_key.items()):
        first, *others = same.values()
        what = next(filter(None, (difference(first, other) for other in others)), "")
        if what:
            detail = f"{len(same)} different records: {what}"
            found.append(AuditFinding("error", "conflict", key, detail))
        elif others:
            detail = f"{len(same)} records with equal results: one run"
            found.append(AuditFinding("note", "run twice", key, detail))
        unique.append(chosen(same.values()))
    if any(f.what == "conflict" for f in found):
        return sorted(found, key=lambda f: (f.level, f.where))
    try:
        runs = collect([*unique, *_never_run(unique, planned)], protocol).runs
        refuse_leaks(runs)
    except FilterError:
        raise
    except InputError as error:
        found.append(AuditFinding("error", "mixed protocols", "leaderboard", str(error)))
        runs = ()
    for design in group_by_design(runs):
        try:
            check_design(replace(design, runs=tuple(r for r in design.runs if _has_record(r))))
        except InputError as error:
            found.append(AuditFinding("error", "mixed protocols", design.label, str(error)))
        own, name = design.runs, design.label
        found += [*_doubles(own, name), *_states(own, name), *_gaps(own, name),
                  *_figures(own, name)]  # fmt: skip
    found += [AuditFinding("warning", "plug-in", "leaderboard", line)
              for line in mixed_lines(run.record for run in runs)]  # fmt: skip
    found += _machines(runs)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(set(found), key=lambda f: (order[f.level], f.what, f.where, f.detail))


def _place(run: Run, board: str) -> str:
    return f"{board}, {run.noise}, {run.method}, ratio {run.ratio:g}, seed {run.seed}"


def _doubles(runs: Iterable[Run], board: str) -> list[AuditFinding]:
    seen: dict[object, list[Run]] = defaultdict(list)
    for run in filter(_has_record, runs):
        seen[run.noise, row_id(run), run.ratio, run.seed].append(run)
    return [
        AuditFinding(
            "error",
            "doubled",
            _place(same[0], board),
            ", ".join(sorted(r.record.key for r in same)),
        )
        for same in seen.values()
        if len(same) > 1
    ]


def _states(runs: Iterable[Run], board: str) -> list[AuditFinding]:
    found = []
    for run in runs:
        if run.missing and _has_record(run):
            found.append(AuditFinding("warning", "missing", _place(run, board), run.missing))
        elif run.diverged:
            found.append(AuditFinding("warning", "diverged", _place(run, board), run.record.reason))
        if run.record.info.get("reference_leaks"):
            detail = "the clean reference is the test split"
            found.append(AuditFinding("warning", "leak", _place(run, board), detail))
    return found


def _has_record(run: Run) -> bool:
    return run.record.status != PLANNED


def _never_run(records: Iterable[Record], planned: Iterable[Record]) -> list[Record]:
    have = {record.key for record in records}
    return [record for record in planned if record.key not in have]


def _gaps(runs: Sequence[Run], board: str) -> list[AuditFinding]:
    """Cells that a row lacks: those that the other rows of its table have, and those that a grid
    asked for. Full training and controls are rows like the others."""
    found = []
    asked: dict[float, set[Slot]] = defaultdict(set)
    for run in runs:
        if not run.carried and kind_of(run) == "method" and run.accuracy is not None:
            asked[run.ratio].add((run.noise, run.seed))
    everywhere = {slot for slots in asked.values() for slot in slots}
    rows: dict[tuple[float, RowId], list[Run]] = defaultdict(list)
    for run in runs:
        rows[run.ratio, row_id(run)].append(run)
    labels = row_labels(runs)
    for (ratio, identity), own in sorted(rows.items()):
        wanted = everywhere if own[0].carried else asked[ratio]
        wanted = wanted | {(run.noise, run.seed) for run in own}
        have = {(run.noise, run.seed) for run in own if run.accuracy is not None}
        lacking = sorted(wanted - have, key=lambda slot: (noise_order(slot[0]), slot[1]))
        if lacking:
            shown = ", ".join(f"{noise} seed {seed}" for noise, seed in lacking[:3])
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            where = f"{board}, ratio {ratio:g}, {labels[identity]}"
            detail = f"lacks {shown}{more}: {len(lacking)} of {len(wanted)} cells"
            found.append(AuditFinding("warning", "incomplete", where, detail))
    if everywhere and not any(run.method == FULL for run in runs):
        found.append(AuditFinding("warning", "incomplete", f"{board}, full", NO_FULL))
    return found


def _figures(runs: Iterable[Run], board: str) -> list[AuditFinding]:
    found = []
    cells: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        if run.accuracy is None:
            continue
        cells[run.noise, row_id(run), run.ratio].append(run)
        realised = run.metric("realised_ratio")
        if realised is not None and abs(realised - run.ratio) > OFF_RATIO:
            detail = f"realised ratio {realised:.3f}"
            found.append(AuditFinding("warning", "ratio off", _place(run, board), detail))
        rate = run.record.info.get("noise_rate")
        wanted = _nominal_noise(run.record.spec["noise"]["name"])
        if rate is not None and wanted is not None and rate > wanted + 0.05:
            detail = f"{rate:.3f} of the labels are wrong"
            found.append(AuditFinding("warning", "noise off", _place(run, board), detail))
    for same in cells.values():
        values = sorted(run.accuracy or 0.0 for run in same)
        if len(values) < 3:
            continue
        middle = values[len(values) // 2]
        spread = sorted(abs(v - middle) for v in values)[len(values) // 2] * _SPREAD
        for run in same:
            away = abs((run.accuracy or 0.0) - middle)
            if away > OUTLYING * max(spread, 1.0):
                detail = f"{run.accuracy:.1f} % where the seeds' median is {middle:.1f} %"
                found.append(AuditFinding("warning", "outlier", _place(run, board), detail))
    return found


def _nominal_noise(name: str) -> float | None:
    kind, _, rate = name.partition(":")
    if kind == "clean":
        return 0.0
    try:
        value = float(rate)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _machines(runs: Iterable[Run]) -> list[AuditFinding]:
    found = []
    for name, what in (("device_class", "devices"), ("threads", "threads"), ("code", "code"),
                       ("torch", "torch versions"), ("tf32", "rounded to TF32")):  # fmt: skip
        values = {str(run.record.environment.get(name)) for run in runs} - {"None"}
        if len(values) > 1:
            found.append(AuditFinding("note", what, "leaderboard", ", ".join(sorted(values))))
    return found
