"""Where pages lie, and how one leads to another: relative links work from a folder and a server."""

from __future__ import annotations

import hashlib
import posixpath
import re
from urllib.parse import quote

#: Names that are file names as they are: on systems that ignore case too, so small letters only.
_PLAIN = re.compile(r"(?!index$)[a-z0-9][a-z0-9.+@_-]{0,79}", re.ASCII)
_OTHER = re.compile(r"[^a-z0-9]+")

INDEX = "index.html"
NEWS = "news.html"
#: The page of a board, its full tables and the runs behind its numbers, below its folder.
BOARD, TABLES, RUNS = "index.html", "leaderboard.html", "records.html"


def file_stem(name: str) -> str:
    """A file name for a name of any kind; different names have different ones.

    Returns:
        The name itself where it is one; else its letters and digits, ``~`` and the start of a
        digest.
    """
    if _PLAIN.fullmatch(name) and not name.endswith("."):
        return name
    words = _OTHER.sub("-", name.lower()).strip("-")[:40]
    return f"{words or 'page'}~{_digest(name)}"


def method_page(name: str) -> str:
    """The page of a method, from the site's root."""
    return f"methods/{file_stem(name)}.html"


def dataset_page(name: str) -> str:
    """The page of a data set."""
    return f"datasets/{file_stem(name)}.html"


def board_page(name: str, page: str = BOARD) -> str:
    """A page or file of a board."""
    return f"boards/{file_stem(name)}/{page}"


def row_anchor(design: str, ratio: float, label: str) -> str:
    """The anchor of a row's runs; it does not depend on other rows or on ranks."""
    return f"r-{_digest(f'{design}|{ratio!r}|{label}')}"


def relative(here: str, there: str, anchor: str = "") -> str:
    """The link from one page to another, both from the site's root."""
    path = quote(posixpath.relpath(there, posixpath.dirname(here) or "."))
    return f"{path}#{quote(anchor)}" if anchor else path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
