"""What a site is made of: published folders become boards, the registry and docs the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.bench.reports.boards import gather, make_board, texts
from prunebench.bench.reports.cards import dataset_cards, method_card, method_infos
from prunebench.bench.reports.method_pages import FOLDER as METHOD_GUIDES
from prunebench.errors import InputError
from prunebench.files import OwnFolder, read_at_most
from prunebench.leaderboard.bundle import pack
from prunebench.leaderboard.contributed import HISTORY, SUPERSEDED, History, read_history
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.publish import RECORDS
from prunebench.leaderboard.published.numbers import read_published
from prunebench.leaderboard.published.papers import Paper
from prunebench.leaderboard.site.model import (
    DatasetAbout,
    MethodAbout,
    OptionAbout,
    PublishedBoard,
    SiteContent,
)
from prunebench.methods.compose import resolve_method
from prunebench.problems import first_problem

#: The guides of the checkout that this module lies in; an installed package has none.
GUIDES = METHOD_GUIDES.parent
_BOARD = "leaderboard.json"
_MOST_BYTES = 1 << 28
_MOST_GUIDE = 1 << 22


def board_folders(places: Iterable[Path]) -> list[Path]:
    """Folders of boards: the places themselves, or the folders in them.

    Raises:
        InputError: There is none in a place, or two have one name.
    """
    found: dict[str, Path] = {}
    for place in places:
        if not place.is_dir():
            raise InputError("is no folder", where=str(place),
                             accepted=f"a published board ({RECORDS} in it) or a folder of them"
                             )  # fmt: skip
        own = [place] if (place / RECORDS).exists() else sorted(
            path for path in place.iterdir() if (path / RECORDS).exists()
        )  # fmt: skip
        if not own:
            raise InputError(
                f"no {RECORDS} in it or in a folder of it", where=str(place),
                accepted="what `prunebench leaderboard --publish DIR` writes, or a folder of such",
            )  # fmt: skip
        for folder in own:
            name = folder.resolve().name
            other = found.setdefault(name, folder)
            if other.resolve() != folder.resolve():
                raise InputError(f"two boards are called {name!r}", where=f"{other}, {folder}",
                                 accepted="folders of different names")  # fmt: skip
    return list(found.values())


def published_board(folder: Path, notes: list[str]) -> PublishedBoard:
    """A board from the records of its folder, under the protocol that it was published with.

    Everything is rendered anew; nothing in the folder but records, protocol and the list of
    submissions is used.

    Args:
        folder: The folder.
        notes: Takes a line where the published tables are not those of the records.

    Raises:
        InputError: Damaged records, or a protocol or a list of submissions that is none.
    """
    own = OwnFolder(folder)
    for name in (RECORDS, _BOARD, HISTORY, SUPERSEDED):
        own.check(folder / name, levels=1)
    records = gather([folder / RECORDS], notes)
    content = _published_json(folder / _BOARD)
    protocol = _protocol(content, folder / _BOARD)
    printed = any(table.get("printed") for table in content.get("tables") or ()
                  if isinstance(table, dict))  # fmt: skip
    history = read_history(folder)
    board = make_board(records, protocol, read_published() if printed else (), align_shown=True,
                       history=history)  # fmt: skip
    stated = content.get("records")
    if isinstance(stated, dict) and stated.get("digest") != board.digest:
        notes.append(f"{folder / _BOARD} is of other records than {RECORDS}; the records count")
    files = {name: text.encode() for name, text in texts(board).items()}
    files |= {RECORDS: pack(records), **_submitted(folder, history)}
    return PublishedBoard(folder.resolve().name, board, files)


def _submitted(folder: Path, history: History) -> dict[str, bytes]:
    """Who handed in which runs, and the records of earlier versions, of boards with submissions.

    Raises:
        InputError: The records of an earlier version are not there, or damaged.
    """
    if not history.contributions:
        return {}
    old = {old.file for one in history.contributions for old in one.superseded}
    return {HISTORY: history.dumps().encode(),
            **{name: pack(gather([folder / name])) for name in sorted(old)}}  # fmt: skip


def _published_json(path: Path) -> dict[str, Any]:
    """What a board's JSON file holds; empty where there is none."""
    try:
        data = read_at_most(path, _MOST_BYTES)
        found = json.loads(data)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be read ({error})", where=str(path),
                         accepted="JSON as `prunebench leaderboard --publish` writes it"
                         ) from None  # fmt: skip
    if not isinstance(found, dict):
        raise InputError("is no table of values", where=str(path), accepted="a JSON object")
    return found


