"""A markdown board for a terminal: tables no wider than it, lines broken between words."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console

from prunebench.terminal import terminal

if TYPE_CHECKING:
    from prunebench.leaderboard.board.model import Board

#: A bar that parts cells: one that no backslash escapes.
_BAR = re.compile(r"(?<!\\)\|")


def console() -> Console:
    """Standard output for tables: as wide as the terminal; elsewhere nothing is folded."""
    stream = terminal(sys.stdout)
    return Console(file=stream, width=None if stream.isatty() else 1000)


def show(markdown: str) -> None:
    """Prints markdown, on a terminal in its width; elsewhere as it is."""
    print(fit_to_width(markdown, console().width) if terminal(sys.stdout).isatty() else markdown)


def show_board(board: Board, markdown: str, form: str | None = None) -> None:
    """Prints a board: findings and tables in the terminal's width, or its markdown.

    Args:
        board: The board.
        markdown: The same as ``leaderboard.md``.
        form: ``terminal`` or ``md``; None for the first on a terminal and the second elsewhere.
    """
    from prunebench.leaderboard.render.terminal import render_terminal

    if form == "md" or (form is None and not terminal(sys.stdout).isatty()):
        show(markdown)
    else:
        print(render_terminal(board, get_terminal_size().columns))


def fit_to_width(markdown: str, width: int) -> str:
    """Cuts tables that are too wide into several that repeat the first column, and wraps lines.

    Args:
        markdown: Text with pipe tables.
        width: Columns of the terminal.
    """
    found: list[str] = []
    table: list[str] = []
    for line in [*markdown.split("\n"), ""]:
        if line.startswith("|"):
            table.append(line)
            continue
        found += _tables(table, width) if table else []
        table = []
        indent = "  " if line.startswith("- ") else ""
        found += textwrap.wrap(line, width, subsequent_indent=indent,
                               break_long_words=False, break_on_hyphens=False) or [""]  # fmt: skip
    return "\n".join(found[:-1])


def _tables(lines: Sequence[str], width: int) -> list[str]:
    rows = [_BAR.split(line)[1:-1] for line in lines]
    sizes = [max(map(cell_len, column)) + 1 for column in zip(*rows, strict=True)]
    if sum(sizes) < width:
        return list(lines)
    found: list[str] = []
    start = 1
    while start < len(sizes):
        end, used = start + 1, 1 + sizes[0] + sizes[start]
        while end < len(sizes) and used + sizes[end] <= width:
            used += sizes[end]
            end += 1
        found += [""] * bool(found)
        found += ["|".join(["", row[0], *row[start:end], ""]) for row in rows]
        start = end
    return found
