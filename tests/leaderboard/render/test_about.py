"""What a page says before its tables: the findings, the title, and the files beside it."""

from __future__ import annotations

import html
import itertools
import json
import re
from dataclasses import replace

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import findings
from prunebench.leaderboard.publish import publication
from prunebench.leaderboard.render.about import about, title
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
    assert head.splitlines()[2:] == [f"5 methods, {board.used} runs."]
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
    assert set(content[0]) == {"topic", "scope", "short", "more", "claim", "level", "grounds",
                               "needed_p", "smallest_p", "scopes"}  # fmt: skip
    assert set(tests[0]) == {"kind", "what", "family", "p", "mean", "low", "high", "claimed"}


def test_several_designs_are_named_above_their_sentences() -> None:
    board = build(two_boards())
    forms, scopes = texts(board), {finding.scope for finding in findings(board)}
    assert scopes > {"both designs"}
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


def test_the_title_names_data_network_budget_seeds_and_days() -> None:
    records = [replace(r, timing={**r.timing, "finished": end}).sealed()
               for r, end in zip(grid(), itertools.cycle((1.7e9, 1.7e9 + 90_000)))]  # fmt: skip
    board = build(records)
    expected = "Leaderboard: digits with mlp, budget samples, n = 3 seeds, 2023-11-14 to 2023-11-15"
    forms = texts(board)
    assert forms["leaderboard.md"].startswith(f"# {expected}\n")
    assert f"<title>{expected}</title>" in forms["leaderboard.html"]
    assert f">{expected}</h1>" in forms["leaderboard.html"]
    content = json.loads(forms["leaderboard.json"])["about"]
    assert content["title"] == expected
    assert content["methods"] == list(about(board).methods)
    assert title(build(grid())) == "Leaderboard: digits with mlp, budget samples, n = 3 seeds"


def test_the_rank_over_all_ratios_is_by_the_mean_beside_it() -> None:
    records = grid(("full", "random", "infobatch", "seta"), ratios=(0.3, 0.5))
    board = build(records)
    (summary,) = board.summaries
    assert summary.ranking is not None
    order = sorted(summary.ranks, key=lambda label: summary.ranks[label][0])
    means = [summary.ranking.means[label] for label in order]
    assert means == sorted(means, reverse=True)
    assert set(order) == {"random", "infobatch", "seta"}
    forms = texts(board)
    part = forms["leaderboard.md"].partition("ratios 0.3, 0.5\n\n")[2].splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in part[:6]}
    assert rows["method"] == "rank by mean"
    assert rows["full"] == "-"
    assert [rows[label] for label in order] == ["1", "2", "3"]
    assert "mean rank" not in forms["leaderboard.md"]
    assert json.loads(forms["leaderboard.json"])["summaries"][0]["ranks"] == {
        label: place for label, (place, _) in summary.ranks.items()
    }
    level = [record(m, seed=seed, ratio=ratio, accuracy=0.5) for m in ("random", "seta")
             for seed in (0, 1) for ratio in (0.3, 0.5)]  # fmt: skip
    assert build(level).summaries[0].ranks == {"random": (1, True), "seta": (1, True)}


def test_methods_are_counted_once_whatever_their_rows() -> None:
    records = [record("full"), *(record("el2n", params={"repeats": n}) for n in (1, 5)),
               record("random")]  # fmt: skip
    board = build(records)
    assert about(board).methods == ("el2n", "random")
    assert len(about(board).rows) == 3
    forms = texts(board)
    assert "\n\n2 methods in 3 rows, 4 runs.\n" in forms["leaderboard.md"]
    rows = re.findall(r'<tr data-name="([^"]*)" data-method="([^"]*)"', forms["leaderboard.html"])
    assert rows == [("el2n (repeats=1)", "el2n"), ("el2n (repeats=5)", "el2n")]
