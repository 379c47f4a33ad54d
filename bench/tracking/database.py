"""MLflow's SQLite files: their addresses, whatever signs the path holds, and what is one."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from prunebench.errors import InputError, spelled
from prunebench.files import open_regular

NAME = "mlflow.db"
#: Seconds that a reader waits for a writer; SQLite locks the whole file.
BUSY_S = 30.0
_MAGIC = b"SQLite format 3\0"
#: End of a rollback journal that names another file: SQLite removes that file after it rolled back.
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
#: What a search for runs reads and a mirror writes. A view in the place of one could compute
#: without end, and so could a trigger.
MIRRORED = (
    "experiments", "experiment_tags", "runs", "tags", "params", "metrics", "latest_metrics",
    "datasets", "inputs", "input_tags",
)  # fmt: skip

#: Calls, or comments that could hide one, in whose place a few bytes become a gigabyte.
_GROWING = re.compile(
    r"""\b(hex|zeroblob|randomblob|replace|printf|format|quote)["'`\]]?\s*\(|/\*|--""",
    re.IGNORECASE,
)


def default_uri(results: Path) -> str:
    """Address of the database in a results folder, by its absolute path.

    SQLAlchemy must be installed: its versions differ in whether they decode a path.
    """
    return sqlite_uri(results.resolve() / NAME)


def sqlite_uri(path: Path, read_only: bool = False) -> str:
    """SQLAlchemy's address of an SQLite file.

    The path goes through SQLite's own ``file:`` form, where every sign can be quoted. The driver
    is named because MLflow makes folders of what follows a plain ``sqlite:///``.
    """
    inside = f"file:{quote_from_bytes(os.fsencode(path))}"
    if _path_of("sqlite:///%41") == "A":
        inside = quote(inside, safe="/:")
    return f"sqlite+pysqlite:///{inside}?{'mode=ro&' * read_only}uri=true"


def sqlite_path(uri: str) -> Path | None:
    """The file that an address of SQLite leads to; None for any other address."""
    if not uri.startswith(("sqlite:", "sqlite+")):
        return None
    text = _path_of(uri)
    if text.startswith("file:"):
        inside = unquote_to_bytes(text.removeprefix("file:").partition("?")[0])
        text = os.fsdecode(inside.removeprefix(b"//") if inside.startswith(b"///") else inside)
    return Path(text)


def _path_of(uri: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(uri).database or ""


def check_journal(path: Path) -> None:
    """Refuses the rollback journal of an SQLite file that would remove a file of another name.

    SQLite reads ``<path>-journal`` whenever it opens the file for writing. No single database
    leaves such a journal behind; somebody else may.

    Raises:
        InputError: There is one.
        OSError: It cannot be read.
    """
    journal = Path(f"{path}-journal")
    try:
        handle = open_regular(journal)
    except FileNotFoundError:
        return
    with os.fdopen(handle, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(_NAMES_ANOTHER)))
        if file.read() == _NAMES_ANOTHER:
            raise InputError(
                "is a journal that removes another file", where=str(journal),
                accepted="a database that MLflow wrote; deleted, `prunebench sync` makes it anew",
            )  # fmt: skip


def check_database(path: Path, writing: bool = False, partly: bool = False) -> None:
    """Checks that a file is a whole database of MLflow with nothing hidden in it.

    Args:
        path: The file.
        writing: Whether it may be written: what a killed writer left half done is rolled back.
        partly: Whether tables may be missing, as where MLflow was killed while it made them.

    Raises:
        InputError: It is missing, no regular file, damaged, or of another kind.
    """
    where, accepted = str(path), "a database that MLflow wrote; `prunebench sync` makes it anew"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("is no file", where=where, accepted=accepted)
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
        if start != _MAGIC and not (partly and start == b""):
            raise InputError("is no SQLite database", where=where, accepted=accepted)
        check_journal(path)
        mode = "rw" if writing else "ro"
        address = f"file:{quote_from_bytes(os.fsencode(path.absolute()))}?mode={mode}"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_S)) as database:
            fault = _fault(database, partly)
    except FileNotFoundError:
        raise InputError("no such file", where=where, accepted=accepted) from None
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        raise InputError(why, where=where, accepted=accepted) from None
    except sqlite3.Error as error:
        why = f"is a damaged database ({error})"
        raise InputError(why, where=where, accepted=accepted) from None
    if fault:
        raise InputError(spelled(fault), where=where, accepted=accepted)


def _fault(database: sqlite3.Connection, partly: bool) -> str:
    database.execute("PRAGMA trusted_schema = OFF")
    schema = database.execute("SELECT type, lower(name), lower(tbl_name), sql FROM sqlite_master")
    found: dict[str, tuple[str, str]] = {}
    growing: list[str] = []
    for kind, name, table, sql in schema.fetchall():
        if kind == "trigger" and table in MIRRORED:
            return f"table {table!r} has a trigger"
        if table in MIRRORED and _GROWING.search(str(sql)):
            growing.append(table)
        if kind in ("table", "view"):
            found[name] = (kind, " ".join(str(sql).split()).upper())
    for name in MIRRORED:
        if name not in found:
            if partly:
                continue
            return f"is no database of MLflow (no table {name!r})"
        kind, sql = found[name]
        if kind != "table" or not sql.startswith("CREATE TABLE"):
            return f"{name!r} is no plain table"
        hidden = "SELECT count(*) FROM pragma_table_xinfo(?) WHERE hidden != 0"
        if database.execute(hidden, (name,)).fetchone()[0]:
            return f"table {name!r} has computed columns"
    return f"table {growing[0]!r} has a check or an index that computes" if growing else ""
