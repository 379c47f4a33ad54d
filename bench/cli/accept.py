"""The maintainer's verb for submissions: look, repeat some runs, and put them into a board."""

from __future__ import annotations

import json
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.bench.cli.board_folder import board_options, render_anew
from prunebench.bench.cli.options import (
    execution_options,
    load_plugins,
    options_for_execution,
    parse_params,
)
from prunebench.bench.cli.submit import refuse, tell
from prunebench.errors import InputError, spelled

if TYPE_CHECKING:
    from prunebench.bench.grids.acceptance import Examined
    from prunebench.bench.spec.execution import ExecutionOptions


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--board", default=None, metavar="DIR", help="Published board; a new one is made.")
@click.option(
    "--boards",
    default=None,
    metavar="DIR",
    help="Folder of published boards, in place of --board: the one that the card names is taken.",
)
@click.option(
    "--cells",
    type=click.IntRange(0, 10_000),
    default=3,
    show_default=True,
    help="Runs to repeat, drawn at random.",
)
@click.option("--draw", type=int, default=None, help="Seed of that draw (default: a random one).")
@click.option("--dry-run", is_flag=True, help="Look and repeat; change nothing.")
@click.option("--add", is_flag=True, help="Take recipes, budgets and ratios that the board lacks.")
@click.option(
    "--supersede",
    is_flag=True,
    help="Move the runs of earlier versions of its methods out of the board.",
)
@click.option("--recipe", default=None, help="For a list of ids: recipe of the board to train by.")
@click.option(
    "--results",
    default=None,
    metavar="DIR",
    help="For a list of ids: folder of its runs (default: results/NAME of the submission).",
)
@click.option(
    "--dataset-param",
    "dataset_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Where the data are here, when the data set needs a path.",
)
@click.option("--figures/--no-figures", default=None, help="As of `leaderboard --publish`.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@execution_options
@click.pass_context
def accept(
    ctx: click.Context, /, folder: str, board: str | None, boards: str | None, cells: int,
    draw: int | None, dry_run: bool, add: bool, supersede: bool, recipe: str | None,
    results: str | None, dataset_params: tuple[str, ...], figures: bool | None, as_json: bool,
    **values: Any,
) -> None:  # fmt: skip
    """Check a submission, repeat some of its runs, and put it into a published board.

    Nothing of the submission is executed: runs are repeated with methods that come with
    prunebench, and with those of a --plugin FILE that you give after you read it. A submission
    that is refused says every reason, with exit code 2, and changes nothing.

    Example: prunebench accept submissions/mine-digits --board docs/leaderboards/demo
    """
    load_plugins(ctx)
    from prunebench.bench.grids.acceptance import examine, train_list

    where = _board(Path(folder), board, boards)
    values["quiet"] = values["quiet"] or as_json
    workers = values["workers"] or 1
    options = options_for_execution(ctx, values, 1, inline=workers == 1)
    data = parse_params(dataset_params, "--dataset-param")
    found = examine(Path(folder), where, tuple(ctx.obj or ()), add, supersede, recipe)
    found.notes += [f"there is no board {where} yet"] * (boards is not None and not found.board)
    checked = ""
    if not found.reasons and found.merged is not None:
        _buildable(found, where)
    if not found.reasons and found.merged is not None:
        checked = _repeat(found, cells, draw, data, options)
    elif not found.reasons and dry_run:
        found.notes.append(f"{len(found.wanted)} cells would be trained")
    elif not found.reasons:
        assert found.submission is not None
        into = Path(results or f"results/{found.submission.card.name}")
        found.reasons += train_list(found, data, options, into)
        checked = "trained by the maintainers on the samples of a list"
        if not found.reasons:
            _buildable(found, where)
    if as_json:
        print(json.dumps({"accepted": not found.reasons, "reasons": found.reasons,
                          "notes": found.notes, "checked": checked}, indent=1))  # fmt: skip
        if found.reasons:
            ctx.exit(2)
    tell([] if as_json else found.notes)
    refuse(ctx, found.reasons, "accept")
    if dry_run:
        tell(["nothing speaks against it; nothing was changed"])
        return
    _write(found, where, checked, figures, as_json)


def _board(folder: Path, board: str | None, boards: str | None) -> Path:
    """Where the board is.

    Raises:
        InputError: Nobody says which one it is.
    """
    from prunebench.leaderboard.contributions.folder import named_board

    if (board is None) == (boards is None):
        raise InputError("needs one of --board and --boards", accepted="--board DIR")
    return Path(board) if board else Path(str(boards), named_board(folder) or folder.resolve().name)


def _repeat(
    found: Examined, count: int, draw: int | None, data: dict[str, Any], options: ExecutionOptions
) -> str:
    """Repeats some runs; returns what the board says of that."""
    from prunebench.bench.grids.spot_check import spot_check
    from prunebench.bench.reports.installed import installed

    seed = secrets.randbelow(1 << 32) if draw is None else draw
    with tempfile.TemporaryDirectory(prefix="prunebench-accept-") as scratch:
        check = spot_check(found.repeatable, found.board, count, seed, data, options, Path(scratch))
    found.notes += [f"repeated {line}" for line in check.lines]
    found.notes += [f"not repeated: {n} runs, {why}" for why, n in sorted(check.not_run.items())]
    found.notes += [f"the draw was --draw {seed}"] * bool(check.repeated)
    found.reasons += check.reasons
    if count and not check.repeated and not check.reasons and (own := installed(found.repeatable)):
        found.reasons.append(f"no run of {spelled(', '.join(own))} could be repeated, although "
                             "prunebench has the method; --cells 0 repeats none")  # fmt: skip
    return check.words


def _buildable(found: Examined, board: Path) -> None:
    """Adds why the board could not be built with the new runs, if so."""
    from prunebench.bench.reports.boards import make_board

    assert found.merged is not None
    try:
        make_board(found.merged.records, board_options(board))
    except InputError as error:
        found.reasons.append(str(error))


def _write(found: Examined, board: Path, checked: str, figures: bool | None, as_json: bool) -> None:
    from prunebench.bench.grids.acceptance import board_state, contribution
    from prunebench.leaderboard.contributed import HISTORY

    assert found.merged is not None
    history, old = contribution(found, checked, datetime.now(UTC).date())

    def unchanged() -> None:
        """Looks again before the first file changes, for repeats take long."""
        if board_state(board) != found.state:
            raise InputError("was changed while this submission was looked at", where=str(board),
                             accepted="the same command again")  # fmt: skip
        for name, data in old.items():
            if (board / name).exists() and (board / name).read_bytes() != data:
                raise InputError("is there already", where=str(board / name))

    more = {**old, HISTORY: history.dumps().encode()}
    render_anew(board, found.merged.records, figures, more, unchanged)
    if not as_json:
        one = history.contributions[-1]
        print(f"{len(one.keys)} runs of {spelled(', '.join(one.methods))} are in {board}, "
              f"version {one.version}")  # fmt: skip
