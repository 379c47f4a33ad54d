"""Rows, cells and ranks of one table, from runs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.labels import KINDS, kind_of
from prunebench.leaderboard.board.model import CorruptedKept, Row, TableCell
from prunebench.leaderboard.board.time_ratio import time_ratio
from prunebench.leaderboard.stats import MeanInterval, mean_interval, paired_difference
from prunebench.leaderboard.stats.exact import Number, exact, mean_of

Slot = tuple[str, int]
Slots = dict[Slot, Run]


def place(row: Row) -> int:
    """Full training first, then controls, methods, oracles."""
    return KINDS.index(row.kind)


def make_row(
    label: str,
    slots: Slots,
    reference: Slots,
    full: Slots,
    noises: Sequence[str],
    asked: set[Slot],
    unequal: bool = False,
) -> Row:
    """One row.

    Args:
        label: Its name.
        slots: Its runs by (noise, seed).
        reference: Those of the reference row; empty for that row itself.
        full: Those of full training, for times.
        noises: Columns in order.
        asked: What a complete row has.
        unequal: Whether the balanced accuracy of some run of the table is not its accuracy.
    """
    first = next(iter(slots.values()))
    kind = kind_of(first)
    runs = [run for _, run in sorted(slots.items()) if run.accuracy is not None]
    mine, theirs = values_of(slots), values_of(reference)
    own, other = _by_noise(mine), _by_noise(theirs)
    cells = tuple(_cell(noise, slots, own, other, unequal) for noise in noises)
    lacking = Counter(
        slots[slot].missing if slot in slots else "no record"
        for slot in asked
        if slot not in slots or slots[slot].accuracy is None
    )
    complete = not lacking
    paired = complete and len(theirs) == len(asked)
    sizes = [cell.accuracy.n if cell else 0 for cell in cells]
    choice = [run.record.timing.get("choice_s") for run in runs]
    used = {str(run.record.info.get("clean_labels_used") or "") for run in slots.values()}
    whole = [run.metric("whole_epochs") for run in runs]
    return Row(
        label=label,
        kind=kind,
        cells=cells,
        present=len(runs),
        expected=len(asked),
        missing=tuple(sorted(lacking.items())),
        mean=mean_over_noises(mine) if complete else None,
        difference=mean_over_noises(_differences(mine, theirs)) if paired else None,
        nominal=first.ratio,
        realised=_mean([run.metric("realised_ratio") for run in runs]),
        compute=_mean([run.metric("compute_ratio") for run in runs]),
        epochs_begun=_mean([run.record.ledger.get("epochs") for run in runs]),
        steps=_mean([run.record.ledger.get("steps") for run in runs]),
        worst_class=_mean([run.metric("worst_class_accuracy") for run in runs]),
        balanced=_mean([run.metric("balanced_accuracy") for run in runs]) if unequal else None,
        worst_group=_mean([run.metric("worst_group_accuracy") for run in runs]),
        seeds=(min(sizes), max(sizes)),
        clean_labels=", ".join(sorted(used - {""})),
        leaks=any(run.record.info.get("reference_leaks") for run in slots.values()),
        whole_epochs=None if None in whole else _mean(whole),
        time=time_ratio(slots, full) if kind != "full" else None,
        choice_s=None if None in choice else _mean(choice),
    )


def values_of(slots: Slots) -> dict[Slot, float]:
    """Accuracy in percent of the runs that have one."""
    return {slot: run.accuracy for slot, run in slots.items() if run.accuracy is not None}


def mean_over_noises(values: Mapping[Slot, Number]) -> float:
    """Mean of the noise settings' means over seeds: equal means are equal floats."""
    by_noise: dict[str, list[Number]] = defaultdict(list)
    for (noise, _), value in values.items():
        by_noise[noise].append(value)
    return float(mean_of(by_noise.values()))


