"""The folder of a submission: made by ``submit``, and read with care by ``accept``, for anybody may
have written it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG

from prunebench.errors import InputError, spelled
from prunebench.files import OwnFolder
from prunebench.leaderboard.board.check_record import usable
from prunebench.leaderboard.bundle import unpack_bytes
from prunebench.leaderboard.contributions.card import (
    CARD,
    IDS,
    PAGE,
    RECORDS,
    REQUEST,
    Card,
    read_card,
)
from prunebench.leaderboard.contributions.id_list import IdCell, read_id_list
from prunebench.record import Record, RecordError

#: Files that a submission may hold, with the most bytes of each; the last two are not read.
FILES = {CARD: 1 << 16, RECORDS: 1 << 26, IDS: 1 << 27, PAGE: 1 << 18, REQUEST: 1 << 18}
#: Reasons of one kind that are listed.
MOST_REASONS = 20


@dataclass(frozen=True)
class Submission:
    """What a folder holds.

    Attributes:
        card: Its card.
        records: Its records, shapes checked; empty for a list of ids.
        cells: Cells of a list of ids; empty for records.
        data: The file that holds either.
    """

    card: Card
    records: tuple[Record, ...]
    cells: tuple[IdCell, ...]
    data: bytes


def read_submission(folder: Path) -> tuple[Submission | None, list[str]]:
    """Reads a submission. Nothing in it is executed or unpickled, no link is followed, and nothing
    is opened that is no part of a submission or too large for one.

    Args:
        folder: The folder.

    Returns:
        What it holds, None where that cannot be told; and every reason to refuse it.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder),
                         accepted="a folder as `prunebench submit` writes it")  # fmt: skip
    if folder.is_symlink():
        raise InputError("is a link", where=str(folder), accepted="a real folder")
    reasons = _strangers(folder)
    if reasons:
        return None, reasons
    own = OwnFolder(folder)
    try:
        card, reasons = read_card(_read(own, folder / CARD).decode(), str(folder / CARD))
    except UnicodeDecodeError:
        return None, [f"{folder / CARD}: is not text in UTF-8"]
    except InputError as error:
        return None, [str(error)]
    if card is None:
        return None, reasons
    [(name, digest)] = card.files.items()
    other = RECORDS if card.is_list else IDS
    if (folder / other).exists():
        reasons.append(f"{folder / other}: the card does not name it")
    if not (folder / name).is_file():
        return None, [*reasons, f"{folder / name}: the card names it, and it is not there"]
    data = _read(own, folder / name)
    if hashlib.sha256(data).hexdigest() != digest:
        reasons.append(f"{folder / name}: its SHA-256 is not that of the card; it was edited")
    where = str(folder / name)
    if card.is_list:
        cells, faults = read_id_list(data, where)
        found = Submission(card, (), tuple(cells), data)
    else:
        records, faults = read_records(data, where)
        if not records:
            return None, reasons + (faults or [f"{where}: holds no record"])
        found = Submission(card, tuple(records), (), data)
    return found, reasons + faults


def named_board(folder: Path) -> str:
    """The board that a submission's card names; empty where it names none, or is no card."""
    try:
        card, _ = read_card(_read(OwnFolder(folder), folder / CARD).decode(), str(folder / CARD))
    except (InputError, OSError, UnicodeDecodeError):
        return ""
    return card.board if card else ""


def own_files(folder: Path) -> list[Path]:
    """What a folder that a submission is to be written into holds of an earlier one.

    Raises:
        InputError: It holds anything else.
    """
    if not folder.exists():
        return []
    names = [name for name, _ in OwnFolder(folder).entries(folder, links=True)]
    if strange := sorted(set(names) - FILES.keys()):
        raise InputError(f"holds {strange[0]!r}", where=str(folder),
                         accepted="a new folder, or one of an earlier submission")  # fmt: skip
    return [folder / name for name in names]


def read_records(data: bytes, where: str) -> tuple[list[Record], list[str]]:
    """Packed records that a table can hold, and what is wrong with the others."""
    lines: list[RecordError] = []
    try:
        records = unpack_bytes(data, where, lines)
    except InputError as error:
        return [], [str(error)]
    good, faults = usable(records, where)
    return good, shortened([str(fault) for fault in (*lines, *faults)])


def shortened(reasons: list[str]) -> list[str]:
    """The first reasons of one kind, and the number of the others."""
    more = len(reasons) - MOST_REASONS
    return reasons if more <= 0 else [*reasons[:MOST_REASONS], f"... and {more} more of this kind"]


def _strangers(folder: Path) -> list[str]:
    """What is no file of a submission, or larger than one; nothing is opened for this."""
    reasons, there = [], set()
    for name, found in OwnFolder(folder).entries(folder, links=True):
        place = spelled(str(folder / name))[:300]
        if S_ISLNK(found.st_mode):
            reasons.append(f"{place}: is a link; accepted: real files")
        elif name not in FILES:
            what = "folder" if S_ISDIR(found.st_mode) else "file"
            reasons.append(f"{place}: no {what} of a submission; accepted: {', '.join(FILES)}")
        elif not S_ISREG(found.st_mode):
            reasons.append(f"{place}: is no regular file")
        elif found.st_size > FILES[name]:
            reasons.append(
                f"{place}: {found.st_size} bytes; accepted: up to {FILES[name] >> 10} KiB"
            )
        there.add(name)
    if CARD not in there:
        reasons.append(f"{folder / CARD}: is missing")
    return shortened(reasons)


def _read(own: OwnFolder, path: Path) -> bytes:
    with os.fdopen(own.open(path, os.O_RDONLY), "rb") as file:
        return file.read(FILES[path.name] + 1)
