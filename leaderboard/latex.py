"""A board as LaTeX tables (booktabs), one per data set and ratio."""

from __future__ import annotations

from prunebench.leaderboard.footers import table_lines
from prunebench.leaderboard.labels import decimals
from prunebench.leaderboard.tables import Board, Row, Table
from prunebench.leaderboard.text import interval, number, rank, realised

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "≥": r"$\geq$", "≈": r"$\approx$", "†": r"\dag{}", "‡": r"\ddag{}",
    "§": r"\S{}", "→": r"$\to$", "⚠": "(!)", "·": r"$\cdot$", "×": r"$\times$",
}  # fmt: skip


def escape(text: str) -> str:
    """Text without special meaning in LaTeX."""
    return "".join(_SPECIAL.get(sign, sign) for sign in " ".join(text.split()))


def render_latex(board: Board) -> str:
    """Tables that need ``\\usepackage{booktabs}`` only."""
    head = [
        f"% records {board.used}, digest {board.digest}, protocol {board.settings.name} "
        f"v{board.settings.version} {board.settings.digest}",
        r"% needs \usepackage{booktabs}",
    ]
    return "\n".join([*head, *(line for table in board.tables for line in _table(table))]) + "\n"


def _table(table: Table) -> list[str]:
    digits = decimals(table.protocol.test_size)
    columns = len(table.noises)
    groups = table.tests.ranking.groups if table.tests.ranking else None
    head = ["method", *table.noises, "mean difference", "group", "ratio", "rank"]
    lines = [
        "",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(table.dataset)}, ratio {table.ratio:g}. "
        + " ".join(f"{escape(line)}." for line in table_lines(table))
        + "}",
        rf"\begin{{tabular}}{{l{'r' * columns}rlrr}}",
        r"\toprule",
        " & ".join(map(escape, head)) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        found = table.tests.ranking.reference.get(row.label) if table.tests.ranking else None
        difference = (
            interval(row.difference, found.pooled.low, found.pooled.high, digits)
            if found and row.difference is not None
            else "-"
        )
        cells = [_cell(table, row, place, digits) for place in range(columns)]
        letters = groups.letters_of(row.label) if groups else ""
        tail = [difference, letters or "-", realised(row), rank(row)]
        lines.append(" & ".join([escape(row.label), *cells, *map(escape, tail)]) + r" \\")
    for row in table.incomplete:
        empty = " & ".join("-" for _ in range(columns + 4))
        name = escape(f"{row.label} ({row.present}/{row.expected} cells)")
        lines.append(f"{name} & {empty} \\\\")
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def _cell(table: Table, row: Row, place: int, digits: int) -> str:
    cell = row.cells[place]
    if cell is None:
        return "-"
    column = table.tests.columns[place]
    text = number(cell.accuracy.mean, digits)
    if column is not None and row.label in column.best:
        text = rf"\textbf{{{text}}}"
    if cell.difference is not None:
        text += rf"$^{{{number(cell.difference.mean, digits, signed=True)}}}$"
    if cell.accuracy.half_width is not None:
        text += rf" {{\scriptsize$\pm${number(cell.accuracy.half_width, digits)}}}"
    marks = table.tests.marks
    return text + escape((marks.mark(row.label, table.noises[place]) if marks else "")
                         + ("‡" if cell.diverged else ""))  # fmt: skip