def _by_noise(values: Mapping[Slot, float]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for (noise, seed), value in sorted(values.items()):
        found[noise][seed] = value
    return dict(found)


def _differences(mine: Mapping[Slot, float], theirs: Mapping[Slot, float]) -> dict[Slot, Number]:
    return {slot: exact(mine[slot]) - exact(theirs[slot]) for slot in mine.keys() & theirs.keys()}


def unequal_classes(runs: Iterable[Run]) -> bool:
    """Whether the balanced accuracy of a run is not its plain accuracy, as where the test classes
    have unequal sizes."""
    pairs = ((run.metric("balanced_accuracy"), run.metric("test_accuracy")) for run in runs)
    return any(a is not None and b is not None and exact(a) != exact(b) for a, b in pairs)


def _cell(
    noise: str,
    slots: Slots,
    own: Mapping[str, Mapping[int, float]],
    reference: Mapping[str, Mapping[int, float]],
    unequal: bool,
) -> TableCell | None:
    values = own.get(noise)
    if not values:
        return None
    difference = paired_difference(values, reference.get(noise, {}))
    runs = [slots[noise, seed] for seed in values]
    return TableCell(
        accuracy=mean_interval(list(values.values())),
        difference=difference if difference.n else None,
        diverged=sum(run.diverged for run in runs),
        kept_noise=_interval(runs, "kept_noise_rate"),
        auroc=_mean([run.metric("score_auroc") for run in runs]),
        worst_class=_mean([run.metric("worst_class_accuracy") for run in runs]),
        balanced=_mean([run.metric("balanced_accuracy") for run in runs]) if unequal else None,
        worst_group=_mean([run.metric("worst_group_accuracy") for run in runs]),
        kept_weight=_interval(runs, "kept_noise_weight", every=True),
        corrupted=_corrupted(runs),
    )


def _corrupted(runs: Sequence[Run]) -> CorruptedKept | None:
    rate = _interval(runs, "kept_corrupted_rate")
    if rate is None:
        return None
    weight = _interval(runs, "kept_corrupted_weight", every=True)
    return CorruptedKept(rate, weight, _mean([r.metric("score_auroc_corrupted") for r in runs]))


def _interval(runs: Sequence[Run], name: str, every: bool = False) -> MeanInterval | None:
    """A metric over the runs that have it; None where none has, or with ``every`` where one lacks
    it."""
    known = [value for run in runs if (value := run.metric(name)) is not None]
    return None if not known or (every and len(known) < len(runs)) else mean_interval(known)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def ranked_rows(rows: Sequence[Row]) -> list[Row]:
    """Full training, controls, methods by rank, oracles; equal means share a rank."""
    scores = [row.mean or 0.0 for row in rows if row.kind == "method"]
    ranked = []
    for row in rows:
        if row.kind == "method":
            score = row.mean or 0.0
            rank = 1 + sum(other > score for other in scores)
            row = replace(row, rank=rank, tied=scores.count(score) > 1)
        ranked.append(row)
    return sorted(ranked, key=lambda row: (place(row), row.rank or 0, row.label))


def diverged_as_chance(rows: Sequence[Row], slots_of: Mapping[str, Slots]) -> tuple[str, ...]:
    """One line where counting diverged runs as chance moves a rank; empty otherwise.

    Args:
        rows: Complete rows with their ranks.
        slots_of: Runs of each row by label.
    """
    ranked = [row for row in rows if row.rank is not None]
    if not any(run.diverged for row in ranked for run in slots_of[row.label].values()):
        return ()
    means = {row.label: mean_over_noises(_as_chance(slots_of[row.label])) for row in ranked}
    moved = []
    for row in ranked:
        rank = 1 + sum(other > means[row.label] for other in means.values())
        if rank != row.rank:
            moved.append(f"{row.label} {row.rank} → {rank}")
    if not moved:
        return ("Counting diverged runs as chance changes no rank.",)
    return (f"Counting diverged runs as chance changes ranks: {', '.join(moved)}.",)


def _as_chance(slots: Slots) -> dict[Slot, Number]:
    return {
        slot: run.chance if run.diverged and run.chance is not None else run.accuracy or 0.0
        for slot, run in slots.items()
    }
