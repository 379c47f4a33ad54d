"""What pages that request nothing are made of: their parts in this package, and their policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

#: Packages with a folder ``templates``.
BOARD = "prunebench.leaderboard.render.html"
SITE = "prunebench.leaderboard.site"
REPORT = "prunebench.leaderboard.report"


def assets(package: str) -> Callable[[str], str]:
    """A function that gives a package's template, style or script by its file name."""
    folder = files(package) / "templates"
    return lambda name: (folder / name).read_text(encoding="utf-8")


def policy(style: str, script: str = "") -> str:
    """The content security policy of a page with this style and script and images in its text."""
    scripts = f"script-src '{_digest(script)}'; " if script else ""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; {scripts}"
        "base-uri 'none'; form-action 'none'"
    )


def environment(package: str) -> Environment:
    """Templates of a package: values are escaped, unknown names are errors; the filter ``code``
    marks `quoted` parts of a text."""
    made = Environment(
        loader=FunctionLoader(assets(package)), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined,
    )  # fmt: skip
    made.filters["code"] = _code
    return made


def _code(text: str) -> Markup:
    parts = str(escape(" ".join(text.split()))).split("`")
    if len(parts) % 2 == 0:
        return Markup("`".join(parts))
    return Markup("".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts)))


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
