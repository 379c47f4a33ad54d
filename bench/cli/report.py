"""The verb that answers what reviewers of papers on data pruning ask."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from prunebench.bench.cli.filter_options import filter_options, filters


@click.command()
@click.argument("results", nargs=-1, required=True)
@click.option("--out", default=None, help="Folder (default: RESULTS/report).")
@click.option("--protocol", default=None, metavar="FILE", help="Protocol file (TOML).")
@click.option(
    "--figures/--no-figures",
    "figures",
    default=None,
    help="Draw figures into the page (default: where prunebench[plots] is installed).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the written paths as JSON.")
@filter_options
@click.pass_context
def report(
    ctx: click.Context, /, results: tuple[str, ...], out: str | None, protocol: str | None,
    figures: bool | None, as_json: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Write one page on what reviewers ask: noise kept, wrong samples, reference, cost, power.

    RESULTS are results folders or bundles of records (records.jsonl.gz). The page is report.md and
    report.html, with its tables as CSV; a section without data names the command that gives it.

    Example: prunebench report results/report-digits
    """
    from prunebench.bench.cli.leaderboard import print_notes, protocol_of, sources
    from prunebench.bench.cli.options import report_faults
    from prunebench.bench.reports.boards import gather, make_board, write_files
    from prunebench.bench.reports.report_page import make_report
    from prunebench.errors import InputError
    from prunebench.leaderboard.figures import available

    wanted = protocol_of(protocol, filters(chosen))
    folders = sources(results)
    notes: list[str] = []
    faults: list[InputError] = []
    records = gather(folders, notes, faults)
    print_notes(notes)
    board = make_board(records, wanted, align_shown=True)
    drawn = available() if figures is None else figures
    if figures is None and not drawn:
        print("no figures: matplotlib is not installed (prunebench[plots])", file=sys.stderr)
    files = make_report(board, folders, faults, drawn)
    first = folders[0] if folders[0].is_dir() else folders[0].parent
    paths = write_files(Path(out) if out else first / "report", files)
    if as_json:
        print(json.dumps([str(path) for path in paths]))
    else:
        print("\n".join(f"wrote {path}" for path in paths if path.parent.name != "tables"))
    ctx.exit(report_faults(faults))
