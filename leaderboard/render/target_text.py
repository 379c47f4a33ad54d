"""Samples to an accuracy as markdown, CSV and JSON values."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.board.time_ratio import UNSTEADY
from prunebench.leaderboard.findings import target_findings
from prunebench.leaderboard.learning_curves.to_target import TargetTable, ToTarget, cells
from prunebench.leaderboard.number_text import csv_cell, number, span
from prunebench.leaderboard.render.json_export import asdict, finite
from prunebench.leaderboard.render.markdown import bullets, escape, found_lines, pipe
from prunebench.leaderboard.stats import MedianInterval
from prunebench.leaderboard.stats.intervals import MIN_FOR_INTERVAL

SCHEMA = 1
#: Name of the files without ending.
TARGET_STEM = "samples-to-accuracy"
_SPREADS = ("epochs", "trained", "spent", "share", "share_with_scoring", "seconds")
#: In place of a saving where the scoring run is of another network than the trained one.
OTHER_NETWORK = "of another network"
#: Seeds from which on the interval of a median can have 95 %.
FEWEST_SEEDS = 6
CSV_COLUMNS = (
    "dataset", "ratio", "method", "kind", "noise", "target", "target_accuracy", "n", "reached",
    *(f"{name}{end}" for name in _SPREADS for end in ("", "_low", "_high")), "coverage", "machine",
    "unsteady", "missing",
)  # fmt: skip


def percent(target: float) -> str:
    """A target as percent: ``95``, ``99.5``."""
    return f"{100 * target:g}"


def heading(found: TargetTable, target: float) -> str:
    """What one table shows."""
    table = found.table
    return f"{table.dataset}, ratio {table.ratio:g}: {percent(target)} % of full training"


def saved_text(share: MedianInterval | None) -> str:
    """Samples saved against full training in percent, with the interval: ``41 % [38, 44]``."""
    if share is None or math.isinf(share.median):
        return ""
    text = f"{number(100 * (1 - share.median), 1)} %"
    if share.low is None or share.high is None:
        return text
    low = "-∞" if math.isinf(share.high) else number(100 * (1 - share.high), 1)
    return f"{text} [{low}, {number(100 * (1 - share.low), 1)}]"


def cell_text(found: ToTarget | None) -> str:
    """Median samples, what they save, seconds and how many runs reach the target."""
    if found is None or not found.n:
        reasons = [reason for reason, _ in found.lacking] if found else []
        return "; ".join(reasons) or "-"
    reached = f"{found.reached}/{found.n}"
    samples = found.spent or found.trained
    if samples is None or math.isinf(samples.median):
        return f"not reached, {reached}"
    text = f"{samples.median:,.0f}" + "+" * (found.spent is None)
    if found.seconds is not None:
        text += f", {number(found.seconds.median, 1)} s" + "⚠" * found.unsteady
    if found.kind != "full" and (saved := saved_text(found.share)):
        text += f"; saves {saved}"
    return f"{text}; {reached}"


def scoring_text(own: Iterable[ToTarget]) -> str:
    """What is saved with the scoring run counted, smallest to largest median of a row; empty where
    the method rests on none, words where it is of another network."""
    own = list(own)
    if any(one.other_network for one in own):
        return OTHER_NETWORK
    known = [one for one in own if one.share and one.share_with_scoring]
    medians = [one.share_with_scoring.median for one in known if one.share_with_scoring]
    if all(one.share == one.share_with_scoring for one in known):
        return ""
    reached = [100 * (1 - value) for value in medians if math.isfinite(value)]
    if not reached:
        return "not reached"
    low, high = number(min(reached), 0), number(max(reached), 0)
    return f"{low} %" if low == high else f"{low} to {high} %"


def target_lines(found: TargetTable) -> list[str]:
    """How to read the tables of one design and ratio."""
    sizes = {one.n: one.share.coverage for one in found.found
             if one.share is not None and one.share.coverage is not None}  # fmt: skip
    seeds = [one.n for one in found.found if one.n]
    machines = sorted({one.machine for one in found.found if one.seconds is not None})
    covered = ", ".join(f"n = {n}: {100 * share:.3g} %" for n, share in sorted(sizes.items()))
    lines = [
        "Target: the share of the final test accuracy of full training with the same noise setting "
        "and seed. A run reaches it at the end of the first evaluated epoch that is as accurate, "
        "whatever comes after it; m/n: m of n runs reach it",
        "Samples: median over seeds of the samples trained until then, second views with them and "
        "a forward-only pass as a third; saves: against full training's own samples to the same "
        "target, paired by seed. Runs that do not reach it count as beyond every number",
        f"In brackets: interval of the median between two of the values of n = "
        f"{span(min(seeds), max(seeds))} seeds"
        + (f", which holds it with at least the probability named ({covered})"
           + "; six seeds are needed for 95 %" * (min(sizes) < FEWEST_SEEDS)
           + ". -∞ stands where runs that do not reach the target are among them"
           if covered else " (none below three)" if max(seeds) < MIN_FOR_INTERVAL else
           " (none here: without all passes, savings are not known)"),
    ]  # fmt: skip
    if machines:
        lines.append(f"s: seconds, the part of the training time that is as large as the part of "
                     f"the run's samples, on {'; '.join(machines)}")  # fmt: skip
    if any(one.unsteady and one.seconds is not None for one in found.found):
        lines.append("⚠ behind seconds: the epoch times of these runs, or of full training, differ "
                     f"by more than a factor of {UNSTEADY:g}; the machine was busy")  # fmt: skip
    if any(one.other_network for one in found.found):
        lines.append(f"{OTHER_NETWORK}: the samples of the scoring run passed another network and "
                     "are not added to those of the trained one")  # fmt: skip
    if any("+" in cell_text(one).partition(";")[0] for one in found.found):
        lines.append("+ behind samples: trained samples alone; records of earlier versions do not "
                     "say when forward-only passes were made")  # fmt: skip
    return lines


def render_target_markdown(board: Board, tables: Sequence[TargetTable]) -> str:
    """A table for each (design, ratio, target): rows as on the board, noise settings as columns."""
    lines = ["# Samples to an accuracy", ""]
    lines += bullets([
        f"Records digest `{board.digest}`, protocol `{board.protocol.name}` "
        f"v{board.protocol.version} (hash `{board.protocol.digest}`)",
        "Accuracy is plain test accuracy, for which epochs are evaluated",
    ])  # fmt: skip
    lines += found_lines(target_findings(tables))
    for found in tables:
        for target in found.targets:
            rows, noises = found.of(target), found.table.noises
            charged = {label: scoring_text(own.values()) for label, own in rows.items()}
            scored = any(charged.values())
            body = [
                [escape(label), *(escape(cell_text(own.get(noise))) for noise in noises),
                 *[charged[label] or "-"] * scored]
                for label, own in rows.items()
            ]  # fmt: skip
            head = ["method", *noises, *["saves with the scoring run"] * scored]
            lines += ["", f"## {escape(heading(found, target))}", "", pipe(head, body)]
        lines += ["", *bullets(target_lines(found))]
    return "\n".join(lines) + "\n"


def render_target_csv(tables: Sequence[TargetTable]) -> str:
    """One line per (table, target, row, noise setting); ``inf`` where a target is not reached."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for own, one in cells(tables):
        spreads = [getattr(one, name) for name in _SPREADS]
        numbers = [getattr(s, part) if s else None for s in spreads
                   for part in ("median", "low", "high")]  # fmt: skip
        line: list[object] = [
            own.table.dataset, f"{own.table.ratio:g}", one.label, one.kind, one.noise,
            f"{one.target:g}", one.accuracy, one.n, one.reached, *numbers,
            one.epochs.coverage if one.epochs else None, one.machine, int(one.unsteady),
            ", ".join(f"{count} {reason}" for reason, count in one.lacking),
        ]  # fmt: skip
        writer.writerow(csv_cell(value) for value in line)
    return out.getvalue()


def target_json(board: Board, tables: Sequence[TargetTable]) -> dict[str, Any]:
    """JSON values; an infinite number is the text ``inf``, an unknown one null."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "digest": board.digest,
        "protocol": {**board.protocol.content, "digest": board.protocol.digest},
        "tables": [
            {
                "dataset": own.table.dataset,
                "ratio": own.table.ratio,
                "noises": list(own.table.noises),
                "targets": list(own.targets),
                "rows": [_entry(one) for one in own.found],
            }
            for own in tables
        ],
    }
    cleaned: dict[str, Any] = finite(_named(content))
    return cleaned


def _entry(one: ToTarget) -> dict[str, Any]:
    missing = [{"reason": reason, "count": count} for reason, count in one.lacking]
    values = {name: value for name, value in asdict(one).items() if name != "lacking"}
    return {**values, "missing": missing}


def _named(value: Any) -> Any:
    """The same with infinities as text."""
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if isinstance(value, dict):
        return {name: _named(item) for name, item in value.items()}
    return [_named(item) for item in value] if isinstance(value, list) else value
