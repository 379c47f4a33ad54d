"""Verbs that pick runs by their fields: list shows them, drop moves them aside."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.bench.cli.filter_options import filter_options, filters, typed
from prunebench.bench.cli.options import results_folder
from prunebench.errors import InputError, spelled

if TYPE_CHECKING:
    from rich.table import Table

    from prunebench.leaderboard.filters import Filters
    from prunebench.record import Record

#: Signs of a name that a terminal shows; elsewhere names are whole.
_LONGEST = 60


def pick_options(function: Any) -> Any:
    """Filters of fields, and those of keys and states."""
    function = click.option("--status", "statuses", multiple=True,
                            help="Only this status: done, diverged, failed, killed, "
                                 "skipped or planned.")(filter_options(function))  # fmt: skip
    return click.option("--key", "keys", multiple=True, help="Only this key.")(function)


@click.command("list")
@click.argument("results")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pick_options
def list_records(results: str, as_json: bool, **chosen: Any) -> None:
    """List the runs of a results folder or bundle, and cells that a grid asked for.

    Example: prunebench list results/demo --method random --seed 0..2
    """
    rows = rows_of(*picked(results, **_filter_arguments(chosen)))
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        _show(rows)


@click.command()
@click.argument("results")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was moved as JSON; with --yes.")
@pick_options
@click.pass_context
def drop(ctx: click.Context, /, results: str, yes: bool, as_json: bool, **chosen: Any) -> None:
    """Move runs with their artifacts and evidence to quarantine/, after showing which.

    Nothing is deleted. Cells that a grid asked for and never ran are no longer expected.

    Example: prunebench drop results/mine --where recipe.epochs=5
    """
    from prunebench.bench.results.store import Store
    from prunebench.leaderboard.board.collect import PLANNED

    chosen_by = _filter_arguments(chosen)
    words = _words(**chosen_by)
    if not words:
        raise InputError("which runs?", where="drop", accepted="a filter: --method, --where, "
                         "--key, ...; `prunebench list` shows what a filter picks")  # fmt: skip
    store = Store.open(results_folder(results), create=False)
    found, everything = picked(results, **chosen_by)
    if not found:
        raise InputError(f"no run has {words}", where=results, accepted="see `prunebench list`")
    _refuse_running(store, found)
    if not as_json:
        _show(rows_of(found, everything))
    recorded = [record.key for record in found if record.status != PLANNED]
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise InputError("nothing is moved: there is no terminal to ask on", where="drop",
                             accepted="--yes")  # fmt: skip
        if not click.confirm(f"Move {len(recorded)} runs to {store.root / 'quarantine'}?"):
            ctx.exit(1)
    _move(store, [record.key for record in found], recorded, f"dropped by {words}")
    if as_json:
        print(json.dumps({"moved": recorded, "forgotten": len(found) - len(recorded)}))
        return
    planned = len(found) - len(recorded)
    also = f"; {planned} cells that never ran are no longer expected" if planned else ""
    print(f"{len(recorded)} runs moved to {store.root / 'quarantine'}{also}", file=sys.stderr)
    if (store.root / "mlflow.db").exists():
        print(f"`prunebench sync {results}` marks them in the MLflow mirror", file=sys.stderr)


def _move(store: Any, keys: Sequence[str], recorded: Sequence[str], reason: str) -> None:
    """Plans first, then run by run, each record last, so that after an interruption the same call
    goes on."""
    from prunebench.bench.results.planned import drop_planned

    store = type(store).open(store.root)
    drop_planned(store, set(keys))
    for key in recorded:
        store.set_aside(store.evidence_path(key), reason)
        store.set_aside(store.checkpoint_path(key), reason)
        store.quarantine(key, reason)


def _refuse_running(store: Any, found: Sequence[Record]) -> None:
    from prunebench.bench.results.claims import Claims

    claims = Claims(store.claims)
    for record in found:
        holder = claims.holder(record.key)
        if holder is not None and holder.live:
            raise InputError("is being run now", where=f"record {record.key}",
                             accepted="runs that no process is running")  # fmt: skip


def _filter_arguments(chosen: dict[str, Any]) -> dict[str, Any]:
    statuses, keys = chosen.pop("statuses"), chosen.pop("keys")
    return {"found": filters(chosen), "statuses": statuses, "keys": keys}


def _words(found: Filters, statuses: Sequence[str], keys: Sequence[str]) -> str:
    further = [f"--status {status}" for status in statuses] + [f"--key {key}" for key in keys]
    return " ".join([*([typed(found)] if found.given else []), *further])


def picked(
    results: str, found: Filters, statuses: Sequence[str], keys: Sequence[str]
) -> tuple[list[Record], list[Record]]:
    """Records and planned cells without a record: those that pass, and all."""
    from prunebench.leaderboard.board.check_record import check_shape
    from prunebench.leaderboard.board.collect import PLANNED
    from prunebench.record import STATUSES

    for status in statuses:
        if status not in (*STATUSES, PLANNED):
            raise InputError(f"{status!r}", where="--status",
                             accepted=", ".join((*STATUSES, PLANNED)))  # fmt: skip
    records = []
    for record in _records(results):
        try:
            check_shape(record)
            records.append(record)
        except InputError as error:
            print(f"warning: {error}; not listed", file=sys.stderr)
    found.check(records)
    for key in keys:
        if records and all(record.key != key for record in records):
            raise InputError(f"no run has the key {key!r}", where="--key",
                             accepted="a key that `prunebench list` shows")  # fmt: skip
    picked = [
        record
        for record in records
        if found.passes(record)
        and (not statuses or record.status in statuses)
        and (not keys or record.key in keys)
    ]
    return picked, records


def _records(results: str) -> list[Record]:
    from prunebench.bench.results.planned import planned_cells
    from prunebench.bench.results.store import Store
    from prunebench.leaderboard.bundle import is_bundle, unpack

    if is_bundle(Path(results)) and Path(results).is_file():
        return unpack(Path(results))
    folder = results_folder(results)
    scan = Store(folder).scan()
    for problem in scan.problems:
        print(f"warning: {problem.path}: {problem.reason}; not listed", file=sys.stderr)
    have = {record.key for record in scan.records}
    return [*scan.records, *(cell for cell in planned_cells(folder) if cell.key not in have)]


def rows_of(records: Sequence[Record], everything: Sequence[Record]) -> list[dict[str, Any]]:
    """A line per run; ``board`` names what differs between the designs of the whole folder."""
    from prunebench.leaderboard.board.designs import content_of, label_designs, titled
    from prunebench.leaderboard.board.labels import noise_order
    from prunebench.record import canonical, setting_name

    names = {record.key: canonical(content_of(record.spec)) for record in everything}
    sharing: dict[str, list[Record]] = {}
    for record in everything:
        sharing.setdefault(names[record.key], []).append(record)
    labels = label_designs(
        {name: titled(content_of(own[0].spec), own) for name, own in sharing.items()}
    )
    shown = _row_names(everything)
    rows = []
    for record in records:
        spec, recipe = record.spec, record.spec.get("recipe") or {}
        rows.append({
            "key": record.key,
            "board": labels[names[record.key]],
            "method": spec["method"]["name"],
            "row": shown.get(record.key),
            "noise": setting_name(spec),
            "ratio": spec["ratio"],
            "seed": spec["seed"],
            "recipe": recipe.get("name"),
            "model": recipe.get("model"),
            "status": record.status,
            "accuracy": record.metrics.get("test_accuracy"),
            "label": record.info.get("label"),
            "role": _role(spec),
        })  # fmt: skip
    return sorted(rows, key=lambda r: (r["board"], r["method"], r["ratio"],
                                       noise_order(r["noise"]), r["seed"], r["key"]))  # fmt: skip


def _role(spec: Mapping[str, Any]) -> str:
    """What a run is for: ``eval``, ``tune``, or which evidence it gives."""
    if spec.get("replica"):
        return f"replica {spec['replica']}"
    part = spec.get("part", "all")
    return str(spec.get("role", "eval")) if part == "all" else f"holdout model ({part})"


def _row_names(records: Sequence[Record]) -> dict[str, str]:
    """Names of rows on boards by key, with the options in which variants of a method differ."""
    from prunebench.leaderboard.board.collect import collect
    from prunebench.leaderboard.board.labels import row_id, row_labels

    try:
        runs = collect(records).runs
    except InputError:  # no board can be made of these records; they are listed all the same
        return {}
    labels = row_labels(runs)
    return {run.record.key: labels[row_id(run)] for run in runs}


def _show(rows: Sequence[dict[str, Any]]) -> None:
    """A table; where it is wider than the terminal, what all runs share is a line beneath it."""
    from prunebench.bench.cli.terminal_tables import console
    from prunebench.leaderboard.board.labels import setting_word

    noise = setting_word(row["noise"] for row in rows)
    rows = [{**row, noise: row["noise"]} for row in rows]
    names = ["key", "board", "method", noise, "ratio", "seed", "recipe", "status", "accuracy"]
    names += ["role"] * any(row["role"] != "eval" for row in rows)
    screen = console()
    most = _LONGEST if screen.file.isatty() else None
    texts = [{name: _text(row, name, most) for name in names} for row in rows]
    table = _table(names, texts)
    beneath: dict[str, str] = {}
    if table.__rich_measure__(screen, screen.options.update(width=10_000)).maximum > screen.width:
        for name in set(names) - {"key", "method", "accuracy"}:
            values = {text[name] for text in texts}
            if len(values) == 1:
                beneath[name] = values.pop()
    screen.print(_table([name for name in names if name not in beneath], texts))
    if beneath:
        alike = ", ".join(f"{name} {beneath[name]}" for name in names if name in beneath)
        print(f"all: {alike}")
    print(f"{len(rows)} run{'s' * (len(rows) != 1)}", file=sys.stderr)


def _text(row: dict[str, Any], name: str, most: int | None) -> str:
    value = row[name]
    if name == "method" and row["row"] not in (None, value):
        shown, named = str(row["row"]), str(value)
        value = shown if shown.startswith(named) else f"{named}: {shown}"
    elif name == "accuracy" and value is not None:
        value = f"{100 * value:.2f}"
    elif name == "ratio":
        value = f"{value:g}"
    text = "-" if value is None else spelled(str(value))
    return text if most is None or len(text) <= most else f"{text[: most - 3]}..."


def _table(names: Sequence[str], texts: Sequence[dict[str, str]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        right = name in ("ratio", "seed", "accuracy")
        table.add_column(name, justify="right" if right else "left", overflow="fold",
                         no_wrap=right or name in ("key", "status"))  # fmt: skip
    for text in texts:
        table.add_row(*(Text(text[name]) for name in names))
    return table
