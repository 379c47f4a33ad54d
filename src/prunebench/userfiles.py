"""Text files that users write: TOML and tables of columns, as editors and spreadsheets save them.

Every grid, protocol and table that a user gives is read here, so that a byte-order mark, other line
ends, semicolons, tabs and blanks are read alike, and what a parser would cost is known before it
starts.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import tomllib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunebench.errors import InputError, visible
from prunebench.files import read_at_most
from prunebench.untrusted import gunzip, user_path

#: Hundreds of times a large grid file; what a parser makes of it stays below 100 MB.
MOST_TOML = 1 << 18
#: Levels of brackets, and parts of a dotted name. tomllib keeps every beginning of a name: its
#: memory grows with the square of the parts.
DEEPEST = 32
#: Room for a table of some 50 million rows.
MOST_TABLE = 1 << 30

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_TOKENS = re.compile(
    r'"""(?:[^\\]|\\.)*?"""'
    r"|'''.*?'''"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}.=,\n]",
    re.DOTALL,
)
#: Of tomllib's messages.
_PLACE = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)$")
_TWICE = re.compile("overwrite|twice|[Mm]utate|[Nn]amespace|[Dd]uplicate")
_DELIMITERS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")


def user_text(path: str | Path, where: str = "", most: int = MOST_TABLE) -> str:
    """The text of a user's file: UTF-8 with or without a byte-order mark, or UTF-16 with one; line
    ends become ``\\n``. A file that ends in ``.gz`` is unpacked.

    Args:
        path: The file.
        where: Its name in messages, where not the path itself.
        most: Largest size in bytes.

    Raises:
        InputError: It cannot be read, is larger, or is no text.
    """
    where = where or str(path)
    try:
        data = read_at_most(user_path(path), most)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=where) from None
    if str(path).lower().endswith(".gz") and len(data) <= most:
        try:
            data = gunzip(io.BytesIO(data), where, most)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"is damaged ({error})", where=where, accepted="a gzip file") from None
    if len(data) > most:
        size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
        raise InputError("the file is too large", where=where, accepted=f"at most {size}")
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"is not text in UTF-8 (byte {error.start}, line {line})", where=where,
            accepted="a text file saved as UTF-8",
        ) from None  # fmt: skip
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: str | Path, where: str = "") -> dict[str, Any]:
    """The content of a TOML file, within limits on size, nesting and names that are checked before
    the parser starts.

    Raises:
        InputError: It cannot be read, is beyond a limit, or is malformed.
    """
    where = where or str(path)
    return read_toml_text(user_text(path, where, MOST_TOML), where)


def read_toml_text(text: str, where: str) -> dict[str, Any]:
    """As ``read_toml``, of a text of at most ``MOST_TOML`` bytes.

    Raises:
        InputError: It is beyond a limit, or malformed.
    """
    _check_toml(text, where)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed(text, str(error), where) from None


def _malformed(text: str, said: str, where: str) -> InputError:
    """What tomllib refused, in our words: of its own, the place and whether a name came twice."""
    found = _PLACE.search(said)
    if not found:
        return InputError("a number is too long, or values too deep", where=where)
    lines = text.rstrip("\n").split("\n")
    number = int(found[1] or len(lines))
    twice = ": a name or table is given twice" if _TWICE.search(said) else ""
    return InputError(
        f"malformed TOML{twice}: {lines[min(number, len(lines)) - 1].strip()[:80]!r}",
        where=f"{where}: line {number}", accepted='lines such as name = "text", ratio = [0.3, 0.5] '
        "or [params.infobatch], each name once",
    )  # fmt: skip


def _check_toml(text: str, where: str) -> None:
    """Text and comments are passed over as the parser does, up to where it would stop."""
    depth = parts = 0
    for match in _TOKENS.finditer(text):
        token = match[0]
        if token == ".":
            parts += 1
        elif token in ("[", "{"):
            depth += 1
        elif token in ("]", "}"):
            depth -= 1
        if token in ("=", ",", "\n", "[", "{"):
            parts = 0
        if depth > DEEPEST or parts >= DEEPEST:
            what = "lists or tables inside one another" if depth > DEEPEST else "parts in a name"
            line = text.count("\n", 0, match.start()) + 1
            raise InputError(
                f"more than {DEEPEST} {what}", where=f"{where}: line {line}",
                accepted=f"at most {DEEPEST}",
            )  # fmt: skip


def read_table(
    path: str | Path,
    columns: Sequence[str],
    where: str = "",
    *,
    optional: Sequence[str] = (),
    exact: bool = False,
) -> dict[str, list[str]]:
    """Some columns of a table with a header line.

    Columns are separated by commas, semicolons or tabs, whichever the header has; blanks around
    names and values, and the case of names, do not matter. Between semicolons a number may have a
    decimal comma.

    Args:
        path: The file.
        columns: Names that the header has to hold, in lower case; it may hold others too.
        where: Its name in messages, where not the path itself.
        optional: Further names, which the header may hold.
        exact: Whether lines with more values than the header, or a quote that is never closed, are
            refused: in free text they are what a comma or a quote leaves that nobody has quoted.

    Returns:
        The texts of each column that is there, all of one length; empty lines are passed over.

    Raises:
        InputError: It cannot be read, lacks a column, or a line has too few values.
    """
    where = where or str(path)
    text = user_text(path, where)
    head = text.lstrip("\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=exact)
    rows = (row for row in reader if any(cell.strip() for cell in row))
    found: dict[str, list[str]] = {}
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        columns = (*columns, *(name for name in optional if name in header))
        found = {name: [] for name in columns}
        slots = _slots(header, columns, where)
        for row in rows:
            if exact and len(row) > len(header):
                raise InputError(
                    f"{len(row)} values", where=f"{where}: line {reader.line_num}",
                    accepted=f"{len(header)}, as in the first line; quotes around a text that "
                    f"holds {delimiter!r}",
                )  # fmt: skip
            for name, slot in slots:
                if slot >= len(row):
                    raise InputError(
                        f"no value for {name!r}", where=f"{where}: line {reader.line_num}",
                        accepted=f"{len(header)} values, as in the first line",
                    )  # fmt: skip
                cell = row[slot].strip()
                if delimiter == ";" and _DECIMAL_COMMA.fullmatch(cell):
                    cell = cell.replace(",", ".")
                found[name].append(cell)
    except csv.Error as error:
        raise InputError(
            f"is no table ({error})", where=f"{where}: line {reader.line_num}",
            accepted=f"columns {', '.join(columns)}",
        ) from None  # fmt: skip
    return found


def _slots(header: list[str], columns: Sequence[str], where: str) -> list[tuple[str, int]]:
    missing = [name for name in columns if header.count(name) != 1]
    if missing:
        shown = visible(", ".join(repr(name) for name in header[:12]))[:300] or "nothing"
        raise InputError(
            f"the first line names {shown}", where=where,
            accepted=f"columns {', '.join(columns)}, each once",
        )  # fmt: skip
    return [(name, header.index(name)) for name in columns]
