"""A board as LaTeX tables (booktabs) that fit a page: by data set and ratio one of whole rows, and
one or more of their noise settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from prunebench.leaderboard.board.labels import decimals
from prunebench.leaderboard.board.model import Board, Row, Table
from prunebench.leaderboard.findings.phrases import listed
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.render.footers import cell_lines, closing_lines, row_lines
from prunebench.leaderboard.render.legend import legend, rank_words, used
from prunebench.leaderboard.render.row_text import (
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
from prunebench.leaderboard.render.short_names import shared_remark, without

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

#: Points of a line and about those of a letter in the class ``article``, the narrowest usual one.
_LINE, _LETTER = 345.0, 4.4
#: Points beside a column, most lines of one table, and most points of a name on one line.
_SPACE, _ROWS, _NAME = 3, 36, 130.0
#: Alignment of names that take several lines.
_WRAPPED = f"p{{{_NAME:g}pt}}"
#: Sizes of letters by their points; a width is that in the first.
_SIZES = ((r"\footnotesize", 8), (r"\scriptsize", 7))
_COMMAND = re.compile(r"\\raggedright |\\textbf|\\scriptsize\s?|\\[a-zA-Z]+(\{\})?")


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
    """Whole rows first, then their noise settings in as many tables as fit a line."""
    everyone = (*table.rows, *table.incomplete)
    words = words_of(board.protocol.metric)
    about = f"{table.dataset}, ratio {table.ratio:g}"
    shared = shared_remark([row.label for row in everyone])
    names = _names([_name(row, shared) for row in everyone])
    rows, notes = [names, *_whole(table, everyone)], _row_notes(board, table)
    if shared:
        notes.append(f"Left out of the names in brackets: {shared}")
    settings = [_Column(noise, tuple(_cell(table, row, place) for row in everyone))
                for place, noise in enumerate(table.noises)]  # fmt: skip
    if len(settings) == 1:
        rows, notes = [*rows, *settings], [*notes, *_cell_notes(board, table)]
        settings = []
    title = f"{about}: rows by mean {words}" + " over the noise settings" * (len(table.noises) > 1)
    lines = _floats(title, rows, len(table.rows), notes)
    for group in _fitting(names, settings):
        over = f"{about}: {words} in each noise setting"
        if len(group) < len(settings):
            over = f"{about}: {words} under {listed([column.head for column in group])}"
        lines += _floats(over, [names, *group], len(table.rows), _cell_notes(board, table))
    return lines


@dataclass(frozen=True)
class _Column:
    """One column: its head as text, its entries as LaTeX, and where they stand."""

    head: str
    entries: tuple[str, ...]
    align: str = "r"

    @property
    def width(self) -> float:
        """About its width in points at the first size, with the space beside it."""
        longest = max(map(_length, (escape(self.head), *self.entries)))
        return (_NAME if self.align == _WRAPPED else longest) + 2 * _SPACE


def _length(text: str) -> float:
    """About the points of a text in LaTeX at the first size."""
    return _LETTER * len(re.sub(r"[\\{}$^]", "", _COMMAND.sub("x", text)))


def _names(texts: Sequence[str]) -> _Column:
    """Names of rows, on several lines where one is long."""
    if max(map(_length, texts)) <= _NAME:
        return _Column("method", tuple(texts), "l")
    return _Column("method", tuple(rf"\raggedright {text}" for text in texts), _WRAPPED)


def _parts(names: _Column) -> list[range]:
    """Rows of tables that are no longer than a page."""
    found, start, room = [], 0, float(_ROWS)
    for place, entry in enumerate(names.entries):
        height = ceil(1.15 * _length(entry) / _NAME) if names.align == _WRAPPED else 1
        if height > room and place > start:
            found.append(range(start, place))
            start, room = place, float(_ROWS)
        room -= height
    return [*found, range(start, len(names.entries))]


def _fitting(names: _Column, columns: Sequence[_Column]) -> list[list[_Column]]:
    """Columns in groups that fit a line beside the names, one at least in each."""
    groups: list[list[_Column]] = []
    room = 0.0
    for column in columns:
        if not groups or column.width > room:
            groups.append([])
            room = _LINE - names.width
        groups[-1].append(column)
        room -= column.width
    return groups


def _floats(title: str, columns: Sequence[_Column], ranked: int, notes: Sequence[str]) -> list[str]:
    """Tables of a size that fits a page; the last one has the notes."""
    parts = _parts(columns[0])
    fixed = columns[0].width if columns[0].align == _WRAPPED else 0.0
    width = sum(column.width for column in columns) - fixed
    size = next((name for name, points in _SIZES if fixed + width * points / 8 <= _LINE), r"\tiny")
    lines = []
    for number_of, shown in enumerate(parts, start=1):
        part = "" if len(parts) == 1 else f", part {number_of} of {len(parts)}"
        lines += [
            "",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(title + part)}.}}",
            rf"{size}\setlength{{\tabcolsep}}{{{_SPACE}pt}}",
            rf"\begin{{tabular}}{{{''.join(column.align for column in columns)}}}",
            r"\toprule",
            " & ".join(escape(column.head) for column in columns) + r" \\",
            r"\midrule",
        ]
        for place in shown:
            if place == ranked and place > shown.start:
                lines.append(r"\midrule")
            lines.append(" & ".join(column.entries[place] for column in columns) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        if number_of == len(parts) and notes:
            said = " ".join(f"{escape(note)}." for note in notes)
            lines.append(rf"\par\medskip\parbox{{\linewidth}}{{\scriptsize {said}}}")
        lines.append(r"\end{table}")
    return lines


def _whole(table: Table, everyone: Sequence[Row]) -> list[_Column]:
    """What is said of whole rows."""
    digits = decimals(table.shared.test_size)
    columns: list[tuple[str, str, Callable[[Row], str]]] = [("rank", "r", rank)]
    if len(table.noises) > 1:
        columns.append(("mean", "r", lambda row: number(row.mean, digits)))
    columns.append(("difference", "r", lambda row: _difference(table, row, digits)))
    if lettered(table):
        columns.append(("group", "l", lambda row: letters(table, row) or "-"))
    columns.append(("ratio", "r", realised))
    if any(row.time for row in everyone):
        columns.append(("time", "r", time))
    if chooses(everyone):
        columns.append(("choice s", "r", choice))
    return [_Column(head, tuple(escape(text(row)) for row in everyone), align)
            for head, align, text in columns]  # fmt: skip


def _row_notes(board: Board, table: Table) -> list[str]:
    """What has to be known of whole rows; sentences without their stops."""
    protocol = board.protocol
    signs = legend(used(table) & {"≈", "§", "="}, protocol)
    lines = [
        f"Rank: {rank_words(protocol)}",
        f"Difference: {difference_head(table)}",
        *(f"{sign.sample} {sign.words}" for sign in signs),
        *row_lines(table),
        *closing_lines(table),
    ]
    return [line.removesuffix(".") for line in lines]


def _cell_notes(board: Board, table: Table) -> list[str]:
    """The same of noise settings."""
    protocol, shown = board.protocol, used(table)
    sizes = [size for row in (*table.rows, *table.incomplete) for size in row.seeds]
    raised = f"; raised: mean paired difference to {reference_words(protocol.reference)}"
    lines = [
        f"Cells: {words_of(protocol.metric)} at the last epoch in percent, mean over n = "
        f"{span(min(sizes), max(sizes))} seeds" + raised * ("raised" in shown)
        + "; ± half the 95 % t interval over seeds" * ("±" in shown),
        *(f"{sign.sample} {sign.words}" for sign in legend(shown & {"‡"}, protocol)),
        *cell_lines(table),
    ]  # fmt: skip
    return [line.removesuffix(".") for line in lines]


def _name(row: Row, shared: str) -> str:
    flagged = (flag if flag == "§" else f"({flag})" for flag in flags(row))
    name = escape(" ".join([without(row.label, shared), *flagged]))
    # The command that ends the line before takes a star or a bracket as its own.
    return "{}" * name.startswith(("*", "[")) + name


def _difference(table: Table, row: Row, digits: int) -> str:
    found = table.tests.ranking.reference.get(row.label) if table.tests.ranking else None
    if found is None:
        return "-"
    text = interval(found.pooled.mean, found.pooled.low, found.pooled.high, digits)
    return " ".join(filter(None, (lossless(table, row), text)))


def _cell(table: Table, row: Row, place: int) -> str:
    cell, digits = row.cells[place], decimals(table.shared.test_size)
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
