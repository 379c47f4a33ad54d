"""A legend holds the signs of its board, and each of them."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.render.legend import board_signs, legend, used
from support.pages import contest
from support.records import grid, record

#: Samples of the signs that are one character, or end in one.
SINGLE = {"*": "*", "†": "†", "?": "?", "‡": "‡", "≥": "≥", "≈": "≈", "§": "§", "=": "2=",
          "busy": "0.58⚠"}  # fmt: skip


@pytest.fixture(scope="module")
def many() -> Board:
    """A board with nearly every sign."""
    slow = [replace(r, timing={**r.timing, "epoch_s": 1.0 + (r.spec["seed"] == 3)}).sealed()
            for r in contest()]  # fmt: skip
    slow = [replace(r, timing={**r.timing, "epoch_s": 2.5}).sealed()
            if r.spec["method"]["name"] == "dual" and r.spec["seed"] == 2 else r
            for r in slow]  # fmt: skip
    return build(slow)


@pytest.fixture(scope="module")
def few() -> Board:
    """A board of two seeds, on which nothing is separated."""
    return build(grid(seeds=(0, 1), noises=("clean",)))


def of_markdown(text: str) -> set[str]:
    """Samples that the legend of the markdown form names."""
    part = text.partition("<summary>How to read the tables</summary>")[2].partition("</details>")[0]
    lines = re.findall(r"\n- (.*?): ", part)
    return {re.sub(r"\\(?=\W)|<[^>]+>|\*\*(?=.)", "", line) for line in lines}


def of_page(text: str) -> set[str]:
    part = text.partition('<details class="legend">')[2].partition("</details>")[0]
    return {html.unescape(re.sub("<.*?>", "", sample)) for sample in
            re.findall("<dt.*?>(.*?)</dt>", part)}  # fmt: skip


def test_legends_name_the_signs_of_their_board_alone(many: Board, few: Board) -> None:
    for board, expected in ((many, {"*", "†", "‡", "≥", "≈", "§", "busy"}), (few, set())):
        forms = texts(board)
        for found in (of_markdown(forms["leaderboard.md"]), of_page(forms["leaderboard.html"])):
            assert {name for name, sample in SINGLE.items() if sample in found} == expected
        assert ("71.8" in of_page(forms["leaderboard.html"])) == ("bold" in board_signs(board))
        assert ("±0.3" in of_page(forms["leaderboard.html"])) == (board is many)
        assert ("±0.3" in of_markdown(forms["leaderboard.md"])) == (board is many)
    assert "bold" in board_signs(many)
    assert "bold" not in board_signs(few)


def test_captions_and_notes_name_the_signs_of_their_table_alone(many: Board, few: Board) -> None:
    for board in (many, few):
        forms, (table,) = texts(board), board.tables
        notes = re.findall(
            r"\\parbox\{\\linewidth\}\{\\scriptsize (.*)\}", forms["leaderboard.tex"]
        )
        caption = " ".join(notes)
        for name, sign in (("*", "* better"), ("†", r"\dag{} worse"), ("‡", r"\ddag{}"),
                           ("≥", r"$\geq$ loses"), ("≈", r"$\approx$"), ("§", r"\S{}"),
                           ("±", r"$\pm$"), ("bold", "Bold: "), ("busy", "(!) in the time"),
                           ("letters", "share a letter"), ("raised", "raised: ")):  # fmt: skip
            assert (sign in caption) == (name in used(table)), sign


def test_a_family_without_a_sign_is_still_named(few: Board) -> None:
    markdown = texts(few)["leaderboard.md"]
    assert "- No cell is separated from full: Benjamini-Hochberg over m = " in markdown
    assert "- No row is shown to lose less than 0.5 points against full training" in markdown


def test_one_direction_alone_has_its_sign_alone() -> None:
    records = [record(seed=s, accuracy=0.8 + 0.001 * (s % 3)) for s in range(6)]
    records += [record("seta", seed=s, accuracy=0.5) for s in range(6)]
    board = build(records)
    shown = board_signs(board)
    assert "†" in shown
    assert "*" not in shown
    names = [sign.sample for sign in legend(shown, board.protocol)]
    assert "†" in names
    assert "*" not in names
    assert "\n- † worse than full in one cell: Benjamini" in texts(board)["leaderboard.md"]
