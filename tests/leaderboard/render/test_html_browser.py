"""The HTML page in a real Chromium: no request, sorting, filters, tooltips, phone, dark, print."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.reports.boards import gather
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.render.html.page import render_html
from support.browser import Page, why_no_browser
from support.pages import COLUMN, CONTRAST, EVIL, METHODS, two_boards

pytestmark = pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "-")

TABLE = "#t-digits-0-r0\\.5"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("board") / "leaderboard.html"
    path.write_text(render_html(build(two_boards())), encoding="utf-8")
    return path


@pytest.fixture
def page(chromium: Page, file: Path) -> Page:
    """The page with all its columns."""
    chromium.open(file)
    chromium.all("#more")[0].click()
    return chromium


def column(page: Page, head: str, body: str = "tbody:not(.title, .incomplete)") -> list[str]:
    """Texts of one column's visible cells, top to bottom."""
    found: list[str] = page.run(COLUMN, TABLE, head, body)
    return found


def button(page: Page, head: str) -> Any:
    (found,) = [b for b in page.all(f"{TABLE} thead button") if b.text == head]
    return found


def cell(page: Page, row: str, head: str) -> Any:
    heads = page.run(f"return [...document.querySelectorAll({TABLE + ' thead button'!r})]"
                     ".map((b) => b.textContent)")  # fmt: skip
    rows = page.all(f"{TABLE} tr[data-name='{row}']")
    return rows[0].find_elements("css selector", "th, td")[heads.index(head)]


def shows(page: Page) -> str:
    """Text of the tooltip; empty while it is hidden."""
    (tip,) = page.all("#tip")
    return tip.text if tip.is_displayed() else ""


def test_opens_without_a_request_or_a_complaint(chromium: Page, file: Path) -> None:
    chromium.requests(), chromium.console()
    chromium.open(file)
    assert chromium.requests() == [file.as_uri()]
    assert chromium.console() == []
    assert chromium.run("return document.images.length + document.scripts.length") == 2
    assert EVIL in chromium.run(
        "return [...document.querySelectorAll('bdi')].map(b => b.innerText)"
    )
    chromium.run("document.querySelector('main tr[data-name^=\"<img\"] th').focus()")
    assert shows(chromium).startswith(EVIL)
    assert chromium.console() == []


def test_injected_script_and_requests_are_refused(page: Page) -> None:
    page.run("""document.body.insertAdjacentHTML('beforeend',
        '<img src="http://127.0.0.1:9/x.png"><button id=inj onclick="window.hit = 1">x</button>');
        document.querySelector('#inj').click();""")
    assert page.run("return window.hit === undefined")
    refused = [line for line in page.console() if "Content Security Policy" in line]
    assert [line for line in refused if "x.png" in line]
    assert [line for line in refused if "inline event handler" in line]


def test_a_click_sorts_by_number_and_a_third_restores(page: Page) -> None:
    start = column(page, "method")
    head = button(page, "clean")
    head.click()
    numbers = [float(text) for text in column(page, "clean")]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) > 2
    th = head.find_element("xpath", "..")
    assert th.get_attribute("aria-sort") == "descending"
    assert column(page, "method", "tbody.incomplete") == [EVIL, "dual"]
    head.click()
    assert [float(text) for text in column(page, "clean")] == sorted(numbers)
    assert column(page, "method", "tbody.incomplete") == ["dual", EVIL]
    assert th.get_attribute("aria-sort") == "ascending"
    head.click()
    assert column(page, "method") == start
    assert th.get_attribute("aria-sort") is None


def test_numbers_sort_as_numbers_and_gaps_last(page: Page) -> None:
    for clicks in (1, 2):
        button(page, "symmetric:0.2").click()
        found = column(page, "symmetric:0.2", "tbody.incomplete")
        assert found == ["9.0", "-"], clicks
    button(page, "rank").click()
    ranks = column(page, "rank")
    assert ranks[:3] == sorted(ranks[:3])
    assert ranks[-1] == "-"
    sorted_heads = page.all(f"{TABLE} [aria-sort]")
    assert [(h.text, h.get_attribute("aria-sort")) for h in sorted_heads] == [
        ("rank\nby mean", "ascending")]  # fmt: skip


