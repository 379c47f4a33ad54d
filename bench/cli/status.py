"""The verb that shows how far the runs of a folder are, and what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from prunebench.bench.cli.options import load_plugins, results_folder
from prunebench.errors import spelled
from prunebench.record import Record


@click.command()
@click.argument("results", default="results/demo")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, keys included.")
@click.option("--verify", is_flag=True, help="Also read all artifacts and evidence.")
@click.option(
    "--set-aside",
    is_flag=True,
    help="Move what is damaged to quarantine/; the same grid makes it anew.",
)
@click.pass_context
def status(ctx: click.Context, results: str, as_json: bool, verify: bool, set_aside: bool) -> None:
    """Show how far a folder's grids are by method and setting, and files that do not check out.

    A cell of the table counts the runs of all ratios and seeds that are done, running, failed and
    left. Exit code 1 if something is damaged or was edited.

    Example: prunebench status results/demo
    """
    from prunebench.bench.cli.state_tables import headline, legend, table_blocks
    from prunebench.bench.cli.terminal_tables import console
    from prunebench.bench.reports.grid_state import grid_state
    from prunebench.bench.results.claims import Claims
    from prunebench.bench.results.planned import readable_cells
    from prunebench.bench.results.store import Store

    store = Store.open(results_folder(results), create=False)
    scan = store.scan()
    if verify:
        from prunebench.bench.runs.verify import artifact_problems, evidence_problems

        scan.problems.extend([*artifact_problems(store, scan.records), *evidence_problems(store)])
    if set_aside:
        from prunebench.bench.runs.verify import set_aside as move

        move(store, scan.problems)
    warnings = _of_plugins(ctx, scan.records)
    claims = Claims(store.claims)
    held = [
        {"key": key, "host": holder.process.host, "pid": holder.process.pid}
        for key in claims.claimed()
        if (holder := claims.holder(key)) is not None and holder.live and holder.process
    ]
    state = grid_state(scan.records, readable_cells(store.root), {str(h["key"]) for h in held})
    if as_json:
        counts = Counter(record.status for record in scan.records)
        print(json.dumps({
            "results": results,
            "counts": dict(sorted(counts.items())),
            "records": [{"key": r.key, **_fields(r), "status": r.status, "reason": r.reason}
                        for r in scan.records],
            "problems": [{"path": str(p.path), "reason": p.reason} for p in scan.problems],
            "running": held,
            "warnings": warnings,
            "cells": dict(state.counts),
            "beside": dict(state.beside),
            "seconds_left": state.seconds_left,
            "tables": state.as_dicts(),
        }, indent=2))  # fmt: skip
        ctx.exit(1 if scan.problems else 0)
    screen = console()
    screen.print(headline(results, state, scan.records, len(held)))
    for table in state.tables:
        for block in table_blocks(table, screen.width):
            screen.print()
            screen.print(block)
    if state.tables:
        screen.print(legend(state))
        screen.print()
    for record in [r for r in scan.records if r.status in ("failed", "killed")][:20]:
        part = record.spec.get("method")
        method = str(part.get("name", "?")) if isinstance(part, dict) else "?"
        text = spelled(f"{method}: {record.reason}")
        screen.print(f"{record.status}: {record.key} {text}", **_LINE)
    for problem in scan.problems:
        line = spelled(f"problem: {problem.path}: {problem.reason}")
        screen.print(line, style="red", **_LINE)
    for line in warnings:
        screen.print(f"warning: {line}", **_LINE)
    ctx.exit(1 if scan.problems else 0)


#: Lines that a terminal breaks itself, so that paths can be copied.
_LINE: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}


def _fields(record: Any) -> dict[str, Any]:
    """What run a record is of; None where a specification has no such field."""
    from prunebench.leaderboard.filters import named_value
    from prunebench.record import setting_name

    found: dict[str, Any] = {}
    for name in ("dataset", "method", "noise", "ratio", "seed", "criterion", "recipe", "budget"):
        try:
            found[name] = (
                record.dataset if name == "dataset"
                else setting_name(record.spec) if name == "noise"
                else named_value(record, name)
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError):  # a specification of another form
            found[name] = None
    return {**found, "accuracy": record.metrics.get("test_accuracy")}


def _of_plugins(ctx: click.Context, records: Sequence[Record]) -> list[str]:
    """Where plug-ins have changed; they are loaded only where records name some."""
    from prunebench.leaderboard.board.mixed_sources import mixed_lines, sources

    if not any(source for record in records for source in sources(record).values()):
        return []
    load_plugins(ctx)
    from prunebench.bench.results.plugin_sources import edited

    return [*mixed_lines(records), *edited(records)]
