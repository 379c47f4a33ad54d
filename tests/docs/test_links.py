"""Links of the documents lead somewhere: to files that exist, and to headings that these have."""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
_PATTERNS = ("*.md", "docs/**/*.md", "examples/*.md", "leaderboard/**/*.md")
_PAGES = [page for pattern in _PATTERNS for page in ROOT.glob(pattern)]


@cache
def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, by GitHub's rule."""
    found: list[str] = []
    for heading, inline in pairwise(MarkdownIt("commonmark").parse(page.read_text())):
        if heading.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


def broken(page: Path) -> list[str]:
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for child in token.children or ():
            link = str(child.attrGet("href") or child.attrGet("src") or "")
            parts = urlsplit(link)
            if not link or parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists():
                found.append(f"{link}: no such file")
            elif (
                target.suffix == ".md" and parts.fragment and parts.fragment not in anchors(target)
            ):
                found.append(f"{link}: no such heading")
    return found


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    assert {str(page.relative_to(ROOT)): lost for page in _PAGES if (lost := broken(page))} == {}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A word, or 50 %\n\n[a](#a-word-or-50-) [b](#a-word) [c](other.md) ![d](x)\n")
    assert broken(page) == ["#a-word: no such heading", "other.md: no such file",
                            "x: no such file"]  # fmt: skip
