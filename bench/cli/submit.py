"""The verb that makes a folder of somebody's runs, ready for a pull request."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from prunebench.bench.cli.filter_options import filter_options, filters
from prunebench.bench.cli.leaderboard import sources
from prunebench.bench.cli.options import load_plugins
from prunebench.errors import InputError
from prunebench.files import OwnFolder


@click.command()
@click.argument("results", nargs=-1, required=True)
@click.option("--name", required=True, help="Name of the submission: letters, digits, . _ and -.")
@click.option("--by", required=True, help="Who ran it: names, and where they work.")
@click.option("--contact", required=True, help="Mail address or page of somebody who answers.")
@click.option("--to", required=True, metavar="DIR", help="Folder to write.")
@click.option("--code", default="", metavar="URL", help="Where the method's code can be read.")
@click.option("--note", default="", help="One line about the runs.")
@click.option(
    "--clean-labels",
    type=click.Choice(["none", "reference", "all"]),
    default=None,
    help="For a list of ids: by what clean labels it was chosen; without it, not stated.",
)
@click.option(
    "--board",
    default=None,
    metavar="DIR",
    help="Folder of the published board that it is for: what `accept` would refuse is said now.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the written paths as JSON.")
@filter_options
@click.pass_context
def submit(
    ctx: click.Context, /, results: tuple[str, ...], to: str, board: str | None, as_json: bool,
    name: str, by: str, contact: str, code: str, note: str,
    clean_labels: str | None, **chosen: Any,
) -> None:  # fmt: skip
    """Make a folder of your runs for a pull request: packed records, a card, texts.

    RESULTS are results folders or packed records; or one table ids.csv (setting, ratio, seed, id)
    of kept samples, with --method NAME and --dataset NAME. What a board could not take is refused
    with every reason, and nothing is written.

    Example: prunebench submit results/mine --name mine-digits --by "A. Person"
    --contact a.person@example.org --to submissions/mine-digits
    """
    from prunebench.bench.grids.submission import beside, of_list, of_records
    from prunebench.bench.reports.boards import write_files
    from prunebench.leaderboard.contributions.card import RECORDS, REQUEST
    from prunebench.leaderboard.contributions.folder import own_files
    from prunebench.leaderboard.contributions.pages import submission_files

    folder = Path(to)
    left = own_files(folder)
    given = filters(chosen)
    words = {"name": name, "by": by, "contact": contact, "code": code, "note": note,
             "board": Path(board).resolve().name if board else "",
             "clean_labels": clean_labels or "", "date": datetime.now(UTC).date()}  # fmt: skip
    listed = [text for text in results if text.endswith(".csv")]
    if listed and len(results) > 1:
        raise InputError(f"{len(results)} places", where="submit", accepted="one list of ids alone")
    if clean_labels and not listed:
        raise InputError("records say what clean labels they used", where="--clean-labels",
                         accepted="a list of ids")  # fmt: skip
    if board:
        sources((str(Path(board) / RECORDS),))
    load_plugins(ctx)
    if listed:
        made = of_list(Path(listed[0]), words, given)
    else:
        made = of_records(sources(results), words, given, tuple(ctx.obj or ()))
    reasons = list(made.reasons)
    if board and not reasons:
        reasons = beside(made, Path(board))
    refuse(ctx, reasons, "submit")
    assert made.card is not None
    tell(made.notes)
    files = submission_files(made.card, made.data, made.records, made.cells)
    paths = write_files(folder, files)
    for path in left:
        if path.name not in files:
            OwnFolder(folder).remove(path)
    if as_json:
        print(json.dumps([str(path) for path in paths]))
        return
    names = ", ".join(method.name for method in made.card.methods)
    print(f"{made.card.runs} {'cells' if made.card.is_list else 'runs'} of {names} in {to}")
    print(f"next: put the folder into a pull request, whose text is {folder / REQUEST}")


def refuse(ctx: click.Context, reasons: Sequence[str], verb: str) -> None:
    """Prints every reason on a line of standard error and ends with exit code 2."""
    for reason in reasons:
        print(f"prunebench: {verb}: refused: {' '.join(reason.split())}", file=sys.stderr)
    if reasons:
        ctx.exit(2)


def tell(notes: Sequence[str]) -> None:
    """Prints what refuses nothing."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
