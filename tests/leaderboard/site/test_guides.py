"""Markdown of guides as HTML: nothing of its own runs, links stay within the site."""

from __future__ import annotations

import pytest

from prunebench.leaderboard.site.guides import render_guide

PLACES = {"protocol.md": "guides/protocol.html", "methods/el2n.md": "methods/el2n.html"}


def shown(text, path="methods/x.md"):
    found = render_guide(text, path, PLACES.get, lambda place, anchor: f"[{place}#{anchor}]")
    return found, str(found.lead) + "".join(str(content) for _, _, content in found.sections)


def test_html_and_scripts_are_text():
    _, html = shown("# T\n\na <script>alert(1)</script> <img src=x onerror=y> **b**\n\n<b>c</b>\n")
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert "<strong>b</strong>" in html


@pytest.mark.parametrize(
    ("target", "html"),
    [
        ("../protocol.md#budgets", '<a href="[guides/protocol.html#budgets]">go</a>'),
        ("el2n.md", '<a href="[methods/el2n.html#]">go</a>'),
        ("#below", '<a href="#below">go</a>'),
        ("https://example.org/a", '<a href="https://example.org/a">go</a>'),
        ("../../methods/el2n.py", "<span>go</span>"),
        ("nowhere.md", "<span>go</span>"),
        ("mailto:a@example.org", "<span>go</span>"),
        ("//example.org/x", "<span>go</span>"),
    ],
)
def test_links_lead_to_the_site_or_the_web_or_nowhere(target, html):
    assert html in shown(f"# T\n\n[go]({target})\n")[1]


def test_a_script_is_no_link():
    assert 'href="javascript' not in shown("# T\n\n[go](javascript:alert(1))\n")[1]


def test_pictures_become_their_words():
    assert "<p>a curve</p>" in shown("# T\n\n![a curve](x.svg)\n")[1]


def test_sections_have_the_anchors_of_github():
    found, _ = shown("# The title\n\nlead\n\n## As shipped, and `why`\n\nx\n\n## Cost\n\n## Cost\n")
    assert found.title == "The title"
    assert found.lead == "<p>lead</p>\n"
    assert [section[:2] for section in found.sections] == [
        ("As shipped, and why", "as-shipped-and-why"), ("Cost", "cost"), ("Cost", "cost-1")
    ]  # fmt: skip


def test_a_page_without_sections_is_its_lead():
    found, html = shown("words only\n", "plain.md")
    assert (found.title, found.sections) == ("plain.md", ())
    assert html == "<p>words only</p>\n"


def test_formulas_are_shown_as_written_and_the_card_is_left_out():
    card = "<!-- generated: card -->\n\n| a |\n| - |\n\n<!-- /generated -->\n\n"
    formula = "$$\n\\sum_i w_i * x_i * y\n$$\n\nwith $w_i$ and $x_i * y$, `$HOME` and $5\n"
    text = f"# T\n\n{card}{formula}"
    _, html = shown(text)
    assert "<table" not in html
    assert "generated" not in html
    assert r"\sum_i w_i * x_i * y" in html
    assert "<em>" not in html
    assert "<code>w_i</code> and <code>x_i * y</code>, <code>$HOME</code> and $5" in html


def test_columns_are_aligned_without_a_style_which_the_policy_of_pages_refuses():
    _, html = shown("# T\n\n| a | b | c |\n| :- | -: | :-: |\n| 1 | 2 | 3 |\n")
    assert "style" not in html
    assert '<td>1</td>\n<td class="r">2</td>\n<td>3</td>' in html


def test_tables_scroll_by_themselves():
    _, html = shown("# T\n\n| a | b |\n| - | - |\n| 1 | <i> |\n\n## Two\n\n| c |\n| - |\n")
    assert html.count('<div class="scroll"') == html.count("</table></div>") == 2
    assert ['aria-label="Table 1"' in html, 'aria-label="Table 2"' in html] == [True, True]
    assert "&lt;i&gt;" in html
