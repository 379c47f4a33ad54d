"""The verb that renders tables."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from prunebench.bench.cli.common import results_folder


@click.command()
@click.argument("results", nargs=-1, required=True)
@click.option("--out", default=None, help="Folder (default: RESULTS/leaderboard).")
@click.option("--json", "as_json", is_flag=True, help="Print the written paths as JSON.")
def leaderboard(results: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Render leaderboard.md and leaderboard.csv from the records of one or more folders.

    Example: prunebench leaderboard results/demo
    """
    import json

    from prunebench.bench.boards import write_board

    folders = [results_folder(text) for text in results]
    board = write_board(folders, Path(out) if out else folders[0] / "leaderboard")
    if as_json:
        print(json.dumps([str(path) for path in board.paths]))
        return
    print(board.markdown)
    print("\n".join(f"wrote {path}" for path in board.paths), file=sys.stderr)
