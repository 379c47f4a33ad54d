"""The verb that joins boards: what it takes, what it refuses, and what it leaves alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from prunebench.leaderboard.bundle import pack
from support.command import prunebench
from support.records import grid
from support.sites import broken_links, publish

GUIDES = {"glossary.md": "# Words\n"}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return publish(tmp_path / "boards" / "mine", grid(("full", "random"), ("clean",)))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    for name, text in GUIDES.items():
        (tmp_path / "docs" / name).write_text(text, encoding="utf-8")
    return tmp_path / "docs"


def refused(*words: str | Path) -> str:
    said = prunebench("site", *words)
    assert said.code == 2, said
    assert said.err.count("\n") == 1, said.err
    assert said.out == ""
    return said.err


def test_a_board_and_the_folder_above_it_give_one_site(board, docs, tmp_path):
    words = ["--docs", docs, "--json"]
    said = prunebench("site", board, board.parent, "--out", tmp_path / "a", *words)
    assert (said.code, said.json["boards"]) == (0, 1)
    again = prunebench("site", board.parent, "--out", tmp_path / "b", *words)
    assert again.json["files"] == said.json["files"]
    for path in (tmp_path / "a").rglob("*.*"):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes()


def test_a_later_site_takes_the_place_and_keeps_what_is_not_its_own(board, docs, tmp_path):
    out, words = tmp_path / "out", ["--docs", docs, "--out", tmp_path / "out"]
    publish(board.parent / "other", grid(("full", "seta"), ("clean",)))
    assert prunebench("site", board.parent, *words).code == 0
    (out / "CNAME").write_text("example.org")
    shutil.rmtree(board.parent / "other")
    said = prunebench("site", board.parent, *words, "--json")
    assert said.json["removed"] > 5
    assert not (out / "boards" / "other").exists()
    assert (out / "CNAME").read_text() == "example.org"
    assert broken_links(out) == []


def test_the_protocol_of_the_board_is_the_one_it_was_published_with(docs, tmp_path):
    records = grid(("full", "random", "infobatch"), ("clean", "symmetric:0.4"))
    publish(tmp_path / "board", records, reference="random", noise=["clean"], name="declared")
    assert (
        prunebench("site", tmp_path / "board", "--docs", docs, "--out", tmp_path / "out").code == 0
    )
    html = (tmp_path / "out/boards/board/index.html").read_text(encoding="utf-8")
    assert "declared v1" in html
    assert "difference to random" in html
    assert "symmetric:0.4" not in html.partition("<main")[2]


def test_records_count_where_tables_are_of_others(board, docs, tmp_path):
    (board / "records.jsonl.gz").write_bytes(pack(grid(("full", "seta"), ("clean",))))
    said = prunebench("site", board, "--docs", docs, "--out", tmp_path / "out")
    assert said.code == 0
    assert "is of other records" in said.err
    assert ">seta<" in (tmp_path / "out/boards/mine/index.html").read_text(encoding="utf-8")


def test_nothing_of_a_board_but_records_and_protocol_is_used(board, docs, tmp_path):
    (board / "leaderboard.html").write_text("<script>alert(1)</script>")
    (board / "README.md").write_text("[x](javascript:alert(1))")
    content = json.loads((board / "leaderboard.json").read_text(encoding="utf-8"))
    content["findings"] = [{"scope": "x", "short": "planted sentence", "more": ""}]
    content["tables"][0]["rows"] = []
    (board / "leaderboard.json").write_text(json.dumps(content))
    assert prunebench("site", board, "--docs", docs, "--out", tmp_path / "out").code == 0
    for path in (tmp_path / "out").rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        assert "alert(1)" not in html
        assert "planted sentence" not in html


def test_what_is_no_board_is_one_line(board, docs, tmp_path):
    out = ["--out", tmp_path / "out", "--docs", docs]
    assert "is no folder" in refused(tmp_path / "none", *out)
    (tmp_path / "empty").mkdir()
    assert "no records.jsonl.gz in it" in refused(tmp_path / "empty", *out)
    shutil.copytree(board, tmp_path / "elsewhere" / "mine")
    assert "two boards are called 'mine'" in refused(board, tmp_path / "elsewhere", *out)
    for text, what in (("[]", "no table of values"), ("{", "cannot be read"),
                       ('{"protocol": 3}', "no protocol"),
                       ('{"protocol": {"alpha": 7}}', "alpha")):  # fmt: skip
        (board / "leaderboard.json").write_text(text)
        assert what in refused(board, *out)
    (board / "leaderboard.json").unlink()
    (board / "contributions.json").write_text('{"contributions": 3}')
    assert "contributions" in refused(board, *out)
    (board / "contributions.json").unlink()
    (board / "records.jsonl.gz").write_bytes(b"\x1f\x8bno")
    assert "records.jsonl.gz" in refused(board, *out)
    assert not (tmp_path / "out").exists()


def test_a_link_in_a_board_is_not_read(board, docs, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (board / "leaderboard.json").unlink()
    (board / "leaderboard.json").symlink_to(secret)
    assert "is a link" in refused(board, "--docs", docs, "--out", tmp_path / "out")


def test_a_place_that_cannot_be_used_is_one_line(board, docs, tmp_path):
    assert "lies in a board" in refused(board, "--docs", docs, "--out", board / "site")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "index.html").write_text("mine")
    assert "in the way" in refused(board, "--docs", docs, "--out", tmp_path / "taken")
    assert (tmp_path / "taken" / "index.html").read_text() == "mine"
    (tmp_path / "file").write_text("x")
    assert "is no folder" in refused(board, "--docs", docs, "--out", tmp_path / "file")
    out = ["--out", tmp_path / "out"]
    assert "--docs" in refused(board, *out, "--docs", tmp_path / "none")
    (tmp_path / "bare").mkdir()
    assert "no guide" in refused(board, *out, "--docs", tmp_path / "bare")
    assert "--title" in refused(board, *out, "--docs", docs, "--title", " ")
    assert "no printed numbers" in refused(board, *out, "--docs", docs, "--published", "x")
