"""Pictures, weights, links to a view and CSV in a real Chromium."""

from __future__ import annotations

import csv
import io
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from prunebench.leaderboard.board.cost_share import cost_of
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.render.html.charts.panel import WIDTH
from prunebench.leaderboard.render.html.page import render_html
from support.access import PICTURE_CONTRAST, axe_faults, axe_file, own_faults
from support.browser import Page, why_no_browser
from tests.leaderboard.render.charts.pictured import pictured

pytestmark = pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "-")

#: Names in a panel that can be seen, from top to bottom.
NAMES = """
return [...document.querySelectorAll(arguments[0] + " .name text")]
  .filter((e) => e.getClientRects().length)
  .map((e) => [Number(e.getAttribute("y")), e.textContent])
  .sort((a, b) => a[0] - b[0]);"""


@pytest.fixture(scope="module")
def board() -> Board:
    return pictured()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, board: Board) -> Path:
    path = tmp_path_factory.mktemp("board") / "leaderboard.html"
    path.write_text(render_html(board), encoding="utf-8")
    return path


@pytest.fixture
def page(chromium: Page, file: Path) -> Page:
    chromium.driver.get("about:blank")  # a link to a view in the same file would load nothing
    chromium.open(file)
    return chromium


def tab(page: Page, key: str) -> None:
    page.all(f"#p0-{key}-tab")[0].click()


def chip(page: Page, label: str) -> Any:
    (found,) = [one for one in page.all(".chip") if one.text == label]
    return found


def pressed(page: Page) -> list[str]:
    return [one.text for one in page.all(".chip[aria-pressed=true]")]


def mark(page: Page, panel: str, label: str, place: int = 0) -> Any:
    row = chip(page, label).get_attribute("data-row")
    return page.all(f"{panel} .row[data-row='{row}'] > use")[place]


def shows(page: Page) -> str:
    (tip,) = page.all("#tip")
    return str(tip.text) if tip.is_displayed() else ""


def point_at(page: Page, element: Any) -> None:
    from selenium.webdriver import ActionChains

    page.run("arguments[0].scrollIntoView({block: 'center'})", element)
    ActionChains(page.driver).move_to_element(element).perform()


def slide(page: Page, selector: str, value: float) -> None:
    page.run("const e = document.querySelector(arguments[0]); e.value = arguments[1];"
             "e.dispatchEvent(new Event('input', {bubbles: true}));", selector, value)  # fmt: skip


