"""Clean and wrong samples over the epochs: stored losses, and what the network has memorised."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Board, Row, Table
from prunebench.leaderboard.figures.stored_losses import Losses
from prunebench.leaderboard.inference.series import Cell
from prunebench.leaderboard.number_text import span
from prunebench.leaderboard.report.model import (
    Column,
    Estimate,
    Lacking,
    ReportSection,
    ReportTable,
    Value,
)
from prunebench.leaderboard.report.sample_files import SampleFiles, auroc
from prunebench.leaderboard.report.tested import Tested, tested, verdicts
from prunebench.leaderboard.stats import mean_interval
from prunebench.leaderboard.stats.exact import Number, exact

COMMAND = "prunebench grid report-digits"
#: Metrics of a record, and columns of its table of epochs, that say what a network makes of
#: training labels: shares of wrong labels that it predicts, of samples with a wrong label whose
#: clean one it predicts, and of right labels that it predicts.
FITTED = ("wrong_label_accuracy", "wrong_label_corrected", "right_label_accuracy")
#: Moments of a run that are looked at, as shares of its stored epochs.
MOMENTS = {"half_way": 0.5, "end": 1.0}


@dataclass(frozen=True)
class Stored:
    """Losses of one run half way and at its end.

    Attributes:
        epochs: Numbers of the epochs.
        clean, wrong: Median of the last losses of samples visited so far; NaN without one.
        auroc: Probability that a wrong label's loss is above a right one's; NaN likewise.
    """

    epochs: tuple[int, ...]
    clean: tuple[float, ...]
    wrong: tuple[float, ...]
    auroc: tuple[float, ...]


@dataclass(frozen=True)
class Trajectory:
    """Runs of one row under one setting that stored losses, by seed."""

    table: Table
    row: Row
    noise: str
    runs: Mapping[int, Stored]


@dataclass(frozen=True)
class Fitted:
    """What the networks of one row make of training labels at the end, by measure and seed."""

    table: Table
    row: Row
    noise: str
    values: Mapping[str, Mapping[int, float]]


def measured(files: SampleFiles) -> tuple[Trajectory, ...]:
    """Every row with stored losses."""
    found: list[Trajectory] = []
    known: dict[str, Stored] = {}
    for table in files.material.board.tables:
        for row in (*table.rows, *table.incomplete):
            for noise in table.noises:
                runs: dict[int, Stored] = {}
                for (name, seed), run in sorted(table.runs[row.label].items()):
                    if name != noise:
                        continue
                    key = run.record.key
                    if key not in known and (losses := files.losses(run)) is not None:
                        known[key] = _stored(losses)
                    if key in known:
                        runs[seed] = known[key]
                if runs:
                    found.append(Trajectory(table, row, noise, runs))
    return tuple(found)


def _stored(losses: Losses) -> Stored:
    last = len(losses.epochs) - 1
    places = [round(share * last) for share in MOMENTS.values()]
    clean, wrong = ([_median(losses.loss[place, losses.wrong == side]) for place in places]
                    for side in (False, True))  # fmt: skip
    scores = [auroc(losses.loss[place], losses.wrong) for place in places]
    return Stored(
        tuple(int(losses.epochs[place]) for place in places), tuple(clean), tuple(wrong),
        tuple(math.nan if score is None else score for score in scores),
    )  # fmt: skip


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def fitted(board: Board) -> tuple[Fitted, ...]:
    """Every row whose records say what its networks make of training labels."""
    found = []
    for table in board.tables:
        for row in (*table.rows, *table.incomplete):
            for noise in table.noises:
                own = {seed: run for (name, seed), run in sorted(table.runs[row.label].items())
                       if name == noise and run.accuracy is not None}  # fmt: skip
                values = {name: _metric(own, name) for name in FITTED}
                if values[FITTED[0]]:
                    found.append(Fitted(table, row, noise, values))
    return tuple(found)


def _metric(runs: Mapping[int, Run], name: str) -> dict[int, float]:
    found = {seed: run.metric(name) for seed, run in runs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def loss_families(found: tuple[Trajectory, ...], alpha: float) -> tuple[Tested, ...]:
    """Per design: does the last loss tell wrong from clean better or worse than in full
    training?"""
    values = [
        (one, {seed: run.auroc[-1] for seed, run in one.runs.items() if _known(run.auroc[-1])})
        for one in found
    ]
    return _against_full("loss of wrong labels", values, alpha)


def fitted_families(found: tuple[Fitted, ...], alpha: float) -> tuple[Tested, ...]:
    """Per design: does a row memorise another share of wrong labels than full training?"""
    values = [(one, one.values[FITTED[0]]) for one in found]
    return _against_full("memorised labels", values, alpha, 100)


def _known(value: float) -> bool:
    return not math.isnan(value)


def _against_full(
    name: str,
    values: Sequence[tuple[Trajectory | Fitted, Mapping[int, float]]],
    alpha: float,
    times: int = 1,
) -> tuple[Tested, ...]:
    full = {(one.table.dataset, one.table.ratio, one.noise): own for one, own in values
            if one.row.kind == "full"}  # fmt: skip
    by_design: dict[str, dict[str, dict[Cell, Mapping[int, Number]]]] = defaultdict(dict)
    for one, own in values:
        table = one.table
        other = full.get((table.dataset, table.ratio, one.noise), {})
        d = {seed: times * (exact(own[seed]) - exact(other[seed]))
             for seed in sorted(own.keys() & other.keys())}  # fmt: skip
        if d and one.row.kind not in ("full", "oracle"):
            cells = by_design[table.dataset].setdefault(one.row.label, {})
            cells[one.noise, table.ratio] = d
    made = (tested(name, dataset, own, alpha) for dataset, own in by_design.items())
    return tuple(one for one in made if one is not None)


def section(
    stored: tuple[Trajectory, ...],
    fit: tuple[Fitted, ...],
    losses: tuple[Tested, ...],
    memorised: tuple[Tested, ...],
    count: int,
) -> ReportSection:
    """Sentences and tables.

    Args:
        stored, fit: As measured.
        losses, memorised: Their families.
        count: Families of the report.
    """
    about = (
        "Losses of samples with a right and with a wrong label while runs train, and the share of "
        "wrong labels that the network predicts itself (memorised). Tested, by seed against full "
        "training: the AUROC of the last loss for wrong labels, and the share memorised."
    )
    tell = "The last losses tell wrong labels"
    said = verdicts(losses, count, f"{tell} better than full training's do",
                    f"{tell} worse than full training's do", "of AUROC", 3)  # fmt: skip
    said += verdicts(memorised, count, "More wrong labels memorised than by full training",
                     "Fewer wrong labels memorised than by full training", "points")  # fmt: skip
    lacking = []
    if not stored:
        lacking.append(Lacking(
            "no run at hand stored losses of samples under wrong labels",
            "`losses = []` in the grid, or `--record-losses all` of `prunebench run`; packed "
            "records have no artifacts", COMMAND,
        ))  # fmt: skip
    if not fit:
        lacking.append(Lacking(
            "no record says which share of wrong labels its network predicts (metric "
            f"`{FITTED[0]}`)", "`recipe_params = { label_fit = 200 }` in the grid", COMMAND,
        ))  # fmt: skip
    tables = [table for table in (_losses(stored), _fitted(fit)) if table.rows]
    return ReportSection("trajectories", "What becomes of clean and wrong samples in training?",
                         about, tuple(said), tuple(tables), lacking=tuple(lacking))  # fmt: skip


def _losses(found: tuple[Trajectory, ...]) -> ReportTable:
    columns = [
        Column("method", "method"), Column("dataset", "data"), Column("setting", "setting"),
        Column("ratio", "ratio", 2), Column("seeds", "n", 0),
    ]  # fmt: skip
    for moment in MOMENTS:
        words = moment.replace("_", " ")
        columns += [
            Column(f"epoch_{moment}", f"epoch, {words}"),
            Column(f"clean_{moment}", "loss, right labels", 3),
            Column(f"wrong_{moment}", "loss, wrong labels", 3),
            Column(f"auroc_{moment}", "AUROC of the loss", 3),
        ]
    rows: list[tuple[Value, ...]] = []
    for one in _once(found):
        runs = list(one.runs.values())
        line: list[Value] = []
        for place in range(len(MOMENTS)):
            epochs = [run.epochs[place] for run in runs]
            line.append(span(min(epochs), max(epochs)))
            line += [_mean([getattr(run, name)[place] for run in runs])
                     for name in ("clean", "wrong", "auroc")]  # fmt: skip
        rows.append((one.row.label, one.table.dataset, one.noise, one.row.nominal, len(runs),
                     *line))  # fmt: skip
    return ReportTable(
        "losses-of-wrong-labels", "Median of the last training losses of samples with a right and "
        "with a wrong label, and how well the loss tells them apart, half way and at the end; mean "
        "over n seeds with 95 % t intervals. Samples that are not trained keep the loss of their "
        "last visit.", tuple(columns), tuple(rows),
    )  # fmt: skip


def _mean(values: list[float]) -> Estimate | None:
    known = [value for value in values if _known(value)]
    return Estimate.of(mean_interval(known)) if known else None


def _fitted(found: tuple[Fitted, ...]) -> ReportTable:
    heads = ("wrong labels predicted, %", "clean label predicted in their place, %",
             "right labels predicted, %")  # fmt: skip
    columns = (
        Column("method", "method"), Column("dataset", "data"), Column("setting", "setting"),
        Column("ratio", "ratio", 2), Column("seeds", "n", 0),
        *(Column(name, head) for name, head in zip(FITTED, heads, strict=True)),
    )  # fmt: skip
    rows = tuple(
        (
            one.row.label, one.table.dataset, one.noise, one.row.nominal,
            len(one.values[FITTED[0]]),
            *(_mean([100 * value for value in one.values[name].values()]) for name in FITTED),
        )
        for one in _once(found)
    )  # fmt: skip
    return ReportTable(
        "memorised-labels", "What the networks predict for training samples at the end: mean over "
        "n seeds with 95 % t intervals.", columns, rows,
    )  # fmt: skip


def _once(found: Sequence[Any]) -> list[Any]:
    """Full training, which is a row of the tables of all ratios, is shown once."""
    return list({(one.table.dataset, one.row.label, one.noise, one.row.nominal): one
                 for one in found}.values())  # fmt: skip
