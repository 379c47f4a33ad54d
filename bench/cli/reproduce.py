"""The verb that sets ours beside a paper's printed numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from prunebench.bench.cli.filter_options import filter_options, filters
from prunebench.errors import InputError

if TYPE_CHECKING:
    from prunebench.leaderboard.published.papers import Paper


@click.command()
@click.argument("results", nargs=-1, required=True)
@click.option(
    "--published",
    default="alignprune",
    show_default=True,
    metavar="NAME|FILE",
    help="Whose printed numbers: a name that comes with the package, or a CSV file in the form of "
    "alignprune.csv with a TOML file beside it that names its source.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@filter_options
@click.pass_context
def reproduce(
    ctx: click.Context, /, results: tuple[str, ...], published: str, as_json: bool, **chosen: Any
) -> None:
    """Set our numbers beside a paper's: difference, interval, verdict, differences of set-up.

    Example: prunebench reproduce results/table-h --published mine.csv
    """
    from dataclasses import asdict

    from prunebench.bench.cli.leaderboard import print_notes, sources
    from prunebench.bench.cli.options import report_faults
    from prunebench.bench.cli.terminal_tables import show
    from prunebench.bench.reports.boards import gather
    from prunebench.leaderboard.board.collect import collect
    from prunebench.leaderboard.protocol_file import ProtocolFile
    from prunebench.leaderboard.published.papers import read_paper
    from prunebench.leaderboard.render.json_export import dumps, finite
    from prunebench.leaderboard.render.markdown import escape, pipe
    from prunebench.leaderboard.render.row_text import number
    from prunebench.leaderboard.reproduce import POINTS, setup_differences
    from prunebench.leaderboard.reproduce import reproduce as find

    protocol = ProtocolFile().narrowed(filters(chosen))
    paper = read_paper(published)
    notes: list[str] = []
    faults: list[InputError] = []
    runs = collect(gather(sources(results), notes, faults), protocol).runs
    print_notes(notes)
    code = report_faults(faults)
    lines = find(runs, paper.rows)
    differences = setup_differences(runs, paper)
    unknown = _unknown_methods(ctx, paper)
    if as_json:
        content = {"published": published, "source": paper.source, "unknown_methods": unknown,
                   "cells": [asdict(line) for line in lines], "set_up": differences}  # fmt: skip
        print(dumps(finite(content)), end="")
        ctx.exit(code)
    decimals = max(1, paper.decimals)
    body = [
        [
            escape(line.tables), escape(line.dataset), escape(line.noise), escape(line.method),
            f"{line.ratio:g}", escape(line.unit),
            number(line.printed, paper.decimals, signed=line.unit == POINTS),
            _with(line.ours, line.half_width, decimals, signed=line.unit == POINTS), str(line.n),
            number(line.ours - line.printed, decimals, signed=True), line.verdict,
            number(line.printed_gap, paper.decimals, signed=True),
            _with(line.gap, line.gap_half_width, decimals, signed=True), line.gap_verdict or "-",
        ]
        for line in lines
    ]  # fmt: skip
    head = ["table", "data set", "noise", "method", "ratio", "unit", "printed", "ours ± 95 %", "n",
            "difference", "verdict", "printed gap", "our gap ± 95 %", "gap verdict"]  # fmt: skip
    show(f"Printed by: {escape(' '.join(paper.source.split()))}\n")
    show(pipe(head, body))
    for dataset, found in differences.items():
        print(f"\n{dataset}: differences of set-up")
        print("\n".join(f"- {line}" for line in found) or "- none of what the paper states")
    ctx.exit(code)


def _unknown_methods(ctx: click.Context, paper: Paper) -> list[str]:
    """Methods of a file that nobody could have run here, which may be misspelt; named in a note."""
    from prunebench.bench.cli.leaderboard import print_notes
    from prunebench.bench.cli.options import load_plugins
    from prunebench.methods.compose import resolve_method

    load_plugins(ctx)
    unknown = []
    for name in sorted({row.method for row in paper.rows if not row.method.startswith("+")}):
        try:
            resolve_method(name)
        except InputError:
            unknown.append(name)
    if unknown:
        print_notes([f"methods of {paper.name} that are not installed: {', '.join(unknown)}"])
    return unknown


def _with(value: float | None, half: float | None, decimals: int, *, signed: bool = False) -> str:
    from prunebench.leaderboard.render.row_text import number

    text = number(value, decimals, signed)
    return text if half is None else f"{text} ± {number(half, decimals)}"
