"""Which runs of a published board came from submissions: who ran them, when, and what they took the
place of. ``prunebench accept`` writes the file beside the board's records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date as Day
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.problems import FILE_NAME, FILE_NAME_WORDS, first_problem

#: The file, and the folder of what newer versions of a method took the place of.
HISTORY, SUPERSEDED = "contributions.json", "superseded"
_MOST_BYTES = 1 << 25
#: Signs that begin a tag, a link, code or a column in some form of a board.
_MARKUP = frozenset("<>[]{}|`\\")
LINE_WORDS = "one line of 1 to 200 signs that can be shown, without < > [ ] { } | ` and \\"


def is_line(text: str) -> bool:
    """Whether a text of somebody else is one plain line, without signs of markup."""
    plain = text.isprintable() and not _MARKUP.intersection(text)
    return plain and 0 < len(text) <= 200 and text == text.strip()


def _line(text: str) -> str:
    if not is_line(text):
        raise ValueError(LINE_WORDS)
    return text


def _line_or_none(text: str) -> str:
    return _line(text) if text else text


Line = Annotated[str, AfterValidator(_line)]
LineOrNone = Annotated[str, AfterValidator(_line_or_none)]
Name = Annotated[str, Field(pattern=FILE_NAME, description=FILE_NAME_WORDS)]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="16 hexadecimal digits")]


class Plain(BaseModel):
    """A part of a file that somebody else may have written: no field that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Superseded(Plain):
    """Runs of an earlier version of a method, which stay readable beside the board.

    Attributes:
        method, version: Whose runs they are.
        file: Packed records, relative to the board's folder.
        runs: Their number.
    """

    method: Line
    version: Line
    file: Annotated[str, Field(pattern=rf"^{SUPERSEDED}/[A-Za-z0-9][A-Za-z0-9._+@-]{{0,120}}$")]
    runs: int = Field(ge=1)


class Contribution(Plain):
    """One accepted submission, which makes one version of its board.

    Attributes:
        version: Version of the board that it made; a board without submissions is version 1.
        date: When it was accepted.
        submission: Its name.
        by, contact: Who ran it.
        code: Where the code of its methods can be read; empty where nobody said.
        ran: Day of its last run.
        methods: Methods that it brought.
        keys: Its runs.
        hardware: What they ran on.
        checked: What was run again before it was accepted, in words.
        superseded: What it took the place of.
    """

    version: int = Field(ge=2)
    date: Day
    submission: Name
    by: Line
    contact: Line
    code: LineOrNone = ""
    ran: Day
    methods: tuple[Line, ...] = Field(min_length=1)
    keys: tuple[Key, ...] = Field(min_length=1)
    hardware: tuple[Line, ...] = ()
    checked: Line
    superseded: tuple[Superseded, ...] = ()


@dataclass(frozen=True, order=True)
class RanBy:
    """Who ran a row, or some runs of it, and on which day the last of them."""

    by: str
    ran: Day

    def __str__(self) -> str:
        return f"{self.by}, {self.ran.isoformat()}"


class History(Plain):
    """All accepted submissions of a board, the first one first."""

    format: Literal[1] = 1
    contributions: tuple[Contribution, ...] = ()

    @property
    def version(self) -> int:
        """Version of the board."""
        return self.contributions[-1].version if self.contributions else 1

    def ran_by(self, keys: Iterable[str]) -> tuple[RanBy, ...]:
        """Who ran some of these runs; empty where they came from no submission."""
        own = set(keys)
        found = {
            RanBy(one.by, one.ran) for one in self.contributions if not own.isdisjoint(one.keys)
        }
        return tuple(sorted(found))

    def with_one(self, contribution: Contribution) -> History:
        """The history with a further submission."""
        return History(contributions=(*self.contributions, contribution))

    def finished(self, keys: Iterable[str]) -> History:
        """The history without a last submission none of whose runs is among the board's: whoever
        accepted it was stopped before the records were written.

        Args:
            keys: Of all records of the board.
        """
        last = self.contributions[-1:]
        if last and set(keys).isdisjoint(last[0].keys):
            return History(contributions=self.contributions[:-1])
        return self

    def dumps(self) -> str:
        """As JSON, the same text every time."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def read_history(folder: Path) -> History:
    """The submissions of a board's folder; none where it holds no such file.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / HISTORY
    if not path.is_file():
        return History()
    try:
        data = read_at_most(path, _MOST_BYTES)
        content: Any = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be read ({error})", where=str(path),
            accepted="the file as `prunebench accept` writes it",
        ) from None  # fmt: skip
    try:
        return History.model_validate(content)
    except ValidationError as error:
        raise first_problem(error, str(path), {"": History}) from None


def known_history(folders: Iterable[Path]) -> History:
    """The submissions of the first of some folders that holds any.

    Raises:
        InputError: A file is damaged.
    """
    found = (read_history(folder) for folder in folders)
    return next((history for history in found if history.contributions), History())


def history_lines(history: History) -> list[str]:
    """What the page of a board says of its submissions, the last one first."""
    return [_one_line(one) for one in reversed(history.contributions)]


def _one_line(one: Contribution) -> str:
    old = "; ".join(f"{s.runs} runs of {s.method} version {s.version} moved to {s.file}"
                    for s in one.superseded)  # fmt: skip
    return (
        f"Version {one.version}, {one.date.isoformat()}: {len(one.keys)} runs of "
        f"{_listed(one.methods)} by {one.by} ({one.contact}), submission {one.submission}; "
        f"{one.checked}" + f"; {old}" * bool(old)
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
