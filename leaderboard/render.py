"""A board as markdown and as CSV; the same board gives the same bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from prunebench.leaderboard.labels import decimals
from prunebench.leaderboard.protocol import Protocol
from prunebench.leaderboard.stats import MeanInterval
from prunebench.leaderboard.tables import Board, Cell, Row, Table
from prunebench.record import canonical

OFF_RATIO = 0.02
CAPTION = (
    "Cells: accuracy at the last epoch in percent, mean over seeds ± half-width of its 95 % "
    "t interval (3 seeds or more), and in brackets the mean paired difference to full training "
    "over the same seeds. Nothing here is a significance test. "
    "‡ holds diverged runs, counted with their value (chance where they have none); "
    "≈ realised ratio more than 2 points off the nominal one; n = seeds per noise setting; "
    "compute = share of training saved when a forward-only pass counts a third."
)
CSV_COLUMNS = (
    "dataset", "ratio", "method", "kind", "complete", "rank", "noise", "n", "accuracy",
    "half_width", "difference", "difference_half_width", "difference_n", "diverged",
    "mean_accuracy", "mean_difference", "present", "expected", "realised_ratio", "compute_ratio",
    "kept_noise_rate", "score_auroc", "worst_class_accuracy", "epochs", "steps", "clean_labels",
    "missing",
)  # fmt: skip


def escape(text: str) -> str:
    """Text that stays inside one markdown cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return text.replace("|", "\\|")


def number(value: float | None, digits: int, signed: bool = False) -> str:
    """Fixed decimals without a negative zero; ``-`` for None."""
    if value is None:
        return "-"
    value = round(value, digits) + 0.0
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def render_markdown(board: Board) -> str:
    """The board as GitHub-flavoured markdown."""
    excluded = ", ".join(f"{count} {escape(reason)}" for reason, count in board.excluded)
    total = sum(count for _, count in board.excluded)
    lines = [
        "# Leaderboard",
        "",
        f"- Records: {board.used} used (digest `{board.digest}`), {total} excluded"
        + (f": {excluded}" if excluded else ""),
        *(f"- {name.replace('_', ' ').capitalize()}: {escape(', '.join(values))}"
          for name, values in board.environments),
        f"- {CAPTION}",
    ]  # fmt: skip
    for table in board.tables:
        lines += ["", f"## {escape(table.dataset)}, ratio {table.ratio:g}", "", *_header(table)]
        if table.rows:
            lines += ["", _grid(table, table.rows)]
        if table.incomplete:
            lines += ["", "Incomplete rows, not ranked:", "", _grid(table, table.incomplete)]
        diagnostics = _diagnostics(table)
        if diagnostics:
            lines += ["", "Diagnostics: noise rate among the kept samples in percent / AUROC of "
                      "the score against the true noise mask; worst class in percent.",
                      "", diagnostics]  # fmt: skip
    return "\n".join(lines) + "\n"


def _header(table: Table) -> list[str]:
    protocol: Protocol = table.protocol
    sizes = [size for row in table.rows or table.incomplete for size in row.seeds]
    seeds = f"n = {_span(min(sizes), max(sizes))} seeds"
    if max(sizes) < 3:
        seeds += " (too few for intervals)"
    test = f"{protocol.test_size} test samples" if protocol.test_size else "test size not recorded"
    size = protocol.reference.get("size")
    reference = f"{size} clean samples" if size is not None else "default size"
    criterion = protocol.criterion
    options = criterion.get("params")
    shown = f" {canonical(options)}" if options else ""
    lines = [
        f"- {seeds}; {test}; budget `{protocol.budget}`; spec schema {protocol.schema}; "
        f"data set version {escape(protocol.dataset_version)}",
        f"- Recipe {escape(protocol.recipe_text)}; criterion {escape(str(criterion.get('name')))} "
        f"v{criterion.get('version')}{escape(shown)}; reference {reference} "
        f"({protocol.reference.get('mode', 'held_out')})",
    ]
    if not any(row.kind == "full" for row in table.rows):
        lines.append("- Full training is missing or incomplete: no mean differences")
    if any(row.leaks for row in (*table.rows, *table.incomplete)):
        lines.append("- § The clean reference is the test split: these rows have seen what they "
                     "are measured on")  # fmt: skip
    return lines


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low}-{high}"


def _label(row: Row) -> str:
    suffix = " §" * row.leaks + " (oracle)" * (row.kind == "oracle")
    if not row.complete:
        suffix += f" ({row.present}/{row.expected} cells)"
    return escape(row.label) + suffix


