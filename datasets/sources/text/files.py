"""Reads texts and labels from Parquet files, tables of columns and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.errors import InputError
from prunebench.parquet import arrow
from prunebench.userfiles import read_table, user_text

TABLES, LINES = (".csv", ".tsv"), (".jsonl", ".ndjson")
ACCEPTED = "a file .parquet, .csv, .tsv or .jsonl (the last three also with .gz behind)"
_LONGEST_CELL = (
    "in a table a text of at most 131,072 characters, quoted if it holds quotes; Parquet and JSON "
    "lines have no such limit"
)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some columns of a file, or of several.

    Attributes:
        columns: Values by the names that were asked for, all of one length.
        where: The file, for messages.
    """

    columns: dict[str, list[Any]]
    where: str

    def texts(self, name: str) -> list[str]:
        """A column of texts.

        Raises:
            InputError: A row has no text, or a blank one; the line names it.
        """
        for number, value in enumerate(self.columns[name], 1):
            if not isinstance(value, str) or not value.strip():
                what = "no text" if value is None or isinstance(value, str) else f"{value!r:.80}"
                raise InputError(what, where=self.place(name, number),
                                 accepted="a text in every row")  # fmt: skip
        return self.columns[name]

    def names(self, name: str, needed: Container[int] | None = None) -> list[str]:
        """A column of labels, whole numbers as their digits.

        Args:
            name: Of the column.
            needed: Rows from 0 that have to have one, None for all; the others are left empty.

        Raises:
            InputError: A row has no label, NaN, or something else; the line names it.
        """
        found = []
        for number, value in enumerate(self.columns[name], 1):
            if needed is not None and number - 1 not in needed:
                found.append("")
                continue
            whole = isinstance(value, int) and not isinstance(value, bool)
            text = str(value).strip() if whole or isinstance(value, str) else ""
            if not text or text.lower() == "nan":
                none = value is None or value != value or isinstance(value, str)
                raise InputError("no label" if none else f"{value!r:.80}",
                                 where=self.place(name, number),
                                 accepted="a name or a whole number in every row")  # fmt: skip
            found.append(text)
        return found

    def place(self, name: str, number: int) -> str:
        """A row of a column, counted from 1, for messages."""
        return f"{self.where}: {name}, row {number}"


def read_rows(files: Sequence[Path], names: Sequence[str], optional: Sequence[str] = ()) -> Rows:
    """Some columns of one file, or of several Parquet files in order.

    Args:
        files: At least one.
        names: Of the columns.
        optional: Further columns, which the file may have.

    Raises:
        InputError: A file cannot be read, is of another kind, lacks a column, holds no row, or a
            line is malformed.
    """
    first, where = files[0], str(files[0])
    bare = first.name.lower().removesuffix(".gz")
    if first.name.lower().endswith(".parquet"):
        columns = _parquet(files, names, optional)
    elif bare.endswith(TABLES):
        columns = _table(first, names, optional)
    elif bare.endswith(LINES):
        columns = _json_lines(first, names, optional)
    else:
        raise InputError(f"a file of another kind: {first.name!r}", where=where, accepted=ACCEPTED)
    if not columns[names[0]]:
        raise InputError("no rows", where=where, accepted="a text and a label in each")
    return Rows(columns, where)


def _parquet(
    files: Sequence[Path], names: Sequence[str], optional: Sequence[str]
) -> dict[str, list[Any]]:
    parquet, where = arrow("dataset text"), str(files[0])
    import pyarrow as pa

    try:
        known = parquet.read_schema(files[0]).names
        names = _chosen(known, names, optional, where)
        tables = [parquet.read_table(file, columns=list(names)) for file in files]
        table = pa.concat_tables(tables)
        return {name: table[name].to_pylist() for name in names}
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({str(error).splitlines()[0][:200]})", where=where,
                         accepted="Parquet files with equal columns") from None  # fmt: skip


def _table(file: Path, names: Sequence[str], optional: Sequence[str]) -> dict[str, list[Any]]:
    lower = {name: name.lower() for name in (*names, *optional)}
    needed, further = ([lower[name] for name in group] for group in (names, optional))
    try:
        found = read_table(file, needed, optional=further, exact=True)
    except InputError as error:
        if error.what.startswith("is no table"):
            raise InputError(error.what, where=error.where, accepted=_LONGEST_CELL) from None
        raise
    return {name: list(found[low]) for name, low in lower.items() if low in found}


def _json_lines(file: Path, names: Sequence[str], optional: Sequence[str]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in (*names, *optional)}
    found = set(names)
    for number, line in enumerate(user_text(file).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}: line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"not JSON ({error})", where=where,
                             accepted="one object a line") from None  # fmt: skip
        if not isinstance(row, dict):
            raise InputError("no object", where=where, accepted="one object a line")
        _chosen(list(row), names, (), where)
        found.update(name for name in optional if name in row)
        for name, column in columns.items():
            column.append(row.get(name))
    return {name: column for name, column in columns.items() if name in found}


def _chosen(
    known: Sequence[str], names: Sequence[str], optional: Sequence[str], where: str
) -> list[str]:
    """The names, and those of the optional ones that are there."""
    names = [*names, *(name for name in optional if name in known)]
    missing = next((name for name in names if known.count(name) != 1), None)
    if missing is not None:
        raise InputError(f"no column {missing!r}" if missing not in known else
                         f"two columns {missing!r}", where=where,
                         accepted=", ".join(known)[:300] or "columns")  # fmt: skip
    return names
