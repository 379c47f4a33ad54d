"""A board as CSV: one line per (table, row, noise setting)."""

from __future__ import annotations

import csv
import io

from prunebench.leaderboard.board.model import Board, Row, Table, TableCell
from prunebench.leaderboard.number_text import csv_cell
from prunebench.leaderboard.render.row_text import (
    better_or_worse,
    bold,
    chooses,
    has_corrupted,
    letters,
    missing,
    off_ratio,
    ran_by,
    underpowered,
    weighs,
)

CSV_COLUMNS = (
    "dataset", "ratio", "method", "kind", "complete", "rank", "group", "noise", "n", "accuracy",
    "half_width", "difference", "difference_half_width", "difference_n", "mark", "p", "p_adjusted",
    "diverged", "mean_accuracy", "mean_difference", "mean_difference_low", "mean_difference_high",
    "lossless", "present", "expected", "realised_ratio", "compute_ratio", "time_ratio",
    "kept_noise_rate", "score_auroc", "worst_class_accuracy", "epochs_begun", "steps",
    "clean_labels", "missing", "whole_epochs", "best", "tied", "off_ratio", "reference_leaks",
    "time_spread", "time_unsteady", "seeds", "keys",
)  # fmt: skip

#: Where a setting has corrupted images.
CORRUPTED_COLUMNS = ("kept_corrupted_rate", "kept_corrupted_weight", "score_auroc_corrupted")


def render_csv(board: Board) -> str:
    """Six decimals, empty where there is no value; seeds and keys of a cell's runs by blanks."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns, lines = csv_values(board)
    writer.writerow(columns)
    writer.writerows(map(csv_cell, line) for line in lines)
    return out.getvalue()


def csv_values(board: Board) -> tuple[tuple[str, ...], list[list[object]]]:
    """Names of the columns, and the values of each line as they are before they become text."""
    everyone = [row for table in board.tables for row in (*table.rows, *table.incomplete)]
    chosen, weighed = chooses(everyone), weighs(everyone)
    corrupted = has_corrupted(everyone)
    more = [name for name in ("balanced", "worst_group")
            if any(getattr(row, name) is not None for row in everyone)]  # fmt: skip
    metric: list[object] = [] if board.protocol.metric == "accuracy" else [board.protocol.metric]
    later = ["choice_seconds"] * chosen + ["kept_noise_weight"] * weighed
    later += list(CORRUPTED_COLUMNS) * corrupted
    later += [f"{name}_accuracy" for name in more] + ["metric"] * len(metric)
    named = any(row.ran_by for row in everyone)
    later += ["ran_by"] * named
    lines: list[list[object]] = []
    for table in board.tables:
        for row in (*table.rows, *table.incomplete):
            for place in range(len(table.noises)):
                cell = row.cells[place]
                weight = cell.kept_weight.mean if cell and cell.kept_weight else None
                line = [*_line(table, row, place), *[row.choice_s] * chosen, *[weight] * weighed]
                line += _corrupted(cell) * corrupted
                line += [*(getattr(cell, name, None) for name in more), *metric]
                line += [ran_by(row)] * named
                lines.append(line)
    return (*CSV_COLUMNS, *later), lines


def _corrupted(cell: TableCell | None) -> list[object]:
    """Values of ``CORRUPTED_COLUMNS``."""
    found = cell.corrupted if cell else None
    if found is None:
        return [None] * len(CORRUPTED_COLUMNS)
    return [found.rate.mean, found.weight.mean if found.weight else None, found.auroc]


def _line(table: Table, row: Row, place: int) -> list[object]:
    noise, cell = table.noises[place], row.cells[place]
    accuracy, difference = (cell.accuracy, cell.difference) if cell else (None, None)
    tests, ranking = table.tests, table.tests.ranking
    against = ranking.reference.get(row.label) if ranking else None
    marks = tests.marks
    name = f"{row.label}, {noise}"
    member = next((m for m in marks.family.members if m.name == name), None) if marks else None
    lossless = tests.lossless
    own = sorted(table.runs[row.label].items())
    runs = [run for (name, _), run in own if name == noise and run.accuracy is not None]
    return [
        table.dataset, f"{table.ratio:g}", row.label, row.kind, int(row.complete), row.rank,
        letters(table, row), noise,
        accuracy.n if accuracy else 0,
        accuracy.mean if accuracy else None,
        accuracy.half_width if accuracy else None,
        difference.mean if difference else None,
        difference.half_width if difference else None,
        difference.n if difference else 0,
        better_or_worse(table, row, place) + underpowered(table, row, place),
        member.p if member else None,
        member.adjusted if member else None,
        cell.diverged if cell else 0,
        row.mean, row.difference,
        against.pooled.low if against else None,
        against.pooled.high if against else None,
        "" if lossless is None or row.label not in lossless.tests
        else int(row.label in lossless.family.rejected),
        row.present, row.expected, row.realised, row.compute,
        row.time.ratio if row.time else None,
        cell.kept_noise.mean if cell and cell.kept_noise else None,
        cell.auroc if cell else None,
        cell.worst_class if cell else None,
        row.epochs_begun, row.steps, row.clean_labels + " (test split)" * row.leaks, missing(row),
        row.whole_epochs, int(bold(table, row, place)), int(row.tied), int(off_ratio(row)),
        int(row.leaks), row.time.spread if row.time else None,
        int(row.time.unsteady) if row.time else "",
        " ".join(str(run.seed) for run in runs), " ".join(run.record.key for run in runs),
    ]  # fmt: skip
