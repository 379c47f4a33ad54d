"""What runs train until they reach a share of full training's final accuracy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Board, Row, Table
from prunebench.leaderboard.board.scored_with import scoring_samples
from prunebench.leaderboard.board.time_ratio import UNSTEADY, machine_of
from prunebench.leaderboard.learning_curves.curves import Curve, Point, Reader, curve_of
from prunebench.leaderboard.stats import MedianInterval, median_interval
from prunebench.leaderboard.stats.exact import exact

Slot = tuple[str, int]
Curves = Mapping[Slot, Curve | str]


@dataclass(frozen=True)
class ToTarget:
    """One row under one noise setting and one target; values over seeds, not reached is infinite.

    Attributes:
        label, kind: Of the row.
        noise: Of the column.
        target: Share of full training's final accuracy with the same seed.
        n: Runs with a curve, and full training of their seed beside them.
        reached: How many of them reach it.
        lacking: (reason, count) of the other runs.
        accuracy: Mean of the accuracies to reach, a share; None without a run.
        epochs: Epochs done when it is first reached.
        trained: Samples trained until then.
        spent: The same with forward-only passes at a third, as the column ``compute`` counts; None
            where a record of an earlier version does not hold them.
        share: ``spent`` over that of full training to the same target, by seed.
        share_with_scoring: The same with the scoring run that the method rests on, all of it; None
            where that run is of another network.
        seconds: Training time until then; None where the runs were not timed on one kind of
            machine, full training among them.
        machine: That machine.
        unsteady: Whether the epoch times of these runs, or of full training's, vary too much for
            the seconds to be relied on.
        other_network: Whether the scoring run is of another network than the trained one.
    """

    label: str
    kind: str
    noise: str
    target: float
    n: int
    reached: int
    lacking: tuple[tuple[str, int], ...]
    accuracy: float | None
    epochs: MedianInterval | None
    trained: MedianInterval | None
    spent: MedianInterval | None
    share: MedianInterval | None
    share_with_scoring: MedianInterval | None
    seconds: MedianInterval | None
    machine: str = ""
    unsteady: bool = False
    other_network: bool = False


@dataclass(frozen=True)
class TargetTable:
    """All rows of one table of the board, for every target."""

    table: Table
    targets: tuple[float, ...]
    found: tuple[ToTarget, ...]

    def of(self, target: float) -> dict[str, dict[str, ToTarget]]:
        """By row, then noise setting."""
        by_row: dict[str, dict[str, ToTarget]] = {}
        for one in self.found:
            if one.target == target:
                by_row.setdefault(one.label, {})[one.noise] = one
        return by_row


def target_tables(
    board: Board, read: Reader, faults: list[InputError] | None = None
) -> tuple[TargetTable, ...]:
    """One for each table of a board in which full training and a run beside it have curves.

    Args:
        board: The board.
        read: Gives artifacts.
        faults: Takes artifacts that cannot be used: their runs count as without a curve. Without
            it the first one is raised.

    Raises:
        InputError: An artifact that is not its record's, or no table of epochs.
    """
    known: dict[str, Curve | str] = {}

    def curve(run: Run) -> Curve | str:
        key = run.record.key
        if key not in known:
            try:
                known[key] = curve_of(run, read)
            except InputError as fault:
                if faults is None:
                    raise
                faults.append(fault)
                known[key] = "its table of epochs cannot be used"
        return known[key]

    made = (_table(table, board.protocol.target, curve) for table in board.tables)
    return tuple(one for one in made if one is not None)


def curves_of(table: Table, label: str, read: Reader) -> dict[Slot, Curve | str]:
    """Curves of a row's runs by (noise, seed)."""
    return {slot: curve_of(run, read) for slot, run in sorted(table.runs.get(label, {}).items())}


def full_row(table: Table) -> str | None:
    """Label of full training."""
    rows = (*table.rows, *table.incomplete)
    return next((row.label for row in rows if row.kind == "full"), None)


def _table(
    table: Table, targets: Sequence[float], curve: Callable[[Run], Curve | str]
) -> TargetTable | None:
    full = full_row(table)
    if full is None:
        return None
    curves = {label: {slot: curve(run) for slot, run in sorted(runs.items())}
              for label, runs in table.runs.items()}  # fmt: skip
    beside = [c for label, own in curves.items() if label != full for c in own.values()]
    if not all(any(isinstance(c, Curve) for c in own) for own in (curves[full].values(), beside)):
        return None
    found = [
        _to_target(table, row, curves[row.label], full, curves[full], noise, target)
        for target in targets
        for row in (*table.rows, *table.incomplete)
        for noise in table.noises
    ]
    return TargetTable(table, tuple(targets), tuple(found)) if any(o.n for o in found) else None


@dataclass(frozen=True)
class _Pair:
    """A run and full training of its seed: where each first reaches the target."""

    run: Run
    mine: Point | None
    end: Point
    full: Run
    theirs: Point
    full_end: Point


def first_reached(curve: Curve, accuracy: Fraction) -> Point | None:
    """The first evaluation that is as accurate, whatever comes after it."""
    return next((p for p in curve.points if exact(p.accuracy) >= accuracy), None)