def test_the_keyboard_sorts(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.run("arguments[0].focus()", button(page, "method"))
    page.press(Keys.ENTER)
    assert column(page, "method") == sorted(METHODS)
    page.press(Keys.SPACE)
    assert column(page, "method") == sorted(METHODS, reverse=True)


def test_the_filter_keeps_rows_that_hold_a_word(page: Page) -> None:
    (field,) = page.all("#filter")
    field.send_keys("SETA, infob")
    # The row that differences refer to stays.
    assert sorted(column(page, "method")) == ["full", "infobatch", "infobatch+align", "seta"]
    assert column(page, "method", "tbody.incomplete") == []
    assert not page.all(f"{TABLE} tbody.title")[0].is_displayed()
    assert page.all("#count")[0].text == "3 of 6 methods, 0 of 3 other rows"
    field.clear()
    page.press(" ")
    assert len(column(page, "method")) == len(METHODS)


def test_a_filter_without_hits_leaves_no_table_and_no_note(page: Page) -> None:
    (field,) = page.all("#filter")
    field.send_keys("no such method")
    assert page.texts("main h2, main .notes, main table, main summary") == []
    assert page.texts("nav a") == []
    assert page.all("#nothing")[0].is_displayed()
    assert page.all("#count")[0].text.startswith("0 of ")
    field.clear()
    field.send_keys("infobatch")
    assert not page.all("#nothing")[0].is_displayed()
    assert "news, ratio 0.5" not in page.texts("main h2")  # it has no such row
    assert "digits, ratio 0.5" in page.texts("main h2")


def test_controls_oracles_and_incomplete_rows_can_be_hidden(page: Page) -> None:
    for kind in ("control", "oracle", "incomplete"):
        page.all(f"[data-show={kind}]")[0].click()
    assert sorted(column(page, "method")) == sorted(set(METHODS) - {"short-full", "oracle-clean"})
    assert column(page, "method", "tbody.incomplete") == []


def test_columns_can_be_hidden(page: Page) -> None:
    heads = page.texts(f"{TABLE} thead th")
    assert {"symmetric:0.2", "ratio", "compute"} <= set(heads)
    page.all("[data-column=n1]")[0].click()
    page.all("[data-column=cost]")[0].click()
    assert set(heads) - set(page.texts(f"{TABLE} thead th")) >= {
        "symmetric:0.2",
        "ratio",
        "compute",
    }
    assert "clean" in page.texts(f"{TABLE} thead th")
    assert not cell(page, "seta", "symmetric:0.2").is_displayed()


def test_a_first_look_has_few_columns_and_more_are_one_click_away(
    chromium: Page, file: Path
) -> None:
    for width in (1280, 390):
        chromium.open(file, width)
        year = ["year"] * (width > 600)
        assert chromium.texts(f"{TABLE} thead button") == [
            "method", *year, "rank", "mean", "difference to full [95 %]", "group", "missing",
        ]  # fmt: skip
        assert chromium.texts("#controls .more, caption .more, .notes.more") == []
        chromium.all("#more")[0].click()
        heads = chromium.texts(f"{TABLE} thead button")
        assert {"clean", "symmetric:0.2", "W/T/L", "ratio", "compute", "n"} <= set(heads)
        assert len(chromium.texts("#controls .more")) == 4
        assert "Bold: best of its column" in chromium.texts(f"section:has({TABLE}) .notes.more")[0]


def test_bars_show_the_differences_on_one_scale(chromium: Page, file: Path) -> None:
    chromium.open(file)
    (table,) = [t for t in build(two_boards()).tables if t.dataset == "digits" and t.ratio == 0.5]
    assert table.tests.ranking is not None
    places = {}
    for label, found in table.tests.ranking.reference.items():
        if found.pooled.low is None or label == EVIL:
            continue
        zero, low, high = chromium.run(
            """const row = [...document.querySelectorAll(`${arguments[0]} tbody tr`)]
            .find((tr) => tr.dataset.name === arguments[1]);
            const [rect, line, zero] = row.querySelector(".bar").children;
            const at = (e) => e.getBoundingClientRect();
            return [at(zero).left, at(line).left, at(line).right];""", TABLE, label)  # fmt: skip
        places[label] = ((low - zero) / found.pooled.low, (high - zero) / found.pooled.high)
    rows = chromium.all(f"{TABLE} tbody:not(.title, .incomplete) tr")
    assert len(chromium.all(f"{TABLE} .bar")) == len(rows)
    scale = places["random"][0]
    assert scale > 0
    assert all(pair == pytest.approx((scale, scale), rel=0.05) for pair in places.values())


def test_data_set_and_ratio_can_be_picked(page: Page) -> None:
    from selenium.webdriver.support.ui import Select

    everything = page.texts("main h2")
    Select(page.all("#ratio")[0]).select_by_visible_text("0.3")
    assert page.texts("main h2") == [
        "digits, ratio 0.3", "digits, all ratios", "digits, module effect"]  # fmt: skip
    Select(page.all("#dataset")[0]).select_by_visible_text("news")
    assert page.texts("main h2") == []
    assert page.all("#nothing")[0].is_displayed()
    page.run("location.hash = 'digits-0-r0.5'")
    page.driver.implicitly_wait(0)
    page.run("window.dispatchEvent(new Event('hashchange'))")
    assert page.texts("main h2") == everything


def test_the_mouse_shows_what_stands_behind_a_cell(page: Page) -> None:
    from selenium.webdriver import ActionChains

    target = cell(page, "infobatch+align", "clean")
    page.run("arguments[0].scrollIntoView({block: 'center'})", target)
    ActionChains(page.driver).move_to_element(target).perform()
    text = shows(page)
    for part in ("infobatch+align · clean · ratio 0.5", "accuracy", "difference to full training",
                 "p, adjusted", "Benjamini-Hochberg", "dz ", "n = 6", "12.5 ± 0.0 %"):  # fmt: skip
        assert part in text, part
    assert target.get_attribute("aria-describedby") == "tip"
    box = page.run("const r = document.querySelector('#tip').getBoundingClientRect();"
                   "return [r.left, r.top, innerWidth - r.right,"
                   "innerHeight - r.bottom]")  # fmt: skip
    assert min(box) >= 0


def test_the_keyboard_walks_from_cell_to_cell(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    assert len(page.all(f"{TABLE} tbody [tabindex='0']")) == 1
    page.run("arguments[0].focus()", cell(page, "seta", "clean"))
    assert "seta · clean" in shows(page)
    page.press(Keys.ARROW_RIGHT)
    assert "seta · symmetric:0.2" in shows(page)
    above = column(page, "method")[column(page, "method").index("seta") - 1]
    page.press(Keys.ARROW_UP)
    assert f"{above} · symmetric:0.2" in shows(page)
    assert len(page.all(f"{TABLE} tbody [tabindex='0']")) == 1
    page.press(Keys.ESCAPE)
    assert shows(page) == ""
    page.press(Keys.ARROW_LEFT)
    assert f"{above} · clean" in shows(page)


def test_a_finger_shows_and_hides(chromium: Page, file: Path) -> None:
    chromium.open(file, 390, 844)
    chromium.all("#more")[0].click()
    target = cell(chromium, "seta", "clean")
    chromium.run("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", target)
    chromium.tap(target)
    assert "seta · clean" in shows(chromium)
    width = chromium.run("return document.querySelector('#tip').getBoundingClientRect().width")
    assert 350 < width <= 390
    chromium.tap(target)
    assert shows(chromium) == ""
    chromium.tap(target)
    chromium.run("document.body.click()")
    assert shows(chromium) == ""


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_only_tables_scroll_sideways(chromium: Page, file: Path, width: int) -> None:
    chromium.open(file, width, 844)
    chromium.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert chromium.overflow() <= 0
    if width > 600:
        return
    left = chromium.run(
        f"""const box = document.querySelector("{TABLE.replace(chr(92), chr(92) * 2)}").parentNode;
        const room = box.scrollWidth - box.clientWidth;
        box.scrollLeft = 200;
        const head = box.querySelector("tbody th").getBoundingClientRect();
        return [room, head.left - box.getBoundingClientRect().left, head.width];"""
    )
    assert left[0] > 100
    assert left[1] == pytest.approx(0, abs=1)
    assert left[2] < width / 2


def test_a_board_of_several_networks_fits_on_a_phone(chromium: Page, tmp_path: Path) -> None:
    records = Path(__file__).parents[3] / "docs/leaderboards/transfer-cifar10/records.jsonl.gz"
    file = tmp_path / "leaderboard.html"
    file.write_text(render_html(build(gather([records]))), encoding="utf-8")
    for width in (320, 390):
        chromium.open(file, width, 844)
        # A phone's window grows with what does not fit into it.
        assert chromium.run("return document.documentElement.scrollWidth") <= width


def test_a_fragment_that_is_no_text_is_no_complaint(chromium: Page, file: Path) -> None:
    chromium.open(file)
    chromium.console()
    chromium.run("location.hash = '#%E0%A4%A'")
    chromium.run("return new Promise((done) => setTimeout(done, 50))")
    assert chromium.console() == []


@pytest.mark.parametrize("name", ["demo", "cifar10n", "news"])
def test_a_board_of_four_noise_settings_fits_into_1400_pixels(
    chromium: Page, tmp_path: Path, name: str
) -> None:
    records = Path(__file__).parents[3] / "docs/leaderboards" / name / "records.jsonl.gz"
    file = tmp_path / "leaderboard.html"
    file.write_text(render_html(build(gather([records]))), encoding="utf-8")
    wide = """return [...document.querySelectorAll("main .scroll")]
        .filter((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight)
        .map((box) => box.querySelector("table").id)"""
    chromium.open(file, 1400)
    assert chromium.run(wide) == []
    chromium.all("#more")[0].click()
    assert chromium.run(wide) == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_in_both_schemes(chromium: Page, file: Path, dark: bool) -> None:
    chromium.open(file, dark=dark)
    chromium.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    ground = chromium.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark
    found = chromium.run(CONTRAST)
    assert len(found) > 300
    assert found[0][0] >= 4.5, found[:5]


def test_the_theme_button_overrides_the_system_and_is_remembered(page: Page, file: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(ground)
    (theme,) = page.all("#theme")
    theme.click()
    assert (theme.text, page.run(ground)) == ("Theme: light", light)
    theme.click()
    assert theme.text == "Theme: dark"
    assert page.run(ground) != light
    # The browser stores what a page keeps a little later; a page opened at once may not see it.
    for _ in range(50):
        page.open(file)
        if page.all("#theme")[0].text == "Theme: dark":
            break
        time.sleep(0.1)
    assert page.all("#theme")[0].text == "Theme: dark"
    assert page.run(ground) != light
    page.all("#theme")[0].click()
    assert page.run(ground) == light


def test_on_paper_the_tables_stand_alone(page: Page) -> None:
    page.cdp("Emulation.setEmulatedMedia", media="print", features=[])
    for selector in ("#controls", "nav", "#theme"):
        assert not page.all(selector)[0].is_displayed()
    assert page.all(f"{TABLE} td")[0].is_displayed()
    assert page.run("return getComputedStyle(document.querySelector('.scroll')).overflowX") == (
        "visible")  # fmt: skip
    pdf = page.cdp("Page.printToPDF", preferCSSPageSize=True)["data"]
    assert base64.b64decode(pdf)[:5] == b"%PDF-"
    assert page.run("return document.querySelectorAll('main details[open]').length") == 0


def test_all_columns_of_five_settings_fit_on_paper(chromium: Page, tmp_path: Path) -> None:
    records = Path(__file__).parents[3] / "docs/leaderboards/scenarios/records.jsonl.gz"
    file = tmp_path / "leaderboard.html"
    file.write_text(render_html(build(gather([records]))), encoding="utf-8")
    chromium.open(file, 1032, 700)  # A4 across, less its margins
    chromium.all("#more")[0].click()
    chromium.cdp("Emulation.setEmulatedMedia", media="print", features=[])
    assert chromium.overflow() <= 0


def test_without_script_the_page_is_plain(chromium: Page, file: Path) -> None:
    chromium.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(file)
        assert not chromium.all("#controls")[0].is_displayed()
        assert chromium.all("noscript p")[0].is_displayed()
        assert chromium.all(f"{TABLE} thead button") == []
        assert all(head.is_displayed() for head in chromium.all("main h2"))
    finally:
        chromium.cdp("Emulation.setScriptExecutionDisabled", value=False)