def _protocol(content: dict[str, Any], path: Path) -> ProtocolFile:
    stated = content.get("protocol", {})
    if not isinstance(stated, dict):
        raise InputError("is no protocol", where=f"{path}: protocol", accepted="a JSON object")
    try:
        return ProtocolFile.model_validate({k: v for k, v in stated.items() if k != "digest"})
    except ValidationError as error:
        raise first_problem(error, str(path), {"": ProtocolFile}) from None


def site_content(
    title: str, boards: Sequence[PublishedBoard], docs: Path | None, papers: Sequence[Paper]
) -> SiteContent:
    """Boards with what the registry and the guides say of their methods and data sets.

    Args:
        title: Of the site.
        boards: The boards.
        docs: Folder of guides; None for none.
        papers: Whose printed numbers are shown.

    Raises:
        InputError: ``docs`` holds no guide, or one cannot be read.
    """
    guides = _guides(docs) if docs is not None else {}
    used = {
        run.method
        for published in boards
        for table in published.board.tables
        for slots in table.runs.values()
        for run in slots.values()
    }
    names = dict.fromkeys([*(info.name for info in method_infos()), *sorted(used)])
    methods = {name: about for name in names if (about := _method(name, guides)) is not None}
    datasets = {card["name"]: _dataset(card) for card in dataset_cards()}
    return SiteContent(title, boards, methods, datasets, guides, papers)


def _method(name: str, guides: dict[str, str]) -> MethodAbout | None:
    """What is known of a method; None where this installation does not have it."""
    try:
        info = resolve_method(name)
    except InputError:
        return None
    card = method_card(info)
    score, _, sampler = name.partition("@")
    base = score.partition("+")[0]
    wanted = [f"methods/{name}.md", f"methods/{score}.md", f"methods/{base}.md",
              *[f"methods/sampler-{sampler}.md"] * bool(sampler)]  # fmt: skip
    return MethodAbout(
        name=name,
        title=card["title"],
        kind="oracle" if card["oracle"] else card["kind"],
        version=card["version"],
        keeps=card["side"],
        signals=", ".join(card["signals"]),
        cost=card["cost"],
        clean_data=card["clean_data"],
        oracle=card["oracle"],
        provisional=card["provisional"],
        paper=card["paper"],
        year=card["year"],
        repository=card["repository"],
        options=tuple(
            OptionAbout(option, _value(about["default"]), str(about["accepted"]), about["help"])
            for option, about in card["options"].items()
        ),
        guides=tuple(path for path in dict.fromkeys(wanted) if path in guides),
    )


def _dataset(card: dict[str, Any]) -> DatasetAbout:
    recipe = str(card["recipe"] or "none")
    return DatasetAbout(card["name"], card["usage"], card["summary"], recipe)


def _value(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _guides(docs: Path) -> dict[str, str]:
    """Guides and method guides of a folder by their path in it."""
    found = {}
    for path in (*sorted(docs.glob("*.md")), *sorted(docs.glob("methods/*.md"))):
        try:
            data = read_at_most(path, _MOST_GUIDE)
            if len(data) > _MOST_GUIDE:
                raise InputError("is too large for a guide", where=str(path))
            found[path.relative_to(docs).as_posix()] = data.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read ({error})", where=str(path),
                             accepted="markdown in UTF-8") from None  # fmt: skip
    if not found:
        raise InputError("no guide (*.md) in it", where=str(docs), accepted="a folder such as docs")
    return found
