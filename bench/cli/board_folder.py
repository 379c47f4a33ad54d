"""A published board's folder: with which options it is rendered, and rendering it anew."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.bench.cli.filter_options import filters
from prunebench.bench.cli.leaderboard import leaderboard, protocol_of
from prunebench.errors import InputError
from prunebench.files import OwnFolder

if TYPE_CHECKING:
    from prunebench.leaderboard.protocol_file import ProtocolFile
    from prunebench.record import Record

_COMMAND = re.compile(r"^- Render again, in this folder: `prunebench leaderboard (.*)`$", re.M)
_NEW = "records.jsonl.gz --publish ."
_PROTOCOL, _RECORDS = "protocol.toml", "records.jsonl.gz"


def _options(folder: Path) -> dict[str, Any]:
    """The options of the command that a board's page names; those of a new board without one.

    Raises:
        InputError: The page names no command, or another one.
    """
    page = folder / "README.md"
    words = _NEW
    if page.is_file():
        found = _COMMAND.search(page.read_text(encoding="utf-8"))
        if found is None:
            raise InputError("names no command that renders it again", where=str(page),
                             accepted="a page as `prunebench leaderboard --publish` writes it"
                             )  # fmt: skip
        words = found[1]
    command = leaderboard.commands["render"]
    try:
        with command.make_context("leaderboard", shlex.split(words)) as context:
            return dict(context.params)
    except (click.ClickException, ValueError) as error:
        raise InputError(f"its command cannot be read ({error})", where=str(page)) from None


def board_options(folder: Path) -> ProtocolFile:
    """The protocol, filters and metric of a published board.

    Raises:
        InputError: See ``_options``; or a damaged protocol file.
    """
    options = _options(folder)
    protocol = str(folder / _PROTOCOL) if options["protocol"] else None
    found: ProtocolFile = protocol_of(protocol, filters(options), options["metric"])
    return found


def render_anew(
    folder: Path,
    records: Sequence[Record],
    figures: bool | None = None,
    more: Mapping[str, bytes] | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Renders a published board with other records, with the options that it has.

    All files are made elsewhere before one of the folder changes. The records are the last: until
    they are there the folder's records are those of before, and the same call goes on.

    Args:
        folder: The board's folder.
        records: Its records.
        figures: Whether figures are drawn; None where matplotlib is there.
        more: Further files of the folder.
        ready: Called before the first file changes; what it raises changes nothing.

    Raises:
        InputError: See ``_options``; or what rendering refuses.
    """
    from prunebench.bench.reports.boards import write_files
    from prunebench.leaderboard.bundle import pack

    options = _options(folder)
    command = leaderboard.commands["render"]
    with tempfile.TemporaryDirectory(prefix="prunebench-board-") as scratch:
        packed = Path(scratch) / _RECORDS
        packed.write_bytes(pack(records))
        staged = Path(scratch) / "board" / (folder.resolve().name or "board")
        if folder.is_dir():
            shutil.copytree(folder, staged, symlinks=True)
        more = more or {}
        write_files(staged, more)
        options |= {"results": (str(packed),), "publish": str(staged), "figures": figures,
                    "as_json": True}  # fmt: skip
        options["protocol"] = str(staged / _PROTOCOL) if options["protocol"] else None
        context = click.Context(command, info_name="leaderboard")
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(click.exceptions.Exit):
            context.invoke(command, **options)
        new, old = _contents(staged), _contents(folder)
        changed = [name for name, data in new.items() if old.get(name) != data]
        changed.sort(key=lambda name: name not in more)
        ready()
        ends = [name for name in changed if name == _RECORDS]
        write_files(folder, {name: new[name] for name in changed if name != _RECORDS})
        for name in old.keys() - new.keys():
            OwnFolder(folder).remove(folder / name)
        write_files(folder, {name: new[name] for name in ends})


def _contents(folder: Path) -> dict[str, bytes]:
    """Files below a folder by relative name; links are left alone."""
    found = (path for path in sorted(folder.rglob("*")) if folder.is_dir())
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in found if path.is_file() and not path.is_symlink()}  # fmt: skip
