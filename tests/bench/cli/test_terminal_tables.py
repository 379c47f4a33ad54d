"""Tables in a terminal are as wide as it is; elsewhere they are not folded."""

import io
import re

import pytest
from rich.cells import cell_len

from prunebench.bench.cli import terminal_tables as module
from prunebench.bench.cli.terminal_tables import console, fit_to_width, show, show_board
from prunebench.leaderboard.board.build import build
from prunebench.terminal import SafeStream
from support.records import grid

BOARD = """# Leaderboard

- A line that is longer than a narrow terminal, so that it goes on in the next one

| method | clean | symmetric:0.4 | rank |
|:-------|------:|--------------:|-----:|
| full   |  98.4 |  76.0<sup>+1</sup> |  - |
| a\\|b 方法 |  98.4 |  76.0 |  1 |
"""


@pytest.mark.parametrize("width", [34, 44, 60])
def test_tables_repeat_their_first_column_where_they_are_too_wide(width: int) -> None:
    text = fit_to_width(BOARD, width)
    assert max(map(cell_len, text.split("\n"))) <= width
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.split("\n") if line[:1] == "|"]
    cells = {cell.strip() for row in rows for cell in row}
    for cell in ("clean", "symmetric:0.4", "rank", "76.0<sup>+1</sup>", "98.4", "a\\|b 方法"):
        assert cell in cells
    heads = [row for row in rows if row[0].strip() == "method"]
    assert len(heads) > 1 or width == 60
    assert " ".join(text.split("|")[0].split()) == " ".join(BOARD.split("|")[0].split())


def test_wide_terminals_and_other_outputs_get_the_board_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit_to_width(BOARD, 200) == BOARD
    show(BOARD)
    assert capsys.readouterr().out == BOARD + "\n"
    assert console().width == 1000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_boards_are_findings_and_tables_on_a_terminal_and_markdown_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    board = build(grid(seeds=(0, 1)))
    show_board(board, BOARD)
    show_board(board, BOARD, "md")
    assert capsys.readouterr().out == 2 * (BOARD + "\n")
    show_board(board, BOARD, "terminal")
    asked = capsys.readouterr().out
    screen = Terminal()
    monkeypatch.setattr(module.sys, "stdout", SafeStream(screen))
    show_board(board, BOARD)
    assert screen.getvalue() == asked
    assert asked.startswith("Findings\n")
    assert max(map(cell_len, asked.split("\n"))) <= 72


def test_a_terminal_gives_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    monkeypatch.setattr(module.sys, "stdout", SafeStream(screen))  # as the command line has it
    show(BOARD)
    assert max(map(cell_len, screen.getvalue().split("\n"))) <= 33
    assert console().width == 33
