"""The card of a submission: who ran what, on which hardware, with which code, as TOML."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from datetime import date as Day
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from prunebench.leaderboard.board.collect import FULL
from prunebench.leaderboard.board.labels import CONTROLS
from prunebench.leaderboard.board.mixed_sources import FIELD
from prunebench.leaderboard.contributed import Line, LineOrNone, Name, Plain, is_line
from prunebench.problems import all_problems
from prunebench.record import Record
from prunebench.userfiles import read_toml_text

CARD, RECORDS, IDS = "card.toml", "records.jsonl.gz", "ids.csv"
PAGE, REQUEST = "README.md", "PULL_REQUEST.md"
#: Seeds of every cell of a row; three are the fewest with an interval.
FEWEST_SEEDS = 3

Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$",
                              description="a SHA-256: 64 hexadecimal digits")]  # fmt: skip


class MethodCard(Plain):
    """One method of a submission.

    Attributes:
        name, version: As in the records' specifications.
        source: File or package of the plug-in and digest of its source, as the records name it;
            empty for a method that comes with prunebench, and for a list of ids.
        sha256: Digest of the method's file; empty where there is no one file.
    """

    name: Line
    version: Line
    source: LineOrNone = ""
    sha256: Digest = ""


class Card(Plain):
    """What a submission says of itself.

    Attributes:
        format: Version of this form.
        name: Of the submission.
        date: When it was made.
        ran: Day of the last run.
        by, contact: Who ran it, and how to reach them.
        code: Where the code of the methods can be read.
        note: Anything else.
        board: Board that it is meant for; empty where nobody said.
        dataset: Data set of a list of ids; empty for records, which name theirs.
        clean_labels: What clean labels a list of ids was chosen by, as whoever hands it in says.
        prunebench: Version of the package.
        hardware: What the runs took place on, with their number.
        runs: Number of records, or of cells of a list of ids.
        methods: Methods that it brings.
        files: SHA-256 of the file that holds the records or the ids, by its name.
    """

    format: Literal[1] = 1
    name: Name
    date: Day
    ran: Day
    by: Line
    contact: Line
    code: LineOrNone = ""
    note: LineOrNone = ""
    board: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,80})?$")] = ""
    dataset: LineOrNone = ""
    clean_labels: Literal["", "none", "reference", "all"] = ""
    prunebench: Line
    hardware: tuple[Line, ...] = ()
    runs: int = Field(ge=1)
    methods: tuple[MethodCard, ...] = Field(min_length=1, max_length=200)
    files: Annotated[dict[Literal["records.jsonl.gz", "ids.csv"], Digest],
                     Field(min_length=1, max_length=1)]  # fmt: skip

    @property
    def clean_labels_used(self) -> str:
        """What records of a list of ids say of that: never none where nobody said."""
        return {"none": "", "reference": "reference set", "all": "all"}.get(
            self.clean_labels, "not stated"
        )

    @property
    def is_list(self) -> bool:
        """Whether it holds a list of ids, and no records."""
        return IDS in self.files

    def dumps(self) -> str:
        """As TOML; entries that are empty are left out."""
        values = self.model_dump(mode="json", exclude={"methods", "files"})
        lines = [
            f"{name} = {_toml(value)}" for name, value in values.items() if value not in ("", [])
        ]
        for method in self.methods:
            lines += ["", "[[methods]]"]
            lines += [f"{name} = {_toml(value)}" for name, value in method if value]
        lines += ["", "[files]"]
        lines += [f"{_toml(name)} = {_toml(digest)}" for name, digest in self.files.items()]
        return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A text, number or list of texts; the strings of JSON are strings of TOML."""
    return json.dumps(value, ensure_ascii=False)


def read_card(text: str, where: str) -> tuple[Card | None, list[str]]:
    """The card of a submission, or every reason why it is none.

    Args:
        text: Its TOML.
        where: Its path, for the reasons.

    Raises:
        InputError: It is no TOML.
    """
    content = read_toml_text(text, where)
    try:
        # As JSON, whose days are texts: a number is no day, and 12.0 and "12" no number of runs.
        return Card.model_validate_json(json.dumps(content, default=str), strict=True), []
    except ValidationError as error:
        models = {"": Card, "methods": MethodCard}
        return None, [str(problem) for problem in all_problems(error, where, models)]


def contributed_methods(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Name and version of the methods that records are about: all but full training and the
    controls beside it, where there are others."""
    pairs = sorted({(r.spec["method"]["name"], str(r.spec["method"].get("version", "")))
                    for r in records})  # fmt: skip
    return [pair for pair in pairs if pair[0] not in (FULL, *CONTROLS)] or pairs


def method_cards(records: Sequence[Record], files: Mapping[str, str]) -> list[MethodCard]:
    """A card for each method of some records; names that are no plain line become ``?``.

    Args:
        records: The records.
        files: SHA-256 of plug-in files by their names.
    """
    cards = []
    for name, version in contributed_methods(records):
        found = Counter(
            str(source)
            for r in records
            if r.spec["method"]["name"] == name
            and isinstance(plugins := r.environment.get(FIELD), Mapping)
            and (source := plugins.get("method"))
        )
        source = found.most_common(1)[0][0] if found else ""
        digest = files.get(source.rpartition(" ")[0], "")
        name, version, source = (text if is_line(text) or not text else "?"
                                 for text in (name, version, source))  # fmt: skip
        cards.append(MethodCard(name=name, version=version, source=source, sha256=digest))
    return cards


def hardware(records: Iterable[Record]) -> list[str]:
    """Device classes of records, with the number of runs on each."""
    counts = Counter(_device(record.environment) for record in records)
    return [f"{name}: {count} runs" for name, count in sorted(counts.items())]


def _device(environment: Mapping[str, Any]) -> str:
    name = str(environment.get("device_class") or environment.get("device") or "not recorded")
    return name[:180] if is_line(name[:180]) else "a name with other signs"


def last_run(records: Iterable[Record], otherwise: Day) -> Day:
    """Day on which the last of some runs ended, as far as their records say."""
    ends = [t for r in records if 0 < (t := r.timing.get("finished", 0)) < 1e11]
    return datetime.fromtimestamp(max(ends), UTC).date() if ends else otherwise
