"""Method pages: what docs/methods takes from the registry.

``python -m prunebench.bench.reports.method_pages`` rewrites the blocks between
``<!-- generated: NAME -->`` and ``<!-- /generated -->``; with ``--check`` it only names the pages
whose blocks are stale, and those that do not say how official code and paper differ.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from prunebench.bench.reports.cards import method_cards, option_card, sampler_cards
from prunebench.errors import InputError
from prunebench.methods.compose import list_methods, scores
from prunebench.registry import CRITERIA, SAMPLERS, Entry

#: docs/methods of the checkout that this module lies in.
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "methods"
INDEX = "README.md"
#: Section of every page: what official code and paper do differently, and which is followed.
SECTION = "As shipped and as published"
#: Mark beside the name of a method that may not be the published one.
PROVISIONAL = " (provisional)"
_END = "<!-- /generated -->"
_FACTS = (
    ("kind", "kind"),
    ("keeps", "side"),
    ("signals", "signals"),
    ("extra cost", "cost"),
    ("clean labels", "clean_data"),
    ("paper", "paper"),
    ("repository", "repository"),
    ("version", "version"),
)


def criterion_card(entry: Entry[Any]) -> dict[str, Any]:
    """A criterion in the form of a method's card, less what criteria do not have."""
    two = entry.target().views == 2
    return {
        "name": entry.name,
        "version": str(entry.version),
        "kind": "criterion",
        "title": " ".join((entry.target.__doc__ or "").partition("\n")[0].split()),
        "signals": ["second, strongly augmented view"] if two else [],
        "cost": "a second forward and backward pass per trained sample" if two else "none",
        "options": {name: option_card(o) for name, o in entry.target.options.items()},
    }


def pages() -> dict[str, dict[str, Any]]:
    """File name and card of every built-in method, sampler and criterion; plug-ins have no page
    here."""
    own = {info.name for info in list_methods() if _built_in(info.target)}
    found = {f"{card['name']}.md": card for card in method_cards() if card["name"] in own}
    criteria = [criterion_card(entry) for entry in CRITERIA if _built_in(entry.target)]
    samplers = {entry.name for entry in SAMPLERS if _built_in(entry.target)}
    found |= {f"sampler-{c['name']}.md": c for c in sampler_cards() if c["name"] in samplers}
    return found | {f"criterion-{card['name']}.md": card for card in criteria}


def _built_in(target: type) -> bool:
    return target.__module__.startswith("prunebench.methods.")


def escape(value: object) -> str:
    """A value as text of one markdown table cell; lists and keys are joined, None and "" become
    "none"."""
    if isinstance(value, list | tuple | dict):
        value = ", ".join(str(part) for part in value)
    text = " ".join(str(value).split()) if value not in (None, "") else "none"
    if text.startswith("https://"):
        return f"<{text}>"
    return re.sub(r"[\\|*<`\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", text)


def _code(value: object) -> str:
    """A default or option name as inline code; a cell's pipe is escaped inside code too."""
    if isinstance(value, bool) or value is None:
        text = str(value).lower()
    elif isinstance(value, int | float):
        text = f"{value:g}"
    else:
        text = str(value) or "(empty)"
    return "`" + text.replace("|", "\\|") + "`"


def _range(option: dict[str, Any]) -> str:
    """The search range of an option's card, in words."""
    search = option["search"]
    if search is None:
        return "fixed"
    if len(search) == 2 and all(type(v) in (int, float) for v in search):
        return f"{search[0]:g} to {search[1]:g}" + (", log scale" if option["log"] else "")
    return escape(search)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table from cells that are markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render_card(card: dict[str, Any]) -> str:
    """The facts of a card and its options, as markdown.

    Args:
        card: Of ``cards.method_card`` or ``criterion_card``.
    """
    facts = [(label, escape(card[key])) for label, key in _FACTS if key in card]
    if card.get("provisional"):
        facts.append(("provisional", escape(card["provisional"])))
    text = table(("", card["name"]), facts)
    if not card["options"]:
        return f"{text}\n\nNo options."
    rows = [
        (_code(name), _code(o["default"]), escape(o["accepted"]), _range(o), escape(o["help"]))
        for name, o in card["options"].items()
    ]
    return f"{text}\n\n{table(('option', 'default', 'accepted', 'search', 'meaning'), rows)}"