def weighed(page: Page) -> list[list[str]]:
    found: list[list[str]] = page.run(
        "return [...document.querySelectorAll('#weighed tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return found


def downloaded(page: Page, folder: Path, button: Any) -> str:
    page.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.run("arguments[0].click()", button)
    for _ in range(100):
        found = [one for one in folder.glob("*.csv") if one.stat().st_size]
        if found:
            return found[0].read_text(encoding="utf-8")
        time.sleep(0.05)
    raise AssertionError("nothing was downloaded")


def test_one_picture_at_a_time_and_the_keyboard_goes_through_them(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    assert page.requests()[-1].startswith("file:")
    assert [line for line in page.console() if "SEVERE" in line] == []
    assert len(page.all(".picture")) == 6
    assert page.texts(".picture > h3") == ["Which rows are worth their cost?"]
    page.run("arguments[0].focus()", page.all("#p0-cost-tab")[0])
    page.press(Keys.ARROW_RIGHT)
    assert page.texts(".picture > h3") == ["How much accuracy is left when less is trained?"]
    page.press(Keys.HOME, Keys.ARROW_LEFT)
    assert page.texts(".picture > h3") == ["How many of the kept samples have wrong labels?"]
    assert page.run("return document.activeElement.id") == "p0-kept-tab"


def test_pointing_shows_the_numbers_and_the_name_of_a_pale_row(page: Page) -> None:
    tab(page, "ratio")
    panel = "#p0-ratio .panel:first-child"
    (pale, *_) = [one.text for one in page.all(".chip[aria-pressed=false]")]
    assert pale not in [name for _, name in page.run(NAMES, panel)]
    point_at(page, mark(page, panel, pale, 1))
    text = shows(page)
    for part in (f"{pale} · clean · ratio 0.5", "accuracy", "by seed", "difference to full"):
        assert part in text, part
    assert pale in [name for _, name in page.run(NAMES, panel)]
    heights = [y for y, _ in page.run(NAMES, panel)]
    assert all(b - a >= 12.9 for a, b in pairwise(heights))


def test_eight_rows_can_be_in_colour_in_all_pictures_at_once(page: Page) -> None:
    first = pressed(page)
    assert len(first) == 8
    other = next(one.text for one in page.all(".chip") if one.text not in first)
    chip(page, other).click()
    assert pressed(page) == first
    assert "Eight" in page.all(".chips output")[0].text
    gone = first[-1]
    row = chip(page, gone).get_attribute("data-row")
    look = {*chip(page, gone).get_attribute("class").split()} - {"hot"}
    chip(page, gone).click()
    assert page.run("return document.querySelectorAll(`.on[data-row='${arguments[0]}']`).length",
                    row) == 0  # fmt: skip
    chip(page, other).click()
    assert sorted(pressed(page)) == sorted({*first, other} - {gone})
    drawn = page.run("return [...document.querySelectorAll(`[data-row='${arguments[0]}']`)]"
                     ".map((e) => e.classList.contains('on'))",
                     chip(page, other).get_attribute("data-row"))  # fmt: skip
    assert len(drawn) > 10
    assert all(drawn)
    tab(page, "ratio")
    names = [name for _, name in page.run(NAMES, "#p0-ratio .panel:first-child")]
    assert other in names
    assert gone not in names
    chip(page, other).click()
    chip(page, gone).click()
    assert {*chip(page, gone).get_attribute("class").split()} - {"hot"} == look
    colours = page.run("return [...document.querySelectorAll('.chip.on use')].map((e) =>"
                       "getComputedStyle(e).stroke + e.getAttribute('href')"
                       "+ e.closest('.plain'))")  # fmt: skip
    assert len(set(colours)) == 8


def test_a_picture_can_be_enlarged_and_put_back(page: Page) -> None:
    tab(page, "ratio")
    panel = "#p0-ratio .panel:first-child"
    page.run("document.querySelector('#p0-ratio').scrollIntoView()")
    label = pressed(page)[3]
    where = ("const r = arguments[0].getBoundingClientRect();"
             "return [r.left + r.width / 2, r.top + r.height / 2]")  # fmt: skip
    ticks = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    target = mark(page, panel, label, 1)
    start, axis = page.run(where, target), page.run(ticks, f"{panel} .ticks.y text")
    page.all("#p0-ratio [data-zoom='2']")[0].click()
    assert page.run(where, target) != start
    near = [float(text) for text in page.run(ticks, f"{panel} .ticks.y text")]
    before = [float(text) for text in axis]
    assert (max(near) - min(near)) < 0.8 * (max(before) - min(before))
    page.all("#p0-ratio [data-zoom='0']")[0].click()
    assert page.run(where, target) == pytest.approx(start)
    assert page.run(ticks, f"{panel} .ticks.y text") == axis
    from selenium.webdriver import ActionChains

    (svg,) = page.all(panel)
    # From the middle of the plot to its lower right corner.
    ActionChains(page.driver).move_to_element_with_offset(svg, -30, 0).click_and_hold() \
        .move_by_offset(70, 50).release().perform()  # fmt: skip
    assert page.run(where, target) != pytest.approx(start)
    other = page.all("#p0-ratio .panel:nth-child(2) .row > use")[0]
    assert page.run(
        "return arguments[0].closest('svg').querySelector('.zoom').hasAttribute('transform')", other
    )  # by the button
    page.run("arguments[0].dispatchEvent(new MouseEvent('dblclick', {bubbles: true}))", svg)
    assert page.run(where, target) == pytest.approx(start)


def test_the_keyboard_goes_from_point_to_point(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    tab(page, "ratio")
    panel = "#p0-ratio .panel:first-child"
    assert len(page.all(f"{panel} [tabindex='0']")) == 1
    page.run("arguments[0].focus()", page.all(f"{panel} [tabindex='0']")[0])
    first = shows(page).splitlines()[0]
    name, setting, _ = first.split(" · ")
    active = "return document.activeElement.getAttribute(arguments[0])"
    assert page.run(active, "aria-label").startswith(first)
    assert page.run(active, "role") == "img"
    page.press(Keys.ARROW_LEFT)
    assert shows(page).splitlines()[0] == f"{name} · {setting} · ratio 0.5"
    page.press(Keys.ARROW_DOWN)
    assert shows(page).splitlines()[0] != f"{name} · {setting} · ratio 0.5"
    assert len(page.all(f"{panel} [tabindex='0']")) == 1
    page.press("+")
    assert page.run("return document.querySelector(arguments[0]).getAttribute('transform')",
                    f"{panel} .zoom").startswith("matrix(2 0 0 2")  # fmt: skip
    page.press("0", Keys.ESCAPE)
    assert shows(page) == ""


def test_weights_order_the_rows_and_say_whose_they_are(page: Page, board: Board) -> None:
    assert not page.all("#weigh table")[0].is_displayed()  # the tested order comes first
    page.all("#weigh summary")[0].click()
    said = page.all("#weigh")[0].text
    assert "The weights are yours, and no test of the board belongs to the order" in said
    table = board.tables[0]
    rows = {row.label: [cell.accuracy.mean for cell in row.cells if cell] for row in table.rows}
    costs = {label: cost_of(table.runs[label]) for label in rows}
    equal = sorted(rows, key=lambda label: -sum(rows[label]))
    assert [line[1] for line in weighed(page)] == equal
    slide(page, "#weigh-n0", 1)
    slide(page, "#weigh-n1", 9)
    slide(page, "#weigh-cost", 0.2)
    score = {label: (a + 9 * b) / 10 - 0.2 * 100 * costs[label].total  # type: ignore[union-attr]
             for label, (a, b) in rows.items()}  # fmt: skip
    found = weighed(page)
    assert [line[1] for line in found] == sorted(score, key=lambda label: -score[label])
    assert [line[1] for line in found] != equal
    for place, line in enumerate(found, 1):
        assert line[0] == str(place)
        assert float(line[4]) == pytest.approx(score[line[1]], abs=0.006)
        assert int(line[5]) == equal.index(line[1]) + 1
    slide(page, "#weigh-n0", 0)
    slide(page, "#weigh-n1", 0)
    assert weighed(page) == []
    page.all("#weigh-equal")[0].click()
    assert [line[1] for line in weighed(page)] == equal


def test_a_link_brings_the_view_back(page: Page, chromium: Page, file: Path) -> None:
    from selenium.webdriver.support.ui import Select

    assert page.all("#permalink")[0].get_attribute("href").endswith("#view?")
    tab(page, "apart")
    rows = pressed(page)
    chip(page, rows[0]).click()
    page.all("#weigh summary")[0].click()
    slide(page, "#weigh-n1", 9)
    Select(page.all("#weigh-of")[0]).select_by_index(1)
    Select(page.all("#ratio")[0]).select_by_visible_text("0.5")
    page.all("#more")[0].click()
    page.all("[data-column=n1]")[0].click()
    page.all("#filter")[0].send_keys("method-1")
    head = next(one for one in page.all("main table thead button") if one.text == "clean")
    head.click()
    head.click()
    view = """return [location.hash.length > 0,
      document.querySelector("[aria-selected=true]").dataset.key,
      document.querySelector("#filter").value, document.querySelector("#ratio").value,
      document.querySelector("[data-column=n1]").checked,
      [...document.querySelectorAll("[aria-sort]")].map((e) => e.textContent + e.ariaSort),
      [...document.querySelectorAll(".chip[aria-pressed=true]")].map((e) => e.textContent),
      document.querySelector("#weigh-of").value,
      [...document.querySelectorAll("#weighed tr")].map((e) => e.textContent),
      [...document.querySelectorAll("main tr[data-name]")].filter((e) => e.checkVisibility())
        .map((e) => e.textContent)]"""
    wanted = page.run(view)
    time.sleep(0.05)
    link = page.all("#permalink")[0].get_attribute("href")
    assert link.startswith(f"{file.as_uri()}#view?")
    chromium.driver.get("about:blank")
    chromium.driver.get(link)
    found = chromium.run(view)
    assert found[0]
    assert chromium.all("#weigh table")[0].is_displayed()
    assert found[1:] == wanted[1:]
    assert found[1] == "apart"
    chromium.run("location.hash = '#view?'")
    time.sleep(0.1)
    assert sorted(pressed(chromium)) == sorted(rows)
    assert chromium.all("#filter")[0].get_attribute("value") == ""
    assert chromium.all("[aria-sort]") == []


def test_csv_holds_what_is_shown(page: Page, tmp_path: Path) -> None:
    page.all("#filter")[0].send_keys("method-1")
    page.all("#more")[0].click()
    page.all("[data-column=n1]")[0].click()
    (table, *_) = page.all("main table")
    name = table.get_attribute("id")
    button = page.run("return arguments[0].closest('.scroll').nextElementSibling", table)
    assert button.text == "CSV of this table"
    text = downloaded(page, tmp_path, button)
    assert [one.name for one in tmp_path.iterdir()] == [f"{name}.csv"]
    heads, *lines = list(csv.reader(io.StringIO(text)))
    assert {len(line) for line in lines} == {len(heads)}
    assert sorted(line[0] for line in lines) == ["full", "method-1", "method-1+align"]
    assert "clean" in heads
    assert not [head for head in heads if "symmetric" in head]
    own = next(line for line in lines if line[0] == "method-1")
    place = heads.index("clean")
    whole = next(line for line in lines if line[0] == "full")
    lead = float(own[heads.index("clean: difference")])
    assert lead == pytest.approx(float(own[place]) - float(whole[place]), abs=0.11)
    shown = page.run("return [...arguments[0].querySelectorAll('tr')].find((row) =>"
                     "row.dataset.name === 'method-1').innerText", table)  # fmt: skip
    assert own[place] in shown
    low, high = (heads.index(f"difference to full [95\u00a0%]: {end}") for end in ("low", "high"))
    assert float(own[low]) < lead_of(own, heads) < float(own[high])
    assert f"[{own[low]}, {own[high]}]" in shown
    assert not [text for line in lines for text in line if text.startswith("'")]


def lead_of(line: list[str], heads: list[str]) -> float:
    return float(line[heads.index("difference to full [95\u00a0%]")])


def test_csv_of_everything_names_each_table(page: Page, tmp_path: Path) -> None:
    text = downloaded(page, tmp_path, page.all("#csv")[0])
    titles = [part.partition("\n")[0] for part in text.rstrip("\n").split("\n\n")]
    assert titles[:3] == [f'"digits, ratio {ratio}"' for ratio in ("0.3", "0.5", "0.7")]
    assert len(titles) == len([one for one in page.all("main table") if one.is_displayed()])


@pytest.mark.parametrize("width", [390, 820, 1400])
def test_pictures_fit_every_window(chromium: Page, file: Path, width: int) -> None:
    chromium.open(file, width, 844)
    for one in chromium.all("[role=tab]"):
        chromium.run("arguments[0].click()", one)
        assert chromium.overflow() <= 0, one.text
        for panel in chromium.all(".panel"):
            if panel.is_displayed():
                size = float(panel.size["width"]) / WIDTH * 11  # pixels of the smallest text
                assert 9.5 <= size <= 15, one.text


def test_on_paper_all_pictures_are_there(page: Page) -> None:
    page.cdp("Emulation.setEmulatedMedia", media="print", features=[])
    assert all(one.is_displayed() for one in page.all(".picture"))
    for selector in (".tabs", ".chips", ".zooms", "#weigh", ".csv", "#permalink"):
        assert not [one for one in page.all(selector) if one.is_displayed()], selector


def test_without_script_all_pictures_stand(chromium: Page, file: Path) -> None:
    chromium.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(file)
        assert all(one.is_displayed() for one in chromium.all(".picture"))
        assert not [
            one for one in chromium.all(".tabs, .chips, .zooms, #weigh") if one.is_displayed()
        ]
    finally:
        chromium.cdp("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("dark", [False, True])
def test_nobody_is_kept_out(chromium: Page, file: Path, dark: bool) -> None:
    chromium.open(file, dark=dark)
    axe = axe_file()
    script = axe.read_text(encoding="utf-8") if axe else ""
    chromium.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for place, one in enumerate(chromium.all("[role=tab]")):
        one.click()
        assert own_faults(chromium) == [], one.text
        contrasts = chromium.run(PICTURE_CONTRAST)
        assert not contrasts or contrasts[0][0] >= 4.5, contrasts[:3]
        if script and (place in (0, 3)):  # a picture of panels, and the table of shades
            faults = axe_faults(chromium, script)
            serious = [fault for fault in faults if fault[0] in ("serious", "critical")]
            assert serious == [], one.text


def test_the_check_of_our_own_finds_faults(page: Page) -> None:
    page.run("""document.body.insertAdjacentHTML("beforeend",
        `<button></button><h5>deep</h5><p id="p0"></p><input tabindex="3" aria-label="x">
         <svg width="9" height="9"></svg><i aria-labelledby="nowhere">x</i>`)""")
    found = {fault.partition(":")[0] for fault in own_faults(page)}
    assert found == {"no name", "level of heading left out", "id twice", "out of order",
                     "picture without a name", "aria-labelledby of nothing"}  # fmt: skip
