"""What a page says before its tables: the findings, the title, and the files beside it."""

from __future__ import annotations

import html
import json
import re

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import findings
from prunebench.leaderboard.publish import publication
from support.pages import EVIL, contest, two_boards
from support.records import grid, record


@pytest.fixture(scope="module")
def board() -> Board:
    return build(contest())


def plain(markdown: str) -> str:
    """Markdown text without its escapes."""
    return html.unescape(re.sub(r"\\([^\w\s])", r"\1", markdown))


def test_the_findings_come_first_in_every_form(board: Board) -> None:
    forms, said = texts(board), [finding.text for finding in findings(board)]
    markdown = forms["leaderboard.md"]
    head, _, rest = markdown.partition("\n## What was found\n\n")
    assert len(head.splitlines()) == 1
    shown = [plain(line[2:].replace("**", "")) for line in rest.split("\n\n")[0].splitlines()]
    assert shown == said
    page = forms["leaderboard.html"]
    found = re.search(r'<section id="found".*?</section>', page, re.DOTALL)
    assert found
    items = re.findall("<li>(.*)</li>", found[0])
    assert [html.unescape(re.sub("<[^>]*>", "", item)) for item in items] == said
    assert page.index('id="found"') < page.index("<table")
    content = json.loads(forms["leaderboard.json"])["findings"]
    assert [f"{one['short']} {one['more']}".rstrip() for one in content] == said
    tests = [g for one in content for g in one["grounds"] if g["kind"] == "test"]
    assert any(g["claimed"] and g["p"] < 0.05 for g in tests)
    assert set(content[0]) == {"topic", "scope", "short", "more", "claim", "level", "grounds"}
    assert set(tests[0]) == {"kind", "what", "family", "p", "mean", "low", "high", "claimed"}


def test_several_designs_are_named_above_their_sentences() -> None:
    board = build(two_boards())
    forms, scopes = texts(board), {finding.scope for finding in findings(board)}
    assert len(scopes) == 2
    for scope in scopes:
        assert f"\n**{scope}**\n" in forms["leaderboard.md"]
        assert f"<h3>{scope}</h3>" in forms["leaderboard.html"]


def test_names_in_sentences_are_text() -> None:
    records = [record("full", noise, s) for noise in ("clean", EVIL) for s in range(3)]
    records += [record(EVIL, noise, s, accuracy=0.8) for noise in ("clean", EVIL) for s in range(3)]
    board = build(records)
    assert any(EVIL in finding.text for finding in findings(board))
    forms = texts(board)
    assert "<img" not in forms["leaderboard.html"]
    assert "<img" not in forms["leaderboard.md"]


def test_a_publication_lists_its_files_below_what_was_found() -> None:
    records = grid()
    board = build(records)
    files = {name: text.encode() for name, text in texts(board).items()}
    page = publication(board, files, records, "prunebench leaderboard x")["README.md"].decode()
    places = [page.index(part) for part in (
        "## What was found", "## Files", "`prunebench leaderboard x`", "| method")]  # fmt: skip
    assert places == sorted(places)
