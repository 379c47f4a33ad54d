"""A board as LaTeX tables (booktabs), one per data set and ratio."""

from __future__ import annotations

import re

from prunebench.leaderboard.board.labels import decimals
from prunebench.leaderboard.board.model import Board, Row, Table
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.render.footers import table_lines
from prunebench.leaderboard.render.legend import legend, rank_words, used
from prunebench.leaderboard.render.row_text import (
    RANK,
    bold,
    choice,
    chooses,
    difference_head,
    flags,
    interval,
    lettered,
    letters,
    lossless,
    number,
    rank,
    realised,
    reference_words,
    signs,
    span,
    time,
)

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "≥": r"$\geq$", "≈": r"$\approx$", "†": r"\dag{}", "‡": r"\ddag{}",
    "§": r"\S{}", "→": r"$\to$", "⚠": "(!)", "·": r"$\cdot$", "×": r"$\times$",
}  # fmt: skip
#: ASCII, and Latin with accents as far as the usual fonts have them; others need another engine.
_PLAIN_LETTERS = re.compile("[ -~À-ÏÑ-ÖØ-Ýß-ïñ-öø-ýÿ]*")
_OTHER_LETTERS = "% some names need XeLaTeX or LuaLaTeX, and a font that has their letters"


def escape(text: str) -> str:
    """Text without special meaning in LaTeX."""
    plain = "".join(_SPECIAL.get(sign, sign) for sign in " ".join(text.split()))
    return re.sub("-(?=-)", "-{}", plain)  # two or three are one dash


def render_latex(board: Board) -> str:
    """Tables that need ``\\usepackage{booktabs}`` only."""
    head = [
        f"% records {board.used}, digest {board.digest}, protocol {board.protocol.name} "
        f"v{board.protocol.version} {board.protocol.digest}",
        r"% needs \usepackage{booktabs}",
    ]
    body = [line for table in board.tables for line in _table(board, table)]
    head += [_OTHER_LETTERS] * (not all(map(_PLAIN_LETTERS.fullmatch, body)))
    return "\n".join([*head, *body]) + "\n"


def _table(board: Board, table: Table) -> list[str]:
    everyone = (*table.rows, *table.incomplete)
    grouped, timed = lettered(table), any(row.time for row in everyone)
    chosen, several = chooses(everyone), len(table.noises) > 1
    head = ["method", RANK, *["mean"] * several, difference_head(table), *["group"] * grouped,
            *table.noises, "ratio", *["time"] * timed, *["choice s"] * chosen]  # fmt: skip
    align = f"lr{'r' * several}r{'l' * grouped}{'r' * len(table.noises)}r{'r' * (timed + chosen)}"
    lines = [
        "",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{' '.join(f'{escape(line)}.' for line in _caption(board, table))}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(map(escape, head)) + r" \\",
        r"\midrule",
    ]
    lines += [_line(table, row, timed, chosen) for row in table.rows]
    if table.rows and table.incomplete:
        lines.append(r"\midrule")
    lines += [_line(table, row, timed, chosen) for row in table.incomplete]
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def _caption(board: Board, table: Table) -> list[str]:
    """What the table shows, and what its signs say; sentences without their stops."""
    protocol, shown = board.protocol, used(table)
    words = words_of(protocol.metric)
    sizes = [size for row in (*table.rows, *table.incomplete) for size in row.seeds]
    raised = f"; raised: mean paired difference to {reference_words(protocol.reference)}"
    signs = legend(shown & {"‡", "≈", "§", "="}, protocol)
    lines = [
        f"{table.dataset}, ratio {table.ratio:g}" + f", {words}" * (protocol.metric != "accuracy"),
        f"Cells: {words} at the last epoch in percent, mean over n = "
        f"{span(min(sizes), max(sizes))} seeds" + raised * ("raised" in shown)
        + "; ± half the 95 % t interval over seeds" * ("±" in shown),
        f"Rank: {rank_words(protocol)}",
        *(f"{sign.sample} {sign.words}" for sign in signs),
        *table_lines(table),
    ]  # fmt: skip
    return [line.removesuffix(".") for line in lines]


def _line(table: Table, row: Row, timed: bool, chosen: bool) -> str:
    digits = decimals(table.shared.test_size)
    flagged = (flag if flag == "§" else f"({flag})" for flag in flags(row))
    found = table.tests.ranking.reference.get(row.label) if table.tests.ranking else None
    difference = "-"
    if found is not None:
        difference = interval(found.pooled.mean, found.pooled.low, found.pooled.high, digits)
        difference = " ".join(filter(None, (lossless(table, row), difference)))
    first = [rank(row), *[number(row.mean, digits)] * (len(table.noises) > 1), difference,
             *[letters(table, row) or "-"] * lettered(table)]  # fmt: skip
    last = [realised(row), *[time(row)] * timed, *[choice(row)] * chosen]
    cells = [_cell(table, row, place, digits) for place in range(len(table.noises))]
    name = escape(" ".join([row.label, *flagged]))
    # The command that ends the line before takes a star or a bracket as its own.
    guard = "{}" * name.startswith(("*", "["))
    return " & ".join([guard + name, *map(escape, first), *cells, *map(escape, last)]) + r" \\"


def _cell(table: Table, row: Row, place: int, digits: int) -> str:
    cell = row.cells[place]
    if cell is None:
        return "-"
    text = number(cell.accuracy.mean, digits)
    if bold(table, row, place):
        text = rf"\textbf{{{text}}}"
    if cell.difference is not None:
        text += rf"$^{{{number(cell.difference.mean, digits, signed=True)}}}$"
    if cell.accuracy.half_width is not None:
        text += rf" {{\scriptsize$\pm${number(cell.accuracy.half_width, digits)}}}"
    return text + escape(signs(table, row, place))
