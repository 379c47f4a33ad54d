"""Which recorded run a verb means: by its key, or by the fields that single it out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prunebench.bench.cli.filter_options import filter_options, filters, typed
from prunebench.bench.cli.options import results_folder
from prunebench.bench.results.names import is_key
from prunebench.errors import InputError, visible

if TYPE_CHECKING:
    from prunebench.bench.results.store import Store
    from prunebench.leaderboard.filters import Filters
    from prunebench.record import Record

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULT = "results/run"
_USAGE = "KEY RESULTS, or RESULTS with --method, --noise, --ratio, --seed, ..."


def one_run_options(function: F) -> F:
    """``[KEY] [RESULTS]``, the filters, and ``--out``, by which earlier versions took RESULTS."""
    function = filter_options(function)
    function = click.option("--out", default=None, hidden=True)(function)
    return click.argument("words", nargs=-1, metavar="[KEY] [RESULTS]")(function)


def one_run(values: dict[str, Any]) -> tuple[Store, Record]:
    """The run that is meant; what ``one_run_options`` added is taken out of ``values``.

    Raises:
        InputError: No such folder or run, several runs, or a damaged record.
    """
    from prunebench.bench.results.store import Store

    key, folder = _words(values.pop("words"), values.pop("out"))
    found = filters(values)
    if key and found.given:
        raise InputError(f"a key and {typed(found)}", where="which run", accepted="one of the two")
    if not key and not found.given:
        raise InputError("no KEY and no field", where="which run", accepted=_USAGE)
    store = Store(results_folder(folder))
    return store, _by_key(store, key) if key else _by_fields(store, found)


def _by_key(store: Store, key: str) -> Record:
    record = store.get(key)
    if record is None:
        raise InputError(f"no record {key!r}", where=str(store.root),
                         accepted="a key that `prunebench list` shows")  # fmt: skip
    return record


def _by_fields(store: Store, found: Filters) -> Record:
    from prunebench.bench.cli.picking import picked
    from prunebench.leaderboard.board.collect import PLANNED

    passed, everything = picked(str(store.root), found, (), ())
    runs = [record for record in passed if record.status != PLANNED]
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise InputError(f"no run has {typed(found)}", where=str(store.root),
                         accepted="fields that `prunebench list` shows")  # fmt: skip
    raise InputError(
        f"{len(runs)} runs have {typed(found)}: {_described(runs, everything)}",
        where=str(store.root), accepted="a KEY, or further fields that leave one run",
    )  # fmt: skip


def _described(runs: list[Record], everything: list[Record]) -> str:
    """Keys with what `list` shows of them, the board first: it names what differs in recipes."""
    from prunebench.bench.cli.picking import rows_of

    shown = [
        f"{row['key']} ({row['board']}: {row['row'] or row['method']}, {row['noise']}, "
        f"ratio {row['ratio']:g}, seed {row['seed']})"
        for row in rows_of(runs, everything)[:3]
    ]
    return visible("; ".join([*shown, "..."] if len(runs) > 3 else shown))


def _words(words: tuple[str, ...], out: str | None) -> tuple[str, str]:
    if out is not None:
        print("warning: --out names the folder that is read, in this version only; accepted: "
              f"the folder as an argument: {' '.join([*words, shlex.quote(out)])}",
              file=sys.stderr)  # fmt: skip
    if len(words) + (out is not None) > 2:
        raise InputError(f"{' '.join(words)!r}", where="which run", accepted=_USAGE)
    if len(words) == 2:
        return words[0], words[1]
    if not words:
        return "", out or _DEFAULT
    if out is not None or is_key(words[0]):
        return words[0], out or _DEFAULT
    if not Path(words[0]).is_dir():
        raise InputError(f"{words[0]!r} is neither a key nor a results folder", where="which run",
                         accepted=_USAGE)  # fmt: skip
    return "", words[0]
