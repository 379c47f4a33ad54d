"""The leaderboards in docs are what their records say, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunebench.bench.reports.boards import gather, make_board, texts
from prunebench.leaderboard.audit import audit
from prunebench.leaderboard.protocol_file import ProtocolFile, read_protocol
from prunebench.leaderboard.published.numbers import read_published
from tests.leaderboard.findings.held_against_tests import check

BOARDS = sorted(Path(__file__).parents[2].glob("docs/leaderboards/*/records.jsonl.gz"))


def test_there_are_some() -> None:
    assert BOARDS


@pytest.mark.parametrize("records", BOARDS, ids=lambda path: path.parent.name)
def test_rendering_again_gives_the_same_bytes(records: Path) -> None:
    folder = records.parent
    protocol = folder / "protocol.toml"
    settings = read_protocol(protocol) if protocol.is_file() else ProtocolFile()
    found = gather([records])
    assert [f for f in audit(found) if f.level == "error"] == []
    page = (folder / "README.md").read_text(encoding="utf-8")
    printed = read_published() if "--copy-from-paper" in page else []
    # Boards of earlier records that were rendered anew hold the sections of rows with AlignPrune.
    anew = '"align_controls": {' in (folder / "leaderboard.json").read_text(encoding="utf-8")
    board = make_board(found, settings, printed, align_shown=anew or None)
    assert check(board)
    for name, text in texts(board).items():
        assert (folder / name).read_text(encoding="utf-8") == text, f"{folder.name}/{name} is stale"
    assert f"Digest of the records: `{board.digest}`" in page
    assert texts(board)["leaderboard.md"].partition("\n\n")[2].strip() in page
    for picture in folder.glob("figures/*.svg"):
        assert f"(figures/{picture.name})" in page


def test_the_readme_shows_the_demos_board() -> None:
    root = Path(__file__).parents[2]
    page = (root / "README.md").read_text(encoding="utf-8")
    tables = [part for part in page.split("\n\n") if part.startswith("| method ")]
    board = (root / "docs/leaderboards/demo/leaderboard.md").read_text(encoding="utf-8")
    assert len(tables) == 1
    assert tables[0] in board
