"""Which papers' printed numbers there are, who printed them, and what they state of their set-up.

The numbers are ``NAME.csv``; beside it ``NAME.toml`` says the rest.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.errors import InputError, nearest
from prunebench.files import read_at_most
from prunebench.leaderboard.published.numbers import DECIMALS, FILE, Printed, read_published
from prunebench.untrusted import user_path

_FOLDER = FILE.parent
_MOST_BYTES, _LONGEST = 1 << 20, 500
_FORM = 'a line such as source = "authors, title, year, tables 2 and 3"'


@dataclass(frozen=True)
class Paper:
    """The printed numbers of one source.

    Attributes:
        name: Of the file, without its ending.
        source: Who printed the numbers, and where.
        rows: The numbers.
        decimals: With which they were printed.
        seeds: Runs behind a number; None where it is not stated.
        setup: By data set, what is stated of the runs: field of a specification -> value.
    """

    name: str
    source: str
    rows: tuple[Printed, ...]
    decimals: int
    seeds: int | None
    setup: Mapping[str, Mapping[str, Any]]


def paper_names() -> list[str]:
    """Names of the files that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.csv"))


def read_paper(name: str) -> Paper:
    """The numbers of a file that comes with the package, by its name, or of any file by its path.

    Args:
        name: ``alignprune``, or ``mine.csv``.

    Raises:
        InputError: There is no such file, no note on its source, or something in it that is not
            accepted; the line is named.
    """
    known = paper_names()
    path = _FOLDER / f"{name}.csv" if name in known else user_path(name, "--published")
    if path.suffix != ".csv" or not path.is_file():
        raise InputError(f"no printed numbers {name!r}", where="--published",
                         accepted=f"{nearest(name, known)}, or the path of a CSV file"
                         )  # fmt: skip
    note = path.with_suffix(".toml")
    if not note.is_file():
        raise InputError(f"nothing says who printed the numbers of {path.name}", where=str(note),
                         accepted=f"a file with {_FORM}")  # fmt: skip
    source, seeds, decimals, setup = _note(note)
    rows = read_published(path, path != FILE, decimals)
    return Paper(path.stem, source, tuple(rows), decimals, seeds, setup)


def _note(path: Path) -> tuple[str, int | None, int, dict[str, dict[str, Any]]]:
    """Source, seeds, decimals and set-up of a file beside printed numbers."""
    where = str(path)
    try:
        data = read_at_most(path, _MOST_BYTES)
        if len(data) > _MOST_BYTES:
            raise InputError("is too large for a source note", where=where)
        found = tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"cannot be read ({error})", where=where, accepted=_FORM) from None
    source = found.pop("source", "")
    if not (isinstance(source, str) and source.strip() and len(source) <= _LONGEST):
        raise InputError("no source", where=where, accepted=f"{_FORM}, {_LONGEST} signs at most")
    seeds = found.pop("seeds", None)
    if not (seeds is None or (type(seeds) is int and seeds > 0)):
        raise InputError(f"seeds = {seeds!r}", where=where, accepted="a whole number above 0")
    decimals = found.pop("decimals", DECIMALS)
    if not (type(decimals) is int and 0 <= decimals <= 4):
        raise InputError(f"decimals = {decimals!r}", where=where, accepted="0 to 4")
    for name, fields in found.items():
        if not isinstance(fields, dict):
            raise InputError(f"{name} = {fields!r}", where=where,
                             accepted="source, seeds, decimals, or a table for a data set"
                             )  # fmt: skip
    return source.strip(), seeds, decimals, found
