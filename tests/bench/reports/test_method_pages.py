"""Method pages: complete, linked, valid markdown, and no staler than the registry."""

import re
import shutil

import pytest
from click.testing import CliRunner

from prunebench.bench.reports import method_pages
from prunebench.errors import InputError
from prunebench.methods.base import StaticPruner
from prunebench.methods.compose import list_methods
from prunebench.registry import CRITERIA, METHODS, SAMPLERS, Entry

TEXTS = {path.name: path.read_text(encoding="utf-8") for path in method_pages.FOLDER.iterdir()}
CARDS = method_pages.pages()


def block(name):
    text = TEXTS[method_pages.INDEX]
    return text.split(f"<!-- generated: {name} -->")[1].split("<!-- /generated -->")[0]


def prose(text):
    """A page without code blocks."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(method_pages.FOLDER, tmp_path / "methods")


def run(*arguments):
    return CliRunner().invoke(method_pages.main, [str(a) for a in arguments])


def test_every_method_and_criterion_has_a_page_and_every_page_one_of_them():
    methods = {
        f"{m.name}.md" for m in list_methods() if m.target.__module__.startswith("prunebench.m")
    }
    criteria = {
        f"criterion-{e.name}.md" for e in CRITERIA if e.target.__module__.startswith("prunebench.m")
    }
    samplers = {
        f"sampler-{e.name}.md" for e in SAMPLERS if e.target.__module__.startswith("prunebench.m")
    }
    assert len(methods) >= 25
    assert len(criteria) >= 3
    assert len(samplers) >= 5
    assert set(TEXTS) == methods | criteria | samplers | {method_pages.INDEX}


def test_generated_blocks_are_up_to_date():
    result = run("--check")
    assert (result.exit_code, result.output) == (0, "")


def test_the_index_lists_each_once():
    linked = re.findall(r"\]\(([^)]+)\)", block("index") + block("samplers") + block("criteria"))
    assert sorted(linked) == sorted(CARDS)


def test_the_glance_table_names_every_method_once():
    section = TEXTS[method_pages.INDEX].split("## Which side is kept")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    named = [name for row in rows for name in row.split("|")[1].strip().split(", ")]
    others = ("criterion", "sampler")
    assert sorted(named) == sorted(c["name"] for c in CARDS.values() if c["kind"] not in others)


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_relative_links_resolve(page):
    for target in re.findall(r"\]\(([^)]+)\)", prose(TEXTS[page])):
        name, _, anchor = target.partition("#")
        path = method_pages.FOLDER / (name or page)
        assert path.is_file(), target
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
        assert not anchor or anchor in slugs, target


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_table_rows_have_as_many_cells_as_their_header(page):
    width = 0
    for line in TEXTS[page].splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (cells and width) or cells == width, line
        width = cells


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_formulas_hold_nothing_that_markdown_would_eat(page):
    text = prose(TEXTS[page])
    assert text.count("$") % 2 == 0
    formulas = re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, re.DOTALL)
    for formula in ("".join(parts) for parts in formulas):
        assert not re.search(r"[*|<>]|\\[^A-Za-z]|(?<![A-Za-z0-9])_", formula), formula
        assert formula.count("{") == formula.count("}")


@pytest.mark.parametrize("page", sorted(CARDS))
def test_pages_have_their_sections_and_cite_what_the_card_cites(page):
    text = TEXTS[page]
    for heading in ("Formula", "Under label noise", "Cost"):
        assert f"\n## {heading}\n" in text
    key = CARDS[page].get("citation")
    assert re.findall(r"@\w+\{([^,]+),", text) == ([key] if key else [])


@pytest.mark.parametrize("section", ["", "## As shipped and as published\n\n"])
def test_a_page_that_does_not_say_how_code_and_paper_differ_fails_the_check(copy, section):
    page = copy / "margin.md"
    text = page.read_text(encoding="utf-8")
    start, end = text.index("## As shipped and as published"), text.index("## Under label noise")
    page.write_text(text[:start] + section + text[end:], encoding="utf-8")
    result = run(copy, "--check")
    assert result.exit_code == 1
    assert result.output == f"no section 'As shipped and as published': {page}\n"
    assert run(copy).exit_code == 0  # blocks can be filled before the section is written


def test_a_changed_block_is_named_and_rewritten_and_nothing_else(copy):
    page = copy / "seta+align.md"
    good = page.read_text(encoding="utf-8")
    page.write_text(good.replace("| `alpha` | `0.9` |", "| `alpha` | `0.8` |"), encoding="utf-8")
    other = copy / "ies.md"
    other.write_text(other.read_text(encoding="utf-8") + "\nMy own words.\n", encoding="utf-8")
    result = run(copy, "--check")
    assert result.exit_code == 1
    assert result.output.split() == ["stale:", str(page)]
    assert "`0.8`" in page.read_text(encoding="utf-8")
    assert method_pages.refresh(copy) == [page]
    assert page.read_text(encoding="utf-8") == good
    assert other.read_text(encoding="utf-8").endswith("\nMy own words.\n")
    assert method_pages.refresh(copy) == []
    assert run(copy, "--check").exit_code == 0


def test_a_change_in_the_registry_makes_page_and_index_stale(copy, monkeypatch):
    target = METHODS.get("margin").target
    monkeypatch.setattr(target, "clean_data", "a | b")
    assert {path.name for path in method_pages.stale(copy)} == {"margin.md", method_pages.INDEX}
    method_pages.refresh(copy)
    assert "| clean labels | a \\| b |" in (copy / "margin.md").read_text(encoding="utf-8")


def test_missing_pages_and_markers_are_errors_and_nothing_is_written(copy):
    (copy / "full.md").write_text("# full\n", encoding="utf-8")
    (copy / method_pages.INDEX).write_text("<!-- generated: index -->\n<!-- /generated -->\n")
    with pytest.raises(InputError, match=r"full\.md: no single block 'card'"):
        method_pages.refresh(copy)
    assert (
        copy / method_pages.INDEX
    ).read_text() == "<!-- generated: index -->\n<!-- /generated -->\n"
    (copy / "full.md").unlink()
    result = run(copy)
    assert result.exit_code == 2
    assert "full.md: no such page" in result.output


def test_a_marker_that_comes_twice_is_an_error():
    text = "<!-- generated: card -->\n<!-- /generated -->\n"
    assert method_pages.fill(text, "card", "x", "p") == (
        "<!-- generated: card -->\n\nx\n\n<!-- /generated -->\n"
    )
    with pytest.raises(InputError, match="no single block"):
        method_pages.fill(text * 2, "card", "x", "p")


def test_plug_ins_need_no_page(monkeypatch):
    class Mine(StaticPruner):
        def keep(self, evidence, k, rng):
            raise AssertionError

    monkeypatch.setitem(METHODS._entries, "mine", Entry("mine", Mine, 1, "my_package"))
    assert method_pages.pages() == CARDS


def test_cells_escape_what_a_table_would_read_as_markup():
    option = {"default": None, "help": "by |low|\n<b> *x* _y_ a_b", "accepted": "a, b",
              "search": [1e-5, 0.1], "log": True}  # fmt: skip
    card = {"name": "x", "kind": "static", "signals": ["p", "q"], "side": "",
            "options": {"a|b": option}}  # fmt: skip
    text = method_pages.render_card(card)
    assert "| keeps | none |" in text
    assert "| signals | p, q |" in text
    assert text.splitlines()[-1] == (
        "| `a\\|b` | `none` | a, b | 1e-05 to 0.1, log scale "
        "| by \\|low\\| \\<b> \\*x\\* \\_y\\_ a_b |"
    )