def _accuracy(cell: Cell | None, digits: int) -> str:
    if cell is None:
        return "-"
    text = number(cell.accuracy.mean, digits)
    if cell.accuracy.half_width is not None:
        text += f" ± {number(cell.accuracy.half_width, digits)}"
    if cell.difference is not None:
        text += f" ({number(cell.difference.mean, digits, signed=True)})"
    return text + ("‡" if cell.diverged else "")


def _realised(row: Row) -> str:
    off = row.realised is not None and abs(row.realised - row.nominal) > OFF_RATIO
    return ("≈" if off else "") + number(row.realised, 2)


def _missing(row: Row) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in row.missing)


def _rank(row: Row) -> str:
    return "-" if row.rank is None else f"{row.rank}{'=' if row.tied else ''}"


def _grid(table: Table, rows: Sequence[Row]) -> str:
    digits = decimals(table.protocol.test_size)
    clean = any(row.clean_labels for row in (*table.rows, *table.incomplete))
    lacking = any(row.missing for row in rows)
    head = ["method", *table.noises, "mean difference", "ratio", "compute", "n", "rank"]
    head += ["clean labels"] * clean + ["missing"] * lacking
    body = [
        [
            _label(row),
            *(_accuracy(cell, digits) for cell in row.cells),
            number(row.difference, digits, signed=True),
            _realised(row),
            number(row.compute, 2),
            _span(*row.seeds),
            _rank(row),
            *[escape(row.clean_labels) or "none"] * clean,
            *[escape(_missing(row))] * lacking,
        ]
        for row in rows
    ]
    return _pipe(head, body, text_columns=clean + lacking)


def _diagnostics(table: Table) -> str:
    body = []
    for row in (*table.rows, *table.incomplete):
        pairs = [(c.kept_noise, c.auroc) if c else (None, None) for c in row.cells]
        known = any(value is not None for pair in pairs for value in pair)
        if not known and row.worst_class is None:
            continue
        cells = [f"{_share(noise)} / {number(auroc, 3)}" for noise, auroc in pairs]
        worst = None if row.worst_class is None else 100 * row.worst_class
        tail = [number(worst, 1), number(row.epochs, 1), number(row.steps, 0)]
        body.append([_label(row), *cells, *tail])
    head = ["method", *table.noises, "worst class", "epochs", "steps"]
    return _pipe(head, body) if body else ""


def _share(interval: MeanInterval | None) -> str:
    if interval is None:
        return "-"
    text = number(100 * interval.mean, 1)
    if interval.half_width is not None:
        text += f" ± {number(100 * interval.half_width, 1)}"
    return text


def _pipe(head: Sequence[str], body: Sequence[Sequence[str]], text_columns: int = 0) -> str:
    align = ["left"] + ["right"] * (len(head) - 1 - text_columns) + ["left"] * text_columns
    return tabulate(
        body,
        headers=[escape(name) for name in head],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=align,
    )


def render_csv(board: Board) -> str:
    """One line per (table, row, noise setting), six decimals, empty where there is no value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in board.tables:
        for row in (*table.rows, *table.incomplete):
            for noise, cell in zip(table.noises, row.cells, strict=True):
                writer.writerow(_text(_csv_line(table, row, noise, cell)))
    return out.getvalue()


def _csv_line(table: Table, row: Row, noise: str, cell: Cell | None) -> list[object]:
    accuracy, difference = (cell.accuracy, cell.difference) if cell else (None, None)
    return [
        table.dataset, f"{table.ratio:g}", row.label, row.kind, int(row.complete), row.rank, noise,
        accuracy.n if accuracy else 0,
        accuracy.mean if accuracy else None,
        accuracy.half_width if accuracy else None,
        difference.mean if difference else None,
        difference.half_width if difference else None,
        difference.n if difference else 0,
        cell.diverged if cell else 0,
        row.mean, row.difference, row.present, row.expected, row.realised, row.compute,
        cell.kept_noise.mean if cell and cell.kept_noise else None,
        cell.auroc if cell else None,
        cell.worst_class if cell else None,
        row.epochs, row.steps, row.clean_labels + " (test split)" * row.leaks, _missing(row),
    ]  # fmt: skip


def _text(values: Iterable[object]) -> list[str]:
    return ["" if v is None else number(v, 6) if isinstance(v, float) else str(v) for v in values]
