"""A board in a terminal: findings first, tables in its width, names that cannot steer it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import findings
from prunebench.leaderboard.render.row_text import number
from prunebench.leaderboard.render.terminal import render_terminal
from tests.leaderboard.findings.planted import NOISES, board, records
from tests.support.records import record

NAME = "[bold]name[/bold] <b>方法" + 12 * "-long"


@pytest.fixture(scope="module")
def shown() -> Board:
    some = records({"infobatch+align": 3.0}, seeds=5, missing=["big-loss"])
    some += [record("el2n", noise, seed, 0.5, 0.8, status="diverged", params={"note": note},
                    info={"test_size": 10_000})
             for note in (NAME, "plain") for noise in NOISES for seed in range(5)]  # fmt: skip
    return build(some)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_everything_is_there_and_fits(shown: Board, width: int) -> None:
    text = render_terminal(shown, width)
    lines = text.split("\n")
    assert max(map(cell_len, lines)) <= width
    assert text.startswith("Findings\n- infobatch+align has the highest mean accuracy of ")
    flat = " ".join(text.split())
    for finding in findings(shown)[1:4]:
        assert " ".join(finding.text.split())[:60] in flat
    for noise in NOISES:
        assert any(noise in line.split() for line in lines)
    (table,) = shown.tables
    for row in (*table.rows, *table.incomplete):
        for cell in row.cells:
            assert cell is not None
            assert number(cell.accuracy.mean, 1) in text
    assert "(16/20" in flat
    assert ("±" in text) == (width == 200)


def test_names_are_shown_as_they_are_and_steer_nothing(shown: Board) -> None:
    assert "(note=[bold]name[/bold]" in render_terminal(shown, 80)
    (table,), (summary,) = shown.tables, shown.summaries
    name = "\x1b[31mred\n\u202eset"
    turned = replace(shown, tables=(replace(table, dataset=name),),
                     summaries=(replace(summary, dataset=name),))  # fmt: skip
    text = render_terminal(turned, 140)
    assert "\\x1b[31mred \\u202eset, ratio 0.5" in text
    assert not set("\x1b\u202e") & set(text)


def test_the_legend_holds_the_signs_of_this_board_alone(shown: Board) -> None:
    legend = " ".join(render_terminal(shown, 80).rpartition("\n\n")[2].split())
    assert "‡ with diverged runs" in legend
    assert "§" not in legend
    plain = " ".join(render_terminal(board(), 80).rpartition("\n\n")[2].split())
    assert "‡" not in plain
    assert "*" not in plain
    assert "±" not in plain


def test_a_terminal_of_no_width_is_no_error(shown: Board) -> None:
    assert render_terminal(shown, 2) == render_terminal(shown, 20)
