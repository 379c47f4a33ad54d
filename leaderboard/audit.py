"""What is wrong, missing or suspicious in a set of records, before anything is claimed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prunebench.errors import InputError
from prunebench.leaderboard.aggregate import Run, collect
from prunebench.leaderboard.designs import designs
from prunebench.leaderboard.filters import FilterError
from prunebench.leaderboard.labels import kind_of, row_id
from prunebench.leaderboard.protocol import check_design
from prunebench.leaderboard.settings import Settings
from prunebench.leaderboard.text import OFF_RATIO
from prunebench.leaderboard.tuned import refuse_leaks
from prunebench.record import Record

#: An accuracy this many median deviations from those of its cell is worth a look.
OUTLYING = 8.0
_SPREAD = 1.4826


@dataclass(frozen=True)
class Finding:
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


def audit(records: Sequence[Record], settings: Settings | None = None) -> list[Finding]:
    """All findings, errors first; empty where nothing is worth saying.

    Looks for doubled runs, mixed protocols, missing, failed and diverged runs, unequal seeds,
    realised ratios off their nominal value, outlying and impossible figures, several machines,
    thread counts or code revisions, and label noise that differs from what its name says.

    Args:
        records: Any records, the same one several times too.
        settings: Filters; None looks at all.

    Raises:
        FilterError: A filter that no record fits.
    """
    found: list[Finding] = []
    keys = Counter(record.key for record in records)
    unique = {record.digest: record for record in records}
    for key, n in sorted(keys.items()):
        digests = {r.digest for r in unique.values() if r.key == key} if n > 1 else set()
        if len(digests) > 1:
            found.append(Finding("error", "conflict", key, f"{len(digests)} different records"))
    if any(f.what == "conflict" for f in found):
        return found
    try:
        runs = collect(unique.values(), settings).runs
        refuse_leaks(runs)
    except FilterError:
        raise
    except InputError as error:
        found.append(Finding("error", "mixed protocols", "leaderboard", str(error)))
        runs = ()
    for design in designs(runs):
        try:
            check_design(design)
        except InputError as error:
            found.append(Finding("error", "mixed protocols", design.label, str(error)))
        own, name = design.runs, design.label
        found += [*_doubles(own, name), *_states(own, name), *_gaps(own, name),
                  *_figures(own, name)]  # fmt: skip
    found += _machines(runs)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(set(found), key=lambda f: (order[f.level], f.what, f.where, f.detail))


def _place(run: Run, board: str) -> str:
    return f"{board}, {run.noise}, {run.method}, ratio {run.ratio:g}, seed {run.seed}"


def _doubles(runs: Iterable[Run], board: str) -> list[Finding]:
    seen: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        seen[run.noise, row_id(run), run.ratio, run.seed].append(run)
    return [
        Finding(
            "error",
            "doubled",
            _place(same[0], board),
            ", ".join(sorted(r.record.key for r in same)),
        )
        for same in seen.values()
        if len(same) > 1
    ]


def _states(runs: Iterable[Run], board: str) -> list[Finding]:
    found = []
    for run in runs:
        if run.missing:
            found.append(Finding("warning", "missing", _place(run, board), run.missing))
        elif run.diverged:
            found.append(Finding("warning", "diverged", _place(run, board), run.record.reason))
        if run.record.info.get("reference_leaks"):
            detail = "the clean reference is the test split"
            found.append(Finding("warning", "leak", _place(run, board), detail))
    return found


def _gaps(runs: Iterable[Run], board: str) -> list[Finding]:
    """Cells that other rows of the same table have."""
    tables: dict[float, dict[object, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if kind_of(run) == "method" and run.accuracy is not None:
            tables[run.ratio][row_id(run)].append(run)
    found = []
    for ratio, rows in sorted(tables.items()):
        asked = {(run.noise, run.seed) for row in rows.values() for run in row}
        for row in rows.values():
            lacking = sorted(asked - {(run.noise, run.seed) for run in row})
            if lacking:
                shown = ", ".join(f"{noise} seed {seed}" for noise, seed in lacking[:3])
                more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
                where = f"{board}, ratio {ratio:g}, {row[0].method}"
                found.append(Finding("warning", "incomplete", where, f"lacks {shown}{more}"))
    return found


def _figures(runs: Iterable[Run], board: str) -> list[Finding]:
    found = []
    cells: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        if run.accuracy is None:
            continue
        cells[run.noise, row_id(run), run.ratio].append(run)
        realised = run.metric("realised_ratio")
        if realised is not None and abs(realised - run.ratio) > OFF_RATIO:
            detail = f"realised ratio {realised:.3f}"
            found.append(Finding("warning", "ratio off", _place(run, board), detail))
        rate = run.record.info.get("noise_rate")
        wanted = _nominal_noise(run.noise)
        if rate is not None and wanted is not None and rate > wanted + 0.05:
            detail = f"{rate:.3f} of the labels are wrong"
            found.append(Finding("warning", "noise off", _place(run, board), detail))
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
                found.append(Finding("warning", "outlier", _place(run, board), detail))
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


def _machines(runs: Iterable[Run]) -> list[Finding]:
    found = []
    for name, what in (("device_class", "devices"), ("threads", "threads"), ("code", "code"),
                       ("torch", "torch versions")):  # fmt: skip
        values = {str(run.record.environment.get(name)) for run in runs} - {"None"}
        if len(values) > 1:
            found.append(Finding("note", what, "leaderboard", ", ".join(sorted(values))))
    return found
