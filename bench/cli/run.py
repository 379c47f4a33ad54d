"""Verbs that train: run, rerun, grid, demo."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from prunebench.bench.cli.onerun import one_run, one_run_options
from prunebench.bench.cli.options import (
    dataset_options,
    execution_options,
    load_plugins,
    options_for_execution,
    parse_all_params,
    parse_params,
    report_cells,
    report_faults,
    warn_edited,
    warn_mixture,
)
from prunebench.errors import InputError, spelled

#: Ratios above this may leave nothing to train; it depends on the data.
_NEARLY_ALL = 0.9


@click.command()
@click.option("--dataset", default="digits", show_default=True, help="digits, packed:PATH, ...")
@click.option(
    "--noise", default="clean", show_default=True, help="clean, symmetric:0.4, instance:0.4, ..."
)
@click.option("--imbalance", default="none", show_default=True, help="none, exp:50, step:10, ...")
@click.option("--corrupt", default="none", show_default=True, help="none, gaussian-noise:0.3, ...")
@click.option("--method", default="full", show_default=True, help="See `prunebench methods`.")
@click.option(
    "--ratio",
    type=float,
    default=None,
    help="Share of training to save, in [0, 1); methods that prune need one.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every stream.")
@click.option("--recipe", default=None, help="Training recipe (default: the data set's own).")
@click.option("--criterion", default="ce", show_default=True, help="ce, sop or sop+.")
@click.option(
    "--budget",
    type=click.Choice(["samples", "paper", "epochs"]),
    default="samples",
    show_default=True,
    help="What is held equal between methods.",
)
@click.option(
    "--reference-size",
    type=int,
    default=None,
    help="Clean reference samples held out (default: min(1000, 7 %)).",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the method; repeat for more.",
)
@click.option(
    "--recipe-param",
    "recipe_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Field of the recipe.",
)
@click.option(
    "--dataset-param",
    "dataset_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the data set.",
)
@click.option(
    "--corrupt-param",
    "corrupt_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the corruption: severity, 1 to 5 (default: 3).",
)
@click.option(
    "--scoring-recipe",
    default=None,
    metavar="NAME",
    help="Recipe of the scoring run of a static method (default: the recipe).",
)
@click.option(
    "--scoring-param",
    "scoring_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Field of the scoring run's recipe; without --scoring-recipe, of the recipe itself.",
)
@click.option(
    "--noise-param",
    "noise_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the noise: count, seed; outside=last:K or outside=DATASET for openset.",
)
@click.option("--label", default=None, metavar="NAME", help="Name of the row on boards.")
@click.option(
    "--record-losses",
    default=None,
    metavar="EPOCHS",
    help="Store per-sample losses of these epochs: 1,5,10 or all.",
)
@click.option("--out", default="results/run", show_default=True, help="Results folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@execution_options
@click.pass_context
def run(ctx: click.Context, /, **values: Any) -> None:
    """Run one cell (and the scoring run it needs) and print its record.

    Example: prunebench run --dataset digits --noise symmetric:0.4 --method infobatch+align
    --ratio 0.5 --seed 0 --out results/try --json
    """
    load_plugins(ctx)
    from prunebench.bench.grids.driver import run_cells
    from prunebench.bench.results.store import Store
    from prunebench.bench.runs.resolve import check_trainable, resolve_cell
    from prunebench.bench.spec.run_spec import HeldOut
    from prunebench.datasets.noise.names import BY_INPUT

    out, as_json = values.pop("out"), values.pop("as_json")
    losses = _epochs(values.pop("record_losses"))
    workers = values["workers"] or 1
    values["quiet"] = values["quiet"] or as_json
    settings = options_for_execution(ctx, values, 1, inline=workers == 1)
    size = values.pop("reference_size")
    if size is not None:
        if size < 0:
            raise InputError(f"{size}", where="--reference-size", accepted="0 or more")
        values["reference"] = HeldOut(size=size)
    parse_all_params(values)
    values["scoring_params"] = values["scoring_params"] or None
    cell = replace(resolve_cell(where="run", **values), losses=losses)
    store = Store(Path(out))
    # At lower ratios, sets of four samples at most: recorded as skipped once they are read.
    doubtful = size is not None or cell.spec.ratio > _NEARLY_ALL
    doubtful = doubtful or bool(cell.spec.imbalance or cell.spec.corrupt)
    doubtful = doubtful or cell.spec.noise.rule in BY_INPUT
    if doubtful and not (store.records / f"{cell.spec.key}.json").exists():
        check_trainable(cell)
    warn_edited(store)
    warn_mixture(store, [cell], add=True, verb="run")
    report = run_cells([cell], store, settings)
    code = report_cells(report)
    record = store.get(cell.spec.key)
    if record is None:  # `report_cells` has printed why
        ctx.exit(code)
    if as_json:
        print(json.dumps(json.loads(record.dumps()), indent=2))
    else:
        _show_record(record, store)
    ctx.exit(code or (1 if record.status in ("failed", "killed") else 0))


def _epochs(text: str | None) -> frozenset[int] | None:
    if text is None or text == "all":
        return None if text is None else frozenset()
    try:
        epochs = [int(part) for part in text.split(",")]
    except ValueError:
        epochs = [0]
    if min(epochs) < 1:
        raise InputError(f"{text!r}", where="--record-losses", accepted="epochs from 1, or all")
    return frozenset(epochs)


def _show_record(record: Any, store: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from prunebench.bench.cli.terminal_tables import console

    title = spelled(f"{record.key}  {record.status} {record.reason}".strip())
    table = Table(title=Text(title), show_header=False)
    for name, value in record.metrics.items():
        table.add_row(Text(spelled(name)), "-" if value is None else f"{value:.4f}")
    for name in ("trained", "target", "steps", "epochs"):
        table.add_row(name, str(record.ledger.get(name, "-")))
    table.add_row("record", Text(spelled(str(store.records / f"{record.key}.json"))))
    console().print(table)


@click.command()
@one_run_options
@click.option("--into", default=None, help="Folder for the repeat (default: a temporary one).")
@click.option(
    "--dataset-param",
    "dataset_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Where the data are here, when the record's data set needs a path.",
)
@click.option(
    "--method-file", default=None, metavar="FILE", help="Where the file of `scores:FILE` is here."
)
@click.option("--weights", default=None, metavar="FILE", help="Where the initial weights are here.")
@click.option(
    "--scoring-weights", default=None, metavar="FILE", help="Likewise of the scoring run."
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@execution_options
@click.pass_context
def rerun(ctx: click.Context, /, **values: Any) -> None:
    """Repeat a recorded run and compare metrics and artifacts.

    The run is named by its KEY, or by fields that only one run of RESULTS has.

    Example: prunebench rerun results/demo --method random --noise clean --ratio 0.5 --seed 0
    """
    load_plugins(ctx)
    from prunebench.bench.grids.driver import run_cells
    from prunebench.bench.results.store import Store
    from prunebench.bench.runs.rerun import compare_records, recorded_cell

    _, old = one_run(values)
    into, as_json = values.pop("into"), values.pop("as_json")
    known = dataset_options(old.spec["dataset"]["name"])
    where = parse_params(values.pop("dataset_params"), "--dataset-param", known)
    settings = replace(options_for_execution(ctx, values, 1, inline=True), mlflow=False)
    files = (values.pop(name) for name in ("method_file", "weights", "scoring_weights"))
    cell = recorded_cell(old, where, *files)
    with tempfile.TemporaryDirectory(prefix="prunebench-rerun-") as scratch:
        target = Store(Path(into or scratch))
        code = report_cells(run_cells([cell], target, settings))
        new = target.get(old.key)
        if new is None:  # `report_cells` has printed why
            ctx.exit(code)
        verdict = compare_records(old, new, tuple(ctx.obj or ()))
    if as_json:
        print(json.dumps(verdict, indent=2))
    else:
        print(f"{old.key}: {'identical' if verdict['identical'] else 'DIFFERENT'}")
        for line in verdict["differences"]:
            print(f"  {spelled(line)}")
        if verdict["command"]:
            print(f"command: {verdict['command']}")
    ctx.exit(code or (0 if verdict["identical"] else 1))


@click.command()
@click.argument("source", metavar="GRID")
@click.option("--out", default=None, help="Results folder (default: results/<name of the grid>).")
@click.option("--dry-run", is_flag=True, help="Say what would run and for how long.")
@click.option("--shard", default=None, metavar="I/N", help="Run every N-th cell, I from 1 to N.")
@click.option("--board", is_flag=True, help="Render and print the leaderboard at the end.")
@click.option(
    "--add",
    is_flag=True,
    help="Go on where the folder holds runs of another recipe, budget or version of the data set: "
    "each gets tables of its own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
@execution_options
@click.pass_context
def grid(ctx: click.Context, /, source: str, **values: Any) -> None:
    """Run a grid file; a second call goes on where the first stopped.

    Example: prunebench grid demo --workers 2
    """
    load_plugins(ctx)
    from prunebench.bench.grids.driver import run_cells
    from prunebench.bench.grids.grid_file import expand, read_grid
    from prunebench.bench.results.store import Store

    loaded, path = read_grid(source)
    as_json, dry = values.pop("as_json"), values.pop("dry_run")
    absent: dict[str, str] = {}
    whole = expand(loaded, path, absent if dry else None)
    cells = _shard(whole, values.pop("shard"))
    out = values.pop("out") or f"results/{loaded.name}"
    board = values.pop("board")
    warn_mixture(Store(Path(out)), [] if absent else whole, values.pop("add") or dry)
    values["quiet"] = values["quiet"] or as_json
    settings = options_for_execution(ctx, values, os.cpu_count() or 1, inline=False)
    warn_edited(Store(Path(out)))
    if dry:
        from prunebench.bench.cli.estimate import lines
        from prunebench.bench.estimates.summary import summarise
        from prunebench.bench.grids.grid_file import added_controls

        settings = replace(settings, workers=settings.workers or os.cpu_count() or 1)
        summary = summarise(cells, Path(out), settings, absent)
        summary["controls"] = added_controls(loaded, cells)
        print(json.dumps(summary, indent=2) if as_json else lines(summary))
        return
    store = Store(Path(out))
    report = run_cells(cells, store, settings, grid=loaded.name)
    code = report_cells(report)
    counts = {s: report.count(s) for s in ("done", "diverged", "skipped", "failed", "killed")}
    summary = {"out": out, "cells": len(report.planned.jobs), "stood": len(report.recorded)}
    summary |= {name: n for name, n in counts.items() if n}
    print(json.dumps(summary, indent=2) if as_json else _lines(summary))
    if board:
        from prunebench.bench.cli.terminal_tables import show_board
        from prunebench.bench.reports.boards import write_board

        written = write_board([store.root], store.root / "leaderboard")
        show_board(written.board, written.markdown)
        code = code or report_faults(written.faults)
    ctx.exit(code)


def _lines(summary: dict[str, Any]) -> str:
    rows = [("recorded before" if k == "stood" else k, value) for k, value in summary.items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _shard(cells: list[Any], text: str | None) -> list[Any]:
    if text is None:
        return cells
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise InputError(f"{text!r}", where="--shard", accepted="I/N with 1 <= I <= N")
    ordered = sorted(cells, key=lambda cell: str(cell.spec.key))
    return ordered[int(first) - 1 :: int(second)]


@click.command()
@click.option("--out", default="results/demo", show_default=True, help="Results folder.")
@execution_options
@click.pass_context
def demo(ctx: click.Context, /, out: str, **values: Any) -> None:
    """Train and rank the built-in methods on handwritten digits, in minutes on two cores.

    Example: prunebench demo
    """
    load_plugins(ctx)
    from prunebench.bench.cli.terminal_tables import show_board
    from prunebench.bench.grids.driver import run_cells
    from prunebench.bench.grids.grid_file import expand, read_grid
    from prunebench.bench.reports.boards import write_board
    from prunebench.bench.results.store import Store

    loaded, path = read_grid("demo")
    settings = options_for_execution(ctx, values, os.cpu_count() or 1, inline=False)
    store = Store(Path(out))
    report = run_cells(expand(loaded, path), store, settings, grid=loaded.name)
    code = report_cells(report)
    trained = len(report.outcomes)
    print(f"{trained} cells trained now, {len(report.recorded)} recorded before", file=sys.stderr)
    board = write_board([store.root], store.root / "leaderboard")
    show_board(board.board, board.markdown)
    print("\n".join(f"wrote {path}" for path in board.paths), file=sys.stderr)
    ctx.exit(code or report_faults(board.faults))
