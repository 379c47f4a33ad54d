"""What the pages of a site say, and that their links lead somewhere."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from prunebench.leaderboard.bundle import unpack
from prunebench.leaderboard.site.addresses import dataset_page, file_stem, method_page
from support.pages import EVIL
from support.records import record
from support.sites import EVIL_DATA, Links, broken_links


def text_of(root: Path, page: str) -> str:
    return (root / page).read_text(encoding="utf-8")


def section(html: str, name: str) -> str:
    return html.partition(f'<section id="{name}">')[2].partition("</section>")[0]


def rows(html: str) -> list[list[str]]:
    """Words of the cells of every row of a table."""
    return [
        [" ".join(re.sub("<[^>]*>", "", cell).split())
         for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.DOTALL)
    ]  # fmt: skip


def test_every_link_leads_somewhere(root):
    pages = sorted(root.rglob("*.html"))
    assert len(pages) > 60
    assert sum(len(Links(page.read_text(encoding="utf-8")).links) for page in pages) > 900
    assert broken_links(root) == []


def test_anchors_are_unique(root):
    for page in root.rglob("*.html"):
        ids = Links(page.read_text(encoding="utf-8")).ids
        assert len(ids) == len(set(ids)), page


def test_names_and_titles_are_escaped(root):
    for page in root.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert "<img" not in html, page
        assert "alert(2)</script>" not in html.replace("&lt;/script&gt;", ""), page
        assert "<i>x</i>" not in html, page
        if page.name != "leaderboard.html":
            assert "A &lt;small&gt; site" in html, page
            assert "<small> site" not in html, page
    assert (root / method_page(EVIL)).is_file()
    assert (root / dataset_page(EVIL_DATA)).is_file()


def test_the_first_page_says_what_was_found(root):
    html = text_of(root, "index.html")
    boards = re.findall(r'<article data-board="\d">.*?<a href="(.*?)">', html, re.DOTALL)
    assert boards == ["boards/second/index.html", "boards/first/index.html"]  # the newest first
    assert "2026-06-05" in html
    own = json.loads(text_of(root, "boards/first/leaderboard.json"))
    assert own["findings"]
    shown = " ".join(unescape(html).split())
    assert all(finding["short"] in shown for finding in own["findings"])


def test_a_board_has_its_findings_first_and_its_files(root):
    html = text_of(root, "boards/first/index.html")
    assert html.index("What was found") < html.index("<table")
    records = unpack(root / "boards/first/records.jsonl.gz")
    assert len(records) == 3 * 3 * 7 + 1
    links = Links(html).links
    assert {"leaderboard.html", "records.html", "records.jsonl.gz", "leaderboard.csv"} <= set(links)
    (table,) = [t for t in html.split("<h2>") if t.startswith("digits, ratio 0.3")]
    assert [row[0] for row in rows(table)] == ["rank", "-", "1", "2", "3"]
    assert {row[1] for row in rows(table)[1:]} == {"full", "random", "infobatch", "el2n"}
    assert "AMD EPYC" in table
    assert "2026-05-04" in table


def test_each_number_leads_to_the_runs_behind_it(root):
    html = text_of(root, "boards/first/index.html")
    runs = text_of(root, "boards/first/records.html")
    keys = {found.key for found in unpack(root / "boards/first/records.jsonl.gz")}
    numbers = re.findall(r'<a class="num" href="records.html#(r-\w+)">([^<]+)</a>', html)
    assert len(numbers) > 10
    for anchor, _ in numbers:
        shown = runs.partition(f'<section id="{anchor}"')[2].partition("</section>")[0]
        own = re.findall(r"<code>(\w{16})</code>", shown)
        assert len(own) == 9
        assert set(own) <= keys
    whole = record("infobatch", "clean", 1, 0.3)
    assert whole.key in runs


def test_a_method_has_its_card_rows_profile_and_guide(root):
    html = text_of(root, "methods/el2n.html")
    assert "el2n: hard ones" in html
    assert "2021" in html
    assert "https://github.com/mansheej/data_diet" in Links(html).links
    assert "As shipped and as published" in html
    assert "The code differs" in html
    assert {row[0].split()[0] for row in rows(section(html, "results"))[1:]} == {"first", "second"}
    kept = rows(section(html, "noise"))
    assert kept[0][5:7] == ["in the data", "trained"]
    assert {(row[5], row[6]) for row in kept[1:]} == {("20.0", "12.5 ± 0.0")}
    costs = rows(section(html, "costs"))
    assert costs[0][2:5] == ["asked", "reached", "compute"]
    assert {"0.3", "0.5"} <= {row[2] for row in costs[1:]}
    assert "glossary" not in html.partition("<main")[2]


def test_a_method_without_rows_and_one_that_nobody_knows_have_pages(root):
    assert "No board here has a row of it" in text_of(root, "methods/herding.html")
    assert "does not know the method" in text_of(root, method_page(EVIL))


def test_an_earlier_version_is_told_from_the_one_of_this_installation(root):
    found = rows(section(text_of(root, "methods/infobatch.html"), "results"))
    place = found[0].index("version")
    assert {(row[0].split()[0], row[place]) for row in found[1:]} == {
        ("first", "1"), ("second", "2 (another than here)")}  # fmt: skip


def test_printed_numbers_stand_in_grey_beside_ours(root):
    html = section(text_of(root, "methods/infobatch+align.html"), "printed")
    assert "An invented paper" in html
    assert '<table class="copied">' in html
    (line,) = [row for row in rows(html) if "72.50 (sd 0.30)" in row]
    assert line[:6] == ["7", "digits", "mlp", "symmetric:0.4", "0.5", "72.50 (sd 0.30)"]
    assert re.fullmatch(r"91\.2 ±0\.6 on second", line[6])
    assert "recipe.epochs 10 (paper: 200)" in html
    alone = section(text_of(root, "methods/full.html"), "printed")
    assert "1 printed numbers without a run here" in alone  # mnist
    assert "An invented paper" not in section(text_of(root, "methods/el2n.html"), "printed")


def test_what_is_new_has_dates(root):
    html = text_of(root, "news.html")
    later, earlier = html.index("2026-06-05"), html.index("2026-05-04")
    assert later < earlier
    new = html[later:earlier]
    assert "version 2, after 1" in new
    assert "methods/infobatch%2Balign.html" in new
    assert "first</bdi>" in html[earlier:]


def test_a_submission_names_who_ran_it_and_keeps_the_earlier_version(root):
    board = text_of(root, "boards/second/index.html")
    assert "Version 2, 2026-06-07: 3 runs of infobatch+align by Ada Lovelace" in board
    assert "2 of this board" in board
    assert "contributions.json" in Links(board).links
    html = text_of(root, "methods/infobatch+align.html")
    (row,) = rows(section(html, "results"))[1:]
    assert row[rows(section(html, "results"))[0].index("ran by")] == "Ada Lovelace, 2026-06-05"
    assert "https://example.org/code" in Links(section(html, "submissions")).links
    (old,) = [link for link in Links(html).links if "superseded" in link]
    earlier = unpack(root / "methods" / unquote(old))
    assert {one.spec["method"]["version"] for one in earlier} == {"0"}
    new = text_of(root, "news.html").partition("2026-06-07")[2].partition("<section>")[0]
    assert "Submission of" in new
    assert "3 runs by Ada Lovelace" in new


def test_guides_are_pages(root):
    html = text_of(root, "guides/glossary.html")
    assert "&lt;b&gt;binds" in html
    assert "protocol.html#budgets" in Links(html).links
    assert "../boards/first/index.html" in Links(text_of(root, "guides/protocol.html")).links
    assert "../methods/infobatch.html" not in Links(html).links
    assert "infobatch.html" in Links(text_of(root, "methods/el2n.html")).links


def test_pages_forbid_every_request_and_hold_no_other_script(root):
    for page in root.rglob("*.html"):
        head = unescape(page.read_text(encoding="utf-8").partition("<title")[0])
        assert "default-src 'none'" in head, page
        assert "unsafe" not in head, page


def test_the_search_data_hold_every_row(root):
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text_of(root, "index.html"))[0])
    assert data["boards"] == ["second", "first"]
    assert len(data["rows"]) == 4 + 5 + 4 + 2  # a table of each ratio, and of each data set
    assert {data["methods"][row[1]][0] for row in data["rows"]} == {
        "full", "random", "infobatch", "infobatch+align", "el2n", "seta", EVIL}  # fmt: skip
    for row in data["rows"]:
        page, _, anchor = row[9].partition("#")
        assert unquote(anchor) in Links(text_of(root, page)).ids
    assert file_stem("first") in data["rows"][-1][9]