def render_index(cards: dict[str, dict[str, Any]]) -> str:
    """One line per method with a link to its page."""
    columns = ("method", "kind", "keeps", "signals", "clean data", "extra cost", "year")
    keys = ("kind", "side", "signals", "clean_data", "cost", "year")
    kinds = {card["kind"] for card in cards.values()} - {"criterion", "sampler"}
    return table(columns, _rows(cards, kinds, keys))


def render_samplers(cards: dict[str, dict[str, Any]]) -> str:
    """One line per sampler with a link to its page."""
    columns = ("sampler", "keeps", "signals", "extra cost", "options", "year")
    keys = ("side", "signals", "cost", "options", "year")
    return table(columns, _rows(cards, {"sampler"}, keys))


def render_scores() -> str:
    """Side, hard end and bare sampler of every built-in score, under its defaults."""
    rows = []
    for info in scores():
        if _built_in(info.target):
            score: Any = info.build()
            facts = (score.kept_side(), score.hard, score.own_sampler().name)
            rows.append((f"[{escape(info.name)}]({info.name}.md)", *map(escape, facts)))
    return table(("score", "side", "hard end", "bare name keeps by"), rows)


def render_criteria(cards: dict[str, dict[str, Any]]) -> str:
    """One line per criterion with a link to its page."""
    keys = ("title", "signals", "cost")
    columns = ("criterion", "what it is", "needs", "extra cost")
    return table(columns, _rows(cards, {"criterion"}, keys))


def _rows(
    cards: dict[str, dict[str, Any]], kinds: set[str], keys: Sequence[str]
) -> list[tuple[str, ...]]:
    """A link to the page and some facts of every card of some kinds."""
    return [
        (
            f"[{escape(card['name'])}]({page}){PROVISIONAL * bool(card.get('provisional'))}",
            *(escape(card[key]) for key in keys),
        )
        for page, card in cards.items()
        if card["kind"] in kinds
    ]


def fill(text: str, block: str, body: str, where: str) -> str:
    """Text with one generated block replaced.

    Raises:
        InputError: The markers are missing, or there twice.
    """
    start = f"<!-- generated: {block} -->"
    head, found, rest = text.partition(start)
    _, ended, tail = rest.partition(_END)
    if not (found and ended) or start in rest:
        raise InputError(f"no single block {block!r}", where=where, accepted=f"{start} ... {_END}")
    return f"{head}{start}\n\n{body}\n\n{_END}{tail}"


def stale(folder: Path) -> dict[Path, str]:
    """Pages whose generated blocks differ from the registry, with their new text.

    Raises:
        InputError: A page or a marker is missing.
    """
    cards = pages()
    blocks = {page: {"card": render_card(card)} for page, card in cards.items()}
    blocks[INDEX] = {
        "index": render_index(cards),
        "samplers": render_samplers(cards),
        "scores": render_scores(),
        "criteria": render_criteria(cards),
    }
    found = {}
    for page, bodies in blocks.items():
        path = folder / page
        if not path.is_file():
            raise InputError("no such page", where=str(path), accepted="a page with markers")
        old = new = path.read_text(encoding="utf-8")
        for block, body in bodies.items():
            new = fill(new, block, body, str(path))
        if new != old:
            found[path] = new
    return found


def lacking(folder: Path) -> list[Path]:
    """Pages whose section ``SECTION`` is missing or empty."""
    found = []
    for page in pages():
        text = (folder / page).read_text(encoding="utf-8")
        _, _, section = text.partition(f"\n## {SECTION}\n")
        if not section.partition("\n## ")[0].strip():
            found.append(folder / page)
    return found


def refresh(folder: Path) -> list[Path]:
    """Rewrites the stale blocks of a folder; returns the pages changed.

    Raises:
        InputError: As ``stale``; nothing is written then.
    """
    changed = stale(folder)
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(changed)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=FOLDER)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a page is stale or lacks "
              f"the section {SECTION!r}.")  # fmt: skip
def main(folder: Path, check: bool) -> None:
    """Rewrite what the method pages take from the registry.

    Example: python -m prunebench.bench.reports.method_pages --check
    """
    try:
        changed = list(stale(folder)) if check else refresh(folder)
        incomplete = lacking(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    for path in changed:
        print(f"{'stale' if check else 'rewritten'}: {path}")
    for path in incomplete:
        print(f"no section {SECTION!r}: {path}")
    sys.exit(1 if check and (changed or incomplete) else 0)


if __name__ == "__main__":
    main()
