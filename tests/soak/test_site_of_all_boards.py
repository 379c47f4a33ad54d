"""The site of all published boards: it is written, and every link of it leads somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.browser import browser, why_no_browser
from support.command import prunebench
from support.sites import broken_links

BOARDS = Path(__file__).parents[2] / "docs" / "leaderboards"

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("all") / "site"
    said = prunebench("site", BOARDS, "--out", out)
    assert said.code == 0, said.err
    assert "is of other records" not in said.err
    return out


def test_every_board_is_there_and_every_link_leads_somewhere(root):
    names = {path.name for path in BOARDS.iterdir() if (path / "records.jsonl.gz").exists()}
    assert {path.name for path in (root / "boards").iterdir()} == names
    assert broken_links(root) == []


@pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "-")
def test_no_page_complains_or_scrolls_sideways_on_a_phone(root, tmp_path):
    with browser(tmp_path) as page:
        for path in sorted(root.rglob("*.html")):
            if path.name == "leaderboard.html":
                continue
            page.console()
            page.open(path, 390, 844)
            assert page.console() == [], path
            assert page.overflow() <= 0, path
