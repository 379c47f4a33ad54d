"""The site in a real Chromium, from files: filters, links, phone, dark, print, without script."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from prunebench.leaderboard.site.addresses import dataset_page, method_page
from support.access import axe_faults, axe_file, own_faults
from support.browser import Page, why_no_browser
from support.pages import CONTRAST, EVIL
from support.sites import EVIL_DATA

pytestmark = pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "-")

PAGES = [
    "index.html", "news.html", "boards/first/index.html", "boards/second/index.html",
    "boards/first/records.html", "methods/infobatch+align.html", "methods/el2n.html",
    "datasets/digits.html", "guides/protocol.html",
]  # fmt: skip
#: Those that axe-core looks at too: it takes seconds for a page.
WHOLE = ("boards/second/index.html", "methods/infobatch+align.html")


@pytest.fixture
def index(chromium: Page, root: Path) -> Page:
    chromium.open(root / "index.html")
    return chromium


def choose(page: Page, field: str, text: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(page.all(f"#{field}")[0]).select_by_visible_text(text)


def shown(page: Page) -> list[list[str]]:
    """Words of the rows that fit the filters."""
    found: list[list[str]] = page.run(
        "const rows = [...document.querySelectorAll('#results tbody tr')];"
        "return rows.filter(r => r.checkVisibility()).map("
        "r => [...r.cells].map(c => c.textContent))"
    )
    return found


def boards(page: Page) -> list[str]:
    return page.texts("article h3")


@pytest.mark.parametrize("name", PAGES)
def test_pages_open_without_a_request_or_a_complaint(chromium, root, name):
    chromium.requests(), chromium.console()
    chromium.open(root / name)
    assert chromium.requests() == [(root / name).as_uri()]
    assert chromium.console() == []


def test_a_hostile_name_is_text(index):
    assert EVIL in index.run("return [...document.querySelectorAll('bdi')].map(b => b.innerText)")
    choose(index, "dataset", EVIL_DATA)
    assert {row[1] for row in shown(index)} == {f"second: {EVIL_DATA}"}
    index.all("#dataset")[0].send_keys("any")
    (field,) = index.all("#q")
    field.send_keys("<img onerror")
    assert [row[0] for row in shown(index)] == [EVIL]
    assert index.run("return document.images.length") == 0
    assert index.console() == []


def test_filters_are_joined_and_leave_boards_methods_and_rows_that_fit(index):
    assert boards(index) == ["second", "first"]
    assert shown(index) == []
    choose(index, "kind", "dynamic")
    assert {row[0] for row in shown(index)} == {"infobatch", "infobatch+align"}
    assert boards(index) == ["second", "first"]
    methods = set(index.texts("#methods tbody th"))
    assert {"infobatch", "infobatch+align", "kakurenbo"} <= methods  # one without results
    assert "el2n" not in methods
    choose(index, "clean", "needs none")
    assert {row[0] for row in shown(index)} == {"infobatch"}
    choose(index, "ratio", "0.3")
    assert [row[:3] for row in shown(index)] == [["infobatch", "first: digits", "0.3"]]
    assert boards(index) == ["first"]
    assert index.texts("#methods tbody th") == ["infobatch"]
    assert index.texts("#count") == ["1 of 15 rows, 1 of 2 boards"]
    assert index.texts("#datasets li") == ["digits: 2 boards"]
    index.all("button[type=reset]")[0].click()
    index.driver.implicitly_wait(0)
    for _ in range(50):
        if len(boards(index)) == 2:
            break
        time.sleep(0.02)
    assert boards(index) == ["second", "first"]
    assert shown(index) == []


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("hardware", "NVIDIA H100", {"second"}),
        ("noise", "symmetric:0.2", {"first"}),
        ("method", "infobatch+align", {"second"}),
        ("year", "2021", {"first", "second"}),
        ("dataset", "digits", {"first", "second"}),
        ("clean", "needs some", {"second"}),
    ],
)
def test_each_filter_leaves_the_boards_that_fit(index, field, value, found):
    choose(index, field, value)
    assert set(boards(index)) == found
    assert {row[1].partition(":")[0] for row in shown(index)} == found


def test_a_chosen_noise_shows_its_cell(index):
    choose(index, "method", "infobatch+align")
    (whole,) = shown(index)
    assert index.texts("#value") == ["mean"]
    assert whole[4] == "91.2"
    choose(index, "noise", "symmetric:0.4")
    assert index.texts("#value") == ["symmetric:0.4"]
    assert shown(index)[0][4] == "91.2 ±0.6"


def test_no_fit_is_said(index):
    index.all("#q")[0].send_keys("no such thing")
    assert boards(index) == []
    assert index.texts(".none") == ["No board for this choice.", "No method for this choice."]
    assert index.texts("#results h2") == []


def test_an_address_holds_the_choice(index, root):
    choose(index, "kind", "static")
    index.all("#q")[0].send_keys("first 0")
    address = index.run("return location.href")
    want = shown(index)
    index.driver.get("about:blank")
    index.driver.get(address)
    assert shown(index) == want
    assert index.run("return document.querySelector('#q').value") == "first 0"
    index.all("button[type=reset]")[0].click()
    time.sleep(0.1)
    assert "=" not in index.run("return location.href")


def test_from_a_row_to_its_runs_and_from_a_board_to_a_method(index, root):
    choose(index, "method", "infobatch+align")
    index.all("#results td a.num")[0].click()
    assert index.run("return location.pathname").endswith("/boards/second/records.html")
    assert "infobatch+align" in index.run("return document.querySelector(':target').innerText")
    index.all("h1 a")[0].click()
    assert index.texts("h1") == ["second"]
    index.run("[...document.querySelectorAll('tbody a')].find("
              "a => a.textContent === 'infobatch+align').click()")  # fmt: skip
    assert index.run("return decodeURIComponent(location.pathname)").endswith(
        f"/{method_page('infobatch+align')}"
    )
    index.all("nav a.site")[0].click()
    assert index.run("return location.pathname").endswith("/index.html")


@pytest.mark.parametrize("width", [320, 390, 820, 1400])
def test_no_page_scrolls_sideways(chromium, root, width):
    for name in [*PAGES, method_page(EVIL), dataset_page(EVIL_DATA)]:
        chromium.open(root / name, width)
        chromium.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        if name == "index.html":
            choose(chromium, "ratio", "0.5")
        assert chromium.overflow() <= 0, name


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_in_both_schemes(chromium, root, dark):
    for name in ("index.html", "methods/infobatch+align.html", "boards/second/index.html"):
        chromium.open(root / name, dark=dark)
        chromium.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        found = chromium.run(CONTRAST)
        assert len(found) > 30
        assert found[0][0] >= 4.5, (name, found[:5])


def test_no_barrier_for_a_keyboard_or_a_screen_reader(chromium, root):
    script = axe_file()
    for name in PAGES:
        chromium.open(root / name)
        chromium.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert own_faults(chromium) == [], name
        assert (
            chromium.run("""return [...document.querySelectorAll(".scroll")]
            .filter((e) => e.tabIndex || e.getAttribute("role") !== "region").length""")
            == 0
        )
        if script is not None and name in WHOLE:
            assert axe_faults(chromium, script.read_text(encoding="utf-8")) == [], name


def test_the_keyboard_reaches_the_content_and_the_filters(index):
    from selenium.webdriver.common.keys import Keys

    index.press(Keys.TAB)
    assert index.run("return document.activeElement.textContent") == "Skip to the content"
    index.press(Keys.ENTER)
    assert index.run("return location.hash") == "#main"
    index.run("document.querySelector('#q').focus()")
    index.press("el2n")
    assert {row[0] for row in shown(index)} == {"el2n"}


def test_the_theme_is_chosen_for_all_pages(chromium, root):
    ground = "return getComputedStyle(document.body).backgroundColor"
    chromium.open(root / "index.html")
    light = chromium.run(ground)
    (theme,) = chromium.all("#theme")
    theme.click(), theme.click()
    assert theme.text == "Theme: dark"
    assert chromium.run(ground) != light
    theme.click()
    assert chromium.run(ground) == light


def test_on_paper_the_content_stands_alone(chromium, root):
    chromium.open(root / "index.html")
    chromium.cdp("Emulation.setEmulatedMedia", media="print", features=[])
    assert not chromium.all("#filters")[0].is_displayed()
    assert not chromium.all("header")[0].is_displayed()
    assert chromium.all("article")[0].is_displayed()


def test_without_script_the_pages_are_whole(chromium, root):
    chromium.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(root / "index.html")
        assert not chromium.all("#filters")[0].is_displayed()
        assert chromium.all("noscript p")[0].is_displayed()
        assert boards(chromium) == ["second", "first"]
    finally:
        chromium.cdp("Emulation.setScriptExecutionDisabled", value=False)
