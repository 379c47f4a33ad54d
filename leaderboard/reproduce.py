"""Ours against the printed number, cell by cell, with every difference of set-up named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.labels import row_id, row_labels
from prunebench.leaderboard.published.numbers import Printed
from prunebench.leaderboard.published.papers import Paper
from prunebench.leaderboard.stats import mean_interval, paired_difference
from prunebench.registry import own_scored

MINUTES, PRUNED = "train_minutes", "mean percent of samples pruned per epoch"
#: Unit of what a module adds to its base.
POINTS = "points"
#: Data set, method, noise and criterion of a cell; our rows of it by label, then ratio and seed.
Place = tuple[str, str, str, str]
Rows = Mapping[str, Mapping[float, Mapping[int, Run]]]


@dataclass(frozen=True)
class Reproduced:
    """One printed number and ours.

    Attributes:
        tables: Tables of the paper that print it.
        dataset, method, noise: Names; of several rows of ours of one method, with the options that
            they differ in; ``a - b`` for what a module adds.
        ratio: Nominal ratio of our runs.
        unit: What the numbers are; points for what a module adds to its base.
        printed: The paper's number.
        ours: Mean over our seeds.
        n: Our seeds.
        half_width: Half of our 95 % t interval; None below three seeds.
        printed_gap, gap: Difference to full training, printed and ours (paired); accuracies only.
        gap_half_width: Half of its 95 % t interval.
        verdict: ``agrees`` where our interval holds the printed number, within its
            rounding; ``higher`` or ``lower``; ``undecided`` below three seeds.
        gap_verdict: The same of the gap; empty where there is none.
    """

    tables: str
    dataset: str
    method: str
    noise: str
    ratio: float
    unit: str
    printed: float
    ours: float
    n: int
    half_width: float | None
    printed_gap: float | None
    gap: float | None
    gap_half_width: float | None
    verdict: str
    gap_verdict: str


def reproduce(runs: Sequence[Run], printed: Iterable[Printed]) -> list[Reproduced]:
    """Every printed number that we have runs for, once for each of our rows of its method, and what
    modules add by both.

    A table that does not state its ratio is met by whatever single ratio we ran.

    Args:
        runs: Our evaluation runs.
        printed: The paper's numbers.

    Raises:
        InputError: None of the printed numbers has runs of ours, or a cell has two runs.
    """
    cells: dict[Place, dict[str, dict[float, dict[int, Run]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    doubled: dict[int, tuple[Run, Run]] = {}
    known = [run for run in runs if run.accuracy is not None and not run.params.get("proxy")]
    labels = row_labels(known)
    for run in known:
        criterion = "" if run.criterion == "ce" else run.criterion
        place = run.dataset, run.method, run.noise, criterion
        seeds = cells[place][labels[row_id(run)]][run.ratio]
        if seeds.setdefault(run.seed, run) is not run:
            doubled.setdefault(id(seeds), (seeds[run.seed], run))
    rows = list(printed)
    full = {(r.table, r.dataset, r.model, r.noise): r.value for r in rows
            if r.method == "full" and r.metric == "accuracy"}  # fmt: skip
    made: list[tuple[str, Reproduced]] = []
    for row in rows:
        if row.metric == "gap" or row.options or row.method.startswith("+"):
            continue
        dataset = row.dataset or "cifar100n"
        fulls = cells.get((dataset, "full", row.noise, row.relabel), {})
        base = next((by_ratio[0.0] for by_ratio in fulls.values() if 0.0 in by_ratio), {})
        printed_full = full.get((row.table, row.dataset, row.model, row.noise))
        for label, ratio, mine in _ours(cells, row, dataset):
            for own in (mine, base):
                if id(own) in doubled:
                    raise _ambiguous(*doubled[id(own)])
            made.append((row.relabel, _line(row, dataset, label, ratio, mine, base, printed_full)))
    made += _gains(cells, rows)
    found: dict[tuple[Any, ...], Reproduced] = {}
    for relabel, line in made:
        slot = (relabel, line.dataset, line.method, line.noise, line.ratio, line.unit, line.printed)
        old = found.get(slot)
        found[slot] = replace(line, tables=f"{old.tables}, {line.tables}") if old else line
    if not found:
        raise InputError("no printed number has runs here", where="reproduce",
                         accepted="records of the data sets, methods, noises and ratios that are "
                         "printed; for AlignPrune of a grid such as table-b, table-c or table-h"
                         )  # fmt: skip
    return list(found.values())


def _ambiguous(a: Run, b: Run) -> InputError:
    keys = " and ".join(sorted((a.record.key, b.record.key)))
    return InputError(
        f"two runs of {a.method}, {a.dataset}, {a.noise}, seed {a.seed}, ratio {a.ratio:g}: {keys}",
        where="reproduce",
        accepted="one run per cell; keep one recipe or budget with --recipe, --model, --budget or "
        "--where FIELD=VALUE",
    )


def _ours(
    cells: Mapping[Place, Rows], row: Printed, dataset: str
) -> Iterator[tuple[str, float, Mapping[int, Run]]]:
    """Label, ratio and runs by seed of our rows that a printed number is about."""
    rows: Rows = cells.get((dataset, row.method, row.noise, row.relabel), {})
    if row.metric == PRUNED and not row.noise:
        own = (place for place in sorted(cells) if place[:2] == (dataset, row.method))
        rows = next((cells[place] for place in own), {})
    for label, by_ratio in sorted(rows.items()):
        if row.ratio is None and len(by_ratio) == 1:
            yield label, *next(iter(by_ratio.items()))
        elif row.ratio is not None and row.ratio in by_ratio:
            yield label, row.ratio, by_ratio[row.ratio]


def _gains(
    cells: Mapping[Place, Rows], rows: Sequence[Printed]
) -> Iterator[tuple[str, Reproduced]]:
    """What a module adds to its base, where both are printed in one place and we have runs of both:
    the criterion, and a line for each of our rows with the module."""
    plain = [row for row in rows if row.metric == "accuracy" and not row.options]
    values = {(r.table, r.dataset, r.model, r.noise, r.relabel, r.ratio, r.method): r.value
              for r in plain}  # fmt: skip
    for row in plain:
        method = own_scored(row.method)
        if method == row.method:
            continue
        printed = values.get(
            (row.table, row.dataset, row.model, row.noise, row.relabel, row.ratio, method)
        )
        dataset = row.dataset or "cifar100n"
        bases = list(_ours(cells, replace(row, method=method), dataset))
        if printed is None or len(bases) != 1:
            continue
        base, ratio, theirs = bases[0]
        for label, own_ratio, mine in _ours(cells, row, dataset):
            if own_ratio != ratio:
                continue
            ours = paired_difference(_accuracies(mine), _accuracies(theirs))
            if not ours.n:
                continue
            gain = round(row.value - printed, 6)
            yield row.relabel, Reproduced(
                tables=row.table, dataset=dataset, method=f"{label} - {base}",
                noise=row.noise or "-",
                ratio=ratio, unit=POINTS, printed=gain, ours=ours.mean, n=ours.n,
                half_width=ours.half_width, printed_gap=None, gap=None, gap_half_width=None,
                verdict=_verdict(ours.mean, ours.half_width, gain, 10.0**-row.decimals),
                gap_verdict="",
            )  # fmt: skip


def _accuracies(seeds: Mapping[int, Run]) -> dict[int, float]:
    return {seed: run.accuracy or 0.0 for seed, run in seeds.items()}


def _line(
    row: Printed, dataset: str, label: str, ratio: float, seeds: Mapping[int, Run],
    base: Mapping[int, Run], printed_full: float | None,
) -> Reproduced:  # fmt: skip
    unit, values = _values(row, seeds)
    rounding = 0.5 * 10.0**-row.decimals
    own = mean_interval([values[s] for s in sorted(values)])
    gap = printed_gap = half = None
    verdict_gap = ""
    if row.metric == "accuracy" and row.method != "full" and printed_full is not None and base:
        difference = paired_difference(values, _accuracies(base))
        if difference.n:
            gap, half = difference.mean, difference.half_width
            printed_gap = round(row.value - printed_full, 6)
            verdict_gap = _verdict(gap, half, printed_gap, 2 * rounding)
    return Reproduced(
        tables=row.table, dataset=dataset, method=label, noise=row.noise or "-", ratio=ratio,
        unit=unit, printed=row.value, ours=own.mean, n=own.n, half_width=own.half_width,
        printed_gap=printed_gap, gap=gap, gap_half_width=half,
        verdict=_verdict(own.mean, own.half_width, row.value, rounding),
        gap_verdict=verdict_gap,
    )  # fmt: skip


def _values(row: Printed, seeds: Mapping[int, Run]) -> tuple[str, dict[int, float]]:
    if row.metric == MINUTES:
        return "minutes", {s: float(r.record.timing.get("train_s", 0.0)) / 60
                           for s, r in seeds.items()}  # fmt: skip
    if row.metric == PRUNED:
        return "% pruned per epoch", {s: _pruned(r) for s, r in seeds.items()}
    return "% accuracy", _accuracies(seeds)


def _pruned(run: Run) -> float:
    ledger, size = run.record.ledger, run.record.info.get("train_size", 0)
    seen = ledger.get("epochs", 0) * size
    return 100.0 * (1.0 - ledger.get("trained", 0) / seen) if seen else 0.0


def _verdict(ours: float, half: float | None, printed: float, rounding: float) -> str:
    if half is None:
        return "undecided"
    if abs(ours - printed) <= half + rounding:
        return "agrees"
    return "higher" if ours > printed else "lower"


def setup_differences(runs: Sequence[Run], paper: Paper) -> dict[str, list[str]]:
    """What our runs do otherwise than the paper states, by data set that it speaks of."""
    stated = paper.setup
    found: dict[str, list[str]] = {}
    for dataset in sorted({run.dataset for run in runs} & stated.keys()):
        own = [run for run in runs if run.dataset == dataset and run.accuracy is not None]
        if not own:
            continue
        lines = []
        for field, wanted in stated[dataset].items():
            values = {_field(run.record.spec, field) for run in own}
            differing = sorted(str(v) for v in values if v != wanted)
            if differing:
                lines.append(f"{field} {', '.join(differing)} (paper: {wanted})")
        lines += _unstated(own)
        seeds = len({run.seed for run in own})
        if paper.seeds not in (None, seeds):
            lines.append(f"{seeds} seeds (paper: {paper.seeds})")
        found[dataset] = lines
    return found


def _unstated(runs: Sequence[Run]) -> list[str]:
    """Differences that no field of the paper's table names."""
    lines = []
    for name, what in (("limit", "training samples used"), ("test_limit", "test samples used"),
                       ("images", "image files")):  # fmt: skip
        values = {run.record.spec["dataset"].get("params", {}).get(name) for run in runs} - {None}
        if values:
            lines.append(f"{what}: {', '.join(sorted(map(str, values)))}")
    params = {str(run.record.spec["recipe"].get("model_params") or {}) for run in runs}
    if params != {"{}"} and params != {"{'init': 'pytorch'}"}:
        lines.append(f"network options {', '.join(sorted(params))}")
    return lines


def _field(spec: Mapping[str, Any], path: str) -> Any:
    value: Any = spec
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