def _pairs(
    table: Table, label: str, own: Curves, full: str, full_curves: Curves, noise: str, target: float
) -> tuple[list[_Pair], list[Fraction], Counter[str]]:
    """Runs with full training of their seed beside them, the accuracy that each is to reach, and
    why the others have none."""
    lacking: Counter[str] = Counter()
    pairs: list[_Pair] = []
    wanted: list[Fraction] = []
    for slot, curve in own.items():
        if slot[0] != noise:
            continue
        other = full_curves.get(slot, "no full training of its seed")
        if isinstance(other, Curve) and table.runs[full][slot].record.status == "diverged":
            other = "it diverged"
        if isinstance(curve, str):
            lacking[curve] += 1
        elif isinstance(other, str):
            lacking[f"full training: {other}" if slot in full_curves else other] += 1
        else:
            goal = exact(target) * exact(other.end.accuracy)
            theirs = first_reached(other, goal)
            assert theirs is not None  # its own last point reaches a share of itself
            mine = first_reached(curve, goal)
            run, base = table.runs[label][slot], table.runs[full][slot]
            pairs.append(_Pair(run, mine, curve.end, base, theirs, other.end))
            wanted.append(goal)
    return pairs, wanted, lacking


def shares_by_run(
    table: Table, read: Reader, target: float, faults: list[InputError]
) -> dict[str, dict[Slot, float]]:
    """Cost until the target over that of full training, by row and run; infinite where the run
    does not reach it. Runs without a curve, or whose cost is not known, are left out.

    Args:
        table: The table.
        read: Gives artifacts.
        target: Share of full training's final accuracy with the same seed.
        faults: Takes artifacts that cannot be used.
    """
    full = full_row(table)
    if full is None:
        return {}
    curves: dict[str, dict[Slot, Curve | str]] = {label: {} for label in table.runs}
    for label, runs in table.runs.items():
        for slot, run in sorted(runs.items()):
            try:
                curves[label][slot] = curve_of(run, read)
            except InputError as fault:
                faults.append(fault)
    found: dict[str, dict[Slot, float]] = {}
    for label, own in curves.items():
        found[label] = {}
        for noise in table.noises:
            pairs, _, _ = _pairs(table, label, own, full, curves[full], noise, target)
            shares = ((pair, _share(pair, 0.0)) for pair in pairs)
            found[label] |= {(noise, pair.run.seed): share for pair, share in shares
                             if share is not None}  # fmt: skip
    return found


def _to_target(
    table: Table, row: Row, own: Curves, full: str, full_curves: Curves, noise: str, target: float
) -> ToTarget:
    pairs, wanted, lacking = _pairs(table, row.label, own, full, full_curves, noise, target)
    shares = [_share(pair, 0.0) for pair in pairs]
    before = [scoring_samples(pair.run.record) for pair in pairs]
    charged = [None if more is None else _share(pair, more)
               for pair, more in zip(pairs, before, strict=True)]  # fmt: skip
    seconds, machine = _seconds(pairs)
    return ToTarget(
        label=row.label, kind=row.kind, noise=noise, target=target, n=len(pairs),
        reached=sum(pair.mine is not None for pair in pairs),
        lacking=tuple(sorted(lacking.items())),
        accuracy=float(sum(wanted, Fraction(0)) / len(wanted)) if wanted else None,
        epochs=_median([math.inf if p.mine is None else p.mine.epoch for p in pairs]),
        trained=_median([math.inf if p.mine is None else p.mine.trained for p in pairs]),
        spent=_median([math.inf if p.mine is None else p.mine.spent for p in pairs]),
        share=_median(shares), share_with_scoring=_median(charged),
        seconds=_median(seconds), machine=machine,
        unsteady=any(_unsteady(own) for own in zip(*((p.run, p.full) for p in pairs), strict=True)),
        other_network=None in before,
    )  # fmt: skip


def _median(values: Sequence[float | None]) -> MedianInterval | None:
    known = [value for value in values if value is not None]
    return median_interval(known) if known and len(known) == len(values) else None


def _share(pair: _Pair, before: float) -> float | None:
    """Cost until the target over that of full training, with what came before the run."""
    if pair.mine is None:
        return math.inf
    if pair.mine.spent is None or not pair.theirs.spent:
        return None
    return (pair.mine.spent + before) / pair.theirs.spent


def _seconds(pairs: Sequence[_Pair]) -> tuple[list[float | None], str]:
    """Training time until the target, and the machine; empty where the times are not of one.

    Records hold the time of the whole training: the time until the target is the part of it that is
    as large as the part of the run's samples (``spent``) that it took.
    """
    machines = {machine_of(run) for pair in pairs for run in (pair.run, pair.full)}
    if len(machines) != 1:
        return [], ""
    found: list[float | None] = []
    for pair in pairs:
        whole = pair.run.record.timing.get("train_s")
        if not whole or (pair.mine is not None and not (pair.mine.spent and pair.end.spent)):
            return [], ""
        if pair.mine is None:
            found.append(math.inf)
        else:
            found.append(whole * (pair.mine.spent or 0.0) / (pair.end.spent or 1.0))
    return found, machines.pop()


def _unsteady(runs: Sequence[Run]) -> bool:
    """Whether the median epochs of some runs differ by more than times may."""
    found = [run.record.timing.get("epoch_s") for run in runs]
    times = [time for time in found if time]
    return bool(times) and max(times) / min(times) > UNSTEADY


def cells(tables: Sequence[TargetTable]) -> Iterator[tuple[TargetTable, ToTarget]]:
    """Every (table, row, noise, target)."""
    for table in tables:
        for one in table.found:
            yield table, one
