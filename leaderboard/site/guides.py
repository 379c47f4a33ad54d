"""Guides: markdown becomes HTML without any of its own, with links that stay within the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

#: Where a path of the guides lies on the site, from its root; None where it is not there.
Places = Callable[[str], str | None]
#: Gives the link to such a place, with an anchor.
Link = Callable[[str, str], str]

_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_CARD = re.compile(r"<!-- generated: card -->.*?<!-- /generated -->\n*", re.DOTALL)
_DISPLAYED = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.DOTALL | re.MULTILINE)
_FORMULA = re.compile(r"(?<![\\$\w`])\$(?! )([^$`\n]+)(?<! )\$(?![\w$])")
_FENCE = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)
_SAFE = ("https", "http")


@dataclass(frozen=True)
class Guide:
    """One rendered guide.

    Attributes:
        title: Its first heading.
        lead: What stands before its first section.
        sections: Heading, anchor and content of each of its sections.
    """

    title: str
    lead: Markup
    sections: tuple[tuple[str, str, Markup], ...]


def render_guide(text: str, path: str, places: Places, link: Link) -> Guide:
    """A guide as HTML.

    Args:
        text: Markdown. HTML in it is shown as text; formulas are shown as they are written.
        path: Of the guide, from the folder of guides: its relative links start there.
        places: Where other guides are; a link to what is nowhere on the site becomes plain text.
        link: Gives the link to a place.
    """
    tokens = _parser().parse(_prepared(text))
    ids: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(_words(tokens[place + 1]), ids))
        if token.type in ("th_open", "td_open") and "right" in str(token.attrs.pop("style", "")):
            token.attrSet("class", "r")  # the page's policy allows no style of an element
        if token.type == "inline":
            _mend_links(token.children or [], path, places, link)
    title, rest = _title(tokens)
    starts = [i for i, t in enumerate(rest) if t.type == "heading_open" and t.tag == "h2"]
    ends = [*starts[1:], len(rest)][: len(starts)]
    shared = {"tables": count(1)}
    lead = _html(rest[: starts[0] if starts else len(rest)], shared)
    sections = tuple(
        (_words(rest[start + 1]), str(rest[start].attrGet("id")),
         _html(rest[start + 3 : end], shared))
        for start, end in zip(starts, ends, strict=True)
    )  # fmt: skip
    return Guide(title or path, lead, sections)


def _prepared(text: str) -> str:
    """Without comments and the table that comes from the registry, formulas as code."""
    text = _COMMENT.sub("", _CARD.sub("", text))
    text = _DISPLAYED.sub(r"```tex\n\1\n```", text)
    parts = _FENCE.split(text)
    return "".join(p if p.startswith("```") else _FORMULA.sub(r"`\1`", p) for p in parts)


def _title(tokens: Sequence[Token]) -> tuple[str, list[Token]]:
    for place, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h1":
            return _words(tokens[place + 1]), [*tokens[:place], *tokens[place + 3 :]]
    return "", list(tokens)


def _words(token: Token) -> str:
    return "".join(t.content for t in token.children or [] if t.type in ("text", "code_inline"))


def _anchor(words: str, taken: dict[str, int]) -> str:
    """The anchor of a heading as GitHub makes it."""
    name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
    taken[name] = taken.get(name, -1) + 1
    return f"{name}-{taken[name]}" if taken[name] else name


def _mend_links(tokens: Sequence[Token], path: str, places: Places, link: Link) -> None:
    """Links lead to pages of the site or to the web; pictures become their words."""
    opened: list[Token] = []
    for token in tokens:
        if token.type == "image":
            token.type, token.tag, token.content = "text", "", _words(token)
        elif token.type == "link_open":
            opened.append(token)
            target = _target(str(token.attrGet("href") or ""), path, places, link)
            token.tag, token.attrs = ("a", {"href": target}) if target else ("span", {})
        elif token.type == "link_close":
            token.tag = opened.pop().tag


def _target(href: str, path: str, places: Places, link: Link) -> str:
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return href if parts.scheme in _SAFE and parts.netloc else ""
    if not parts.path:
        return f"#{parts.fragment}"
    place = places(posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(parts.path))))
    return link(place, unquote(parts.fragment)) if place else ""


def _html(tokens: Sequence[Token], shared: dict[str, Any]) -> Markup:
    # The parser escapes all text and is told to take no HTML.
    return Markup(_parser().renderer.render(list(tokens), _parser().options, shared))


def _open_table(self: Any, tokens: Any, place: int, options: Any, env: Any) -> str:
    label = f"Table {next(env['tables'])}"
    box = f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">'
    return f'{box}<table class="guide">\n'


def _close_table(self: Any, tokens: Any, place: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", _close_table)
    return parser
