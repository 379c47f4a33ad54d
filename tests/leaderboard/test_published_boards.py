"""The leaderboards in docs are what their records say, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from prunebench.bench.reports import boards as module
from prunebench.bench.reports.boards import gather, make_board
from prunebench.leaderboard.audit import audit
from prunebench.leaderboard.board.model import Board
from support.boards_again import (
    BOARDS,
    PAGE,
    RECORDS,
    ROOT,
    first_table,
    main,
    remove_unnamed,
    render_again,
    with_table,
)
from tests.leaderboard.findings.held_against_tests import check

FOLDERS = sorted(path.parent for path in BOARDS.glob(f"*/{RECORDS}"))


def test_there_are_some() -> None:
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_command_on_its_page_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert [f for f in audit(gather([folder / RECORDS])) if f.level == "error"] == []
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.png"))
    built: list[Board] = []

    def kept(*arguments: Any, **named: Any) -> Board:
        built.append(make_board(*arguments, **named))
        return built[-1]

    with mock.patch.object(module, "make_board", kept):
        render_again(copy, figures=False)
    (board,) = built
    assert check(board)
    files = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
    stored = {path.relative_to(folder) for path in folder.rglob("*")
              if path.is_file() and path.suffix != ".png"}  # fmt: skip
    assert files == stored
    for name in sorted(files):
        same = (copy / name).read_bytes() == (folder / name).read_bytes()
        assert same, f"{folder.name}/{name} is stale: `make boards` renders it anew"
    page = (folder / PAGE).read_text(encoding="utf-8")
    assert f"Digest of the records: `{board.digest}`" in page
    for picture in folder.glob("figures/*.svg"):
        assert f"(figures/{picture.name})" in page


def test_the_readme_shows_the_demos_board() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page.count("\n| method ") == 1
    assert first_table(page) in (BOARDS / "demo/leaderboard.md").read_text(encoding="utf-8")
    other = page.replace("| full ", "| none ")
    assert with_table(other, page) == page


def test_pictures_that_no_page_shows_are_removed(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("a.svg", "a.png", "old.svg", "old.png", "figures.md"):
        (tmp_path / "figures" / name).write_text("x")
    (tmp_path / PAGE).write_text("![a](figures/a.svg)")
    remove_unnamed(tmp_path)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "a.svg", "a.png", "figures.md"}  # fmt: skip
    with pytest.raises(ValueError, match="does not say how it was rendered"):
        render_again(tmp_path)


def test_a_misspelt_board_is_an_error_before_any_is_rendered() -> None:
    with (
        mock.patch("support.boards_again.render_again", side_effect=AssertionError),
        pytest.raises(SystemExit, match=r"no such board: memorise-crad; boards: .*memorise-card"),
    ):
        main(["demo", "memorise-crad"])
    with pytest.raises(ValueError, match="no table whose rows are methods"):
        first_table("# Nothing\n\n| name | value |\n")
