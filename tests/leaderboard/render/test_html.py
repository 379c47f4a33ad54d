"""The HTML page says what the board says, asks for nothing and believes no name."""

from __future__ import annotations

import base64
import hashlib
import math
import random
import re
import time

import pytest

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.html.page import render_html
from prunebench.leaderboard.render.html.page_table import bars
from support.pages import EVIL, Page, contest
from support.records import grid, record


@pytest.fixture(scope="module")
def board() -> Board:
    return build(contest())


@pytest.fixture(scope="module")
def page(board: Board) -> Page:
    return Page(render_html(board))


def test_bytes_do_not_depend_on_the_order(board: Board) -> None:
    text, records = render_html(board), contest()
    for seed in range(2):
        random.Random(seed).shuffle(records)
        assert render_html(build(records)) == text


def test_nothing_is_asked_for(page: Page, board: Board) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "video", "audio", "source")
        for name in ("src", "href", "action", "srcset", "poster", "data", "ping"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"url\(|@import|https?:", "".join([*page.styles, page.scripts[0]]))


def test_the_policy_lets_only_this_style_and_script_run(page: Page) -> None:
    (policy,) = (a["content"] for tag, a in page.tags if "http-equiv" in a)
    for text in (page.styles[0], page.scripts[0]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert len(page.styles) == 1


def test_names_are_text_wherever_they_come_from() -> None:
    records = [record("full", noise, s) for noise in ("clean", EVIL) for s in range(3)]
    for noise in ("clean", EVIL):
        for s in range(3):
            other = {"clean_labels_used": EVIL}
            records.append(record(EVIL, noise, s, accuracy=0.8, info=other))
            records.append(record(EVIL + "+align", noise, s, accuracy=0.9))
    records.append(record("seta", "clean", 0, status="failed", reason=EVIL))
    evil = {"dataset": {"name": EVIL, "version": EVIL, "params": {}, "identity": ""}}
    records += [record("full", seed=s, spec=evil) for s in range(2)]
    records += [record("random", seed=s, spec=evil) for s in range(2)]
    text = render_html(build(records))
    page = Page(text)
    assert len(page.scripts) == 2
    assert "<img" not in text
    assert "49" not in page.text
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    rows = [table.row(EVIL) for table in page.tables if EVIL in table.names()]
    assert {row["method"].text for row in rows} == {EVIL}
    assert any(EVIL in title for title, _ in page.tips)
    assert EVIL in {a.get("data-dataset") for _, a in page.tags}
    assert "<" not in page.scripts[1]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[\w.-]+", name) for name in ids)


def test_cells_show_the_boards_numbers_and_signs(board: Board, page: Page) -> None:
    (table,), shown = board.tables, page.table("t-")
    seen = set()
    for row in (*table.rows, *table.incomplete):
        cells = shown.row(row.label)
        for noise, column, cell in zip(table.noises, table.tests.columns, row.cells, strict=True):
            found = cells[noise]
            if cell is None:
                assert found.text == "-"
                assert "data-v" not in found.attributes
                continue
            assert float(found.attributes["data-v"]) == pytest.approx(cell.accuracy.mean, abs=1e-6)
            assert found.text == f"{cell.accuracy.mean:.1f}"
            raised = "" if cell.difference is None else f"{cell.difference.mean:+.1f}"
            assert found.parts.get("sup", "") == raised.replace("-0.0", "+0.0")
            half = cell.accuracy.half_width
            assert found.parts.get("small", "") == ("" if half is None else f"±{half:.1f}")
            assert column is not None
            assert ("b" in found.parts) == (row.complete and row.label in column.best)
            assert table.tests.marks is not None
            mark = table.tests.marks.mark(row.label, noise)
            assert found.parts.get("span", "") == mark + "‡" * bool(cell.diverged)
            seen |= {mark, "‡" * bool(cell.diverged), "b" * ("b" in found.parts)}
    assert seen == {"", "*", "†", "‡", "b"}


def test_rows_carry_letters_lossless_ratio_and_leaks(board: Board, page: Page) -> None:
    shown, ranking = page.table("t-"), board.tables[0].tests.ranking
    assert ranking is not None
    assert ranking.groups is not None
    for label in ranking.labels:
        assert shown.row(label)["group"].text == ranking.groups.letters_of(label)
    better = shown.row("infobatch+align")
    assert better["difference to full [95 %]"].text.startswith("≥ +")
    assert "≥" not in shown.row("random")["difference to full [95 %]"].text
    assert better["method"].parts["small"] == "§"
    assert better["clean labels"].text == "reference set §"
    assert shown.row("dual")["ratio"].text == "≈0.45"
    assert shown.row("random")["ratio"].text == "0.50"
    assert shown.row("full")["difference to full [95 %]"].text == "reference"
    assert better["rank"].text == "1"
    assert shown.row("oracle-clean")["rank"].text == "-"
    tip = page.tip(better["group"])
    assert tip["not separable from"] == "nobody"
    assert re.search(r"random \((< 1e-5|\d)", tip["separated from (p, Holm)"])


def test_incomplete_rows_stand_apart_with_their_reasons(page: Page) -> None:
    shown = page.table("t-")
    assert shown.names("incomplete") == ["seta"]
    assert "seta" not in shown.names()
    row = shown.row("seta")
    assert row["missing"].text == "1 failed (out of memory), 16 no record"
    assert row["method"].parts["small"] == "1/18 cells"
    for head in ("rank", "mean", "difference to full [95 %]", "W/T/L", "group"):
        assert row[head].text == "-"
        assert "data-v" not in row[head].attributes


def test_tooltips_hold_test_effect_and_diagnostics(board: Board, page: Page) -> None:
    table, cell = board.tables[0], page.table("t-").row("infobatch+align")["clean"]
    tip = page.tip(cell)
    runs = [table.series[label].values["clean", 0.5] for label in ("infobatch+align", "full")]
    d = [runs[0][s] - runs[1][s] for s in sorted(runs[0])]
    mean = math.fsum(d) / 6
    sd = math.sqrt(sum((x - mean) ** 2 for x in d) / 5)
    assert tip["effect size"].startswith(f"dz {mean / sd:+.2f} ")
    assert tip["difference to full training"].startswith(f"{mean:+.2f} [")
    assert tip["difference to full training"].endswith("(n = 6)")
    assert tip["test against full"] == "paired t"
    assert tip["p, adjusted"].endswith("(Benjamini-Hochberg, m = 16)")
    assert tip["verdict"] == "better *"
    assert tip["noise among the kept"] == "12.5 ± 0.0 %"
    assert tip["AUROC of the score"] == "0.800"
    assert page.tip(page.table("t-").row("dual")["clean"])["diverged"] == "1 of 6 runs ‡"
    losing = page.tip(page.table("t-").row("random")["difference to full [95 %]"])
    assert losing["loss below 0.5 points"].startswith("not shown: p ")


def test_no_p_is_printed_as_zero_and_refusals_are_explained(page: Page) -> None:
    values = [(term, value) for _, facts in page.tips for term, value in facts.items()]
    p = [value.split()[0] for term, value in values if term.startswith("p")]
    assert p
    assert not {"0", "0.0", "0.00", "0.0e+00"} & set(p)
    far = Page(render_html(build(contest(3))))
    tip = far.tip(far.table("t-").row("random")["clean"])
    assert tip["p"] == "not tested: underpowered: min p .25 > .0031"
    assert tip["test against full"] == "none"
    assert "verdict" not in tip
    assert {head.parts.get("small") for head in far.table("t-").heads} >= {"⚠ n = 3"}
    assert not [c for _, rows in far.table("t-").bodies for _, r in rows for c in r
                if "b" in c.parts]  # fmt: skip
    strong = [record(seed=s, accuracy=0.5 + 0.001 * (s % 3)) for s in range(5)]
    strong += [record("seta", seed=s, accuracy=0.9) for s in range(5)]
    sure = Page(render_html(build(strong)))
    assert sure.tip(sure.table("t-").row("seta")["clean"])["p"] == "< 1e-5"


def test_module_effect_shows_both_claims(board: Board, page: Page) -> None:
    found = board.summaries[0].modules
    assert found is not None
    (module,) = found.pairs
    row = page.table("t-digits-0-modules").row("infobatch+align - infobatch")
    pooled = module.comparison.pooled
    assert float(row["difference [95 %]"].attributes["data-v"]) == pytest.approx(pooled.mean)
    assert row["p, Holm"].parts["span"] == "*"
    assert row["p over settings, Holm"].text == "underpowered"
    tip = page.tip(row["p over settings, Holm"])
    assert tip["p"] == "not tested: underpowered: min p .25 > .05"
    assert row["W/T/L"].text == "3/0/0"
    assert "exploratory" in [h.parts.get("small") for h in page.table("t-digits-0-m").heads]


def test_a_significant_loss_is_not_marked_as_a_gain() -> None:
    records = contest()
    swap = {"infobatch": "infobatch+align", "infobatch+align": "infobatch"}
    for place, old in enumerate(records):
        name = old.spec["method"]["name"]
        if name in swap:
            spec = old.spec
            records[place] = record(swap[name], spec["noise"]["name"], spec["seed"],
                                    accuracy=old.metrics["test_accuracy"])  # fmt: skip
    row = Page(render_html(build(records))).table("t-digits-0-m").row("infobatch+align - infobatch")
    assert row["difference [95 %]"].text.startswith("-")
    assert row["p, Holm"].parts["span"] == "†"


def test_footers_name_families_protocol_and_what_was_left_out(board: Board, page: Page) -> None:
    text = " ".join(page.text.split())
    for part in (
        board.digest, board.protocol.digest, f"{board.used} used", "1 failed (out of memory)",
        "Holm over m = 15 pairs", "Benjamini-Hochberg over m = 16 cells", "smallest p",
        "80% power", "abc123", "450 test samples", "reference 90 clean samples",
        "paired sign-flip over (noise, seed) units", "§ The clean reference is the test split",
    ):  # fmt: skip
        assert part in text, part


def test_another_reference_row_is_named_throughout() -> None:
    records = contest()
    page = Page(render_html(build(records, ProtocolFile.model_validate({"reference": "random"}))))
    row = page.table("t-").row("full")
    assert row["difference to random [95 %]"].text.startswith("+")
    low, high = re.findall(r"[+-][\d.]+", row["difference to random [95 %]"].text)[1:]
    assert float(low) < float(row["difference to random [95 %]"].attributes["data-v"]) < float(high)
    tip = page.tip(page.table("t-").row("infobatch")["clean"])
    assert tip["difference to random"].startswith("+")
    assert "better than random in this cell" in " ".join(page.text.split())


def test_summary_over_ratios_and_ids_by_data_set() -> None:
    records = grid(("full", "random", "infobatch"), ratios=(0.3, 0.5))
    other = {"dataset": {"name": "DIGITS", "version": "1", "params": {}, "identity": ""}}
    records += [record(m, seed=s, accuracy=0.8 + s / 450, spec=other)
                for m in ("full", "random") for s in range(3)]  # fmt: skip
    board = build(records)
    page = Page(render_html(board))
    assert [table.id for table in page.tables if table.id.startswith("t-")] == [
        "t-digits-0-r0.5", "t-digits-1-r0.3", "t-digits-1-r0.5", "t-digits-1-summary",
    ]  # fmt: skip
    summary = next(s for s in board.summaries if s.dataset == "digits")
    assert summary.ranking is not None
    for label in summary.ranking.labels:
        row = page.table("t-digits-1-summary").row(label)
        assert float(row["mean"].attributes["data-v"]) == pytest.approx(
            summary.ranking.means[label]
        )
    anchors = {a["href"][1:] for tag, a in page.tags if tag == "a"}
    assert anchors <= {a["id"] for _, a in page.tags if "id" in a}
    assert "mean" not in page.table("t-digits-0").row("full")


def test_without_script_the_tables_stand_and_the_controls_do_not(page: Page) -> None:
    hidden = {a.get("id") for _, a in page.tags if "hidden" in a}
    assert {"controls", "theme", "tip"} <= hidden
    assert "noscript" in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        if tag in ("section", "tr", "td", "th", "table", "tbody"):
            assert "hidden" not in attributes
    scopes = [a.get("scope") for tag, a in page.tags if tag == "th"]
    assert set(scopes) == {"col", "row", "rowgroup"}
    assert sum(tag == "caption" for tag, _ in page.tags) == len(page.tables)


@pytest.mark.perf
def test_ten_thousand_runs_render_fast() -> None:
    methods = ("full", *(f"m{i}" for i in range(24)))
    noises = ("clean", *(f"symmetric:0.{i}" for i in range(1, 7)))
    board = build(grid(methods, noises, range(3), tuple(i / 20 for i in range(1, 20))))
    assert board.used > 9_500
    start = time.process_time()
    text = render_html(board)
    spent = time.process_time() - start
    print(f"{board.used} runs, {len(text) / 1e6:.1f} MB, {spent:.2f} s")
    assert spent < 2


def test_one_row_far_off_leaves_the_bars_of_the_others_their_room() -> None:
    near = [(mean, mean - 0.5, mean + 0.5) for mean in (-1.0, 0.2, 0.8, 1.1, 0.4)]
    *inside, none, far = bars([*near, None, (-38.5, -40.0, -37.0)])
    assert none is None
    assert far is not None
    assert (far.below, far.above, far.low, far.mean) == (True, False, 0.0, 0.0)
    assert far.places["below"] == "1"
    assert all(bar is not None and not bar.below and not bar.above for bar in inside)
    means = [bar.mean for bar in inside if bar is not None]
    assert max(means) - min(means) > 50
    # Without such a row, and of three rows, none is cut.
    for whole in (near, [near[0], near[1], (-38.5, -40.0, -37.0)]):
        assert not [bar for bar in bars(whole) if bar is None or bar.below or bar.above]
