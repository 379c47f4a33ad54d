"""Verbs that read records: leaderboard, compare, audit."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import click

from prunebench.bench.cli.filter_options import filter_options, filters, flags
from prunebench.errors import InputError, spelled
from prunebench.files import OwnFolder

#: Files of a publication, beside ``leaderboard.*``; and what of ``figures/`` is kept.
_PUBLISHED = ("README.md", "records.jsonl.gz", "protocol.toml", "model-index.md", "transfer.csv",
              "contributions.json")  # fmt: skip
_FOLDERS = ("figures", "ids", "superseded")
_FORMS = ("leaderboard.", "samples-to-accuracy.")
_FIGURES = (".svg", ".png", ".md")
_LARGEST_FIGURE = 1 << 26
#: Notes that are printed; of more, the number.
_NOTES = 5


_METRIC = click.option(
    "--metric",
    type=click.Choice(["accuracy", "balanced", "worst-class", "worst-group"]),
    default=None,
    help="Which accuracy the board is about (default: the protocol's, plain accuracy).",
)


class _Default(click.Group):
    """Runs ``render`` where the first word names no other subcommand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Inserts the default subcommand."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["render", *args]
        return super().parse_args(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Help of the default subcommand, then the names of the others."""
        render = self.commands["render"]
        own = render.context_class(render, info_name=ctx.info_name, parent=ctx.parent)
        formatter = ctx.make_formatter()
        others = [(name, command.get_short_help_str()) for name, command in self.commands.items()
                  if command is not render]  # fmt: skip
        with formatter.section(f"Further commands ({ctx.command_path} NAME --help)"):
            formatter.write_dl(others)
        return f"{render.get_help(own)}\n\n{formatter.getvalue().rstrip()}"


def sources(texts: tuple[str, ...]) -> list[Path]:
    """Existing results folders and bundles.

    Raises:
        InputError: Something else.
    """
    from prunebench.bench.cli.options import results_folder
    from prunebench.errors import InputError
    from prunebench.leaderboard.bundle import is_bundle

    for packed in (Path(text) / "records.jsonl.gz" for text in texts):
        if packed.is_file() and not packed.with_name("records").exists():
            raise InputError("no results folder, but one with packed records",
                             where=str(packed.parent), accepted=str(packed))  # fmt: skip
    return [
        Path(text) if is_bundle(Path(text)) and Path(text).is_file() else results_folder(text)
        for text in texts
    ]


def print_notes(notes: list[str]) -> None:
    """Prints what was found beside the results, the first lines of it."""
    for line in notes[:_NOTES]:
        print(f"note: {line}", file=sys.stderr)
    if len(notes) > _NOTES:
        print(f"note: ... and {len(notes) - _NOTES} more", file=sys.stderr)


def protocol_of(protocol: str | None, given: Any, metric: str | None = None) -> Any:
    """The protocol of a file or the default one, with the filters and the metric of the command."""
    from prunebench.leaderboard.protocol_file import ProtocolFile, read_protocol

    board_protocol = read_protocol(Path(protocol)) if protocol else ProtocolFile()
    narrowed = board_protocol.narrowed(given)
    return narrowed.model_copy(update={"metric": metric}) if metric else narrowed


@click.group(cls=_Default, invoke_without_command=False)
def leaderboard() -> None:
    """Render the tables of results folders: `leaderboard RESULTS...`, or merge folders.

    Example: prunebench leaderboard results/demo
    """


@leaderboard.command("render")
@click.argument("results", nargs=-1)
@click.option("--out", default=None, help="Folder (default: RESULTS/leaderboard).")
@click.option("--protocol", default=None, metavar="FILE", help="Protocol file (TOML).")
@_METRIC
@click.option(
    "--publish",
    default=None,
    metavar="DIR",
    help="Write a folder ready for a repository or page: tables, page, data, command.",
)
@click.option(
    "--with-ids",
    is_flag=True,
    help="With --publish: the sample ids that static methods kept, and their scores, as Parquet in "
    "ids/, for `--method ids:FILE` (needs prunebench[hf]).",
)
@click.option("--no-scores", is_flag=True, help="With --with-ids: the ids alone.")
@click.option(
    "--from-mlflow",
    "uri",
    default=None,
    metavar="STORE",
    help="Read the records of an MLflow tracking store (its URI, or a path) instead of folders.",
)
@click.option(
    "--figures/--no-figures",
    "figures",
    default=None,
    help="Draw figures/*.svg and .png (default: with --publish only; needs prunebench[plots]).",
)
@click.option(
    "--copy-from-paper",
    "paper",
    type=click.Choice(["alignprune"]),
    default=None,
    help="Show a paper's printed numbers beside ours: unpaired, not ranked.",
)
@click.option(
    "--model-index",
    is_flag=True,
    help="Also write model-index.md, metadata for Hugging Face model cards.",
)
@click.option("--nemenyi", is_flag=True, help="Nemenyi's distance in critical-difference figures.")
@click.option("--json", "as_json", is_flag=True, help="Print the written paths as JSON.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "md"]),
    default=None,
    help="What is printed: findings and tables in the terminal's width, or leaderboard.md "
    "(default: the first on a terminal, the second in a pipe or file).",
)
@filter_options
@click.pass_context
def render(
    ctx: click.Context, /, results: tuple[str, ...], out: str | None, protocol: str | None,
    metric: str | None, publish: str | None, uri: str | None, figures: bool | None,
    paper: str | None, model_index: bool, nemenyi: bool, as_json: bool, with_ids: bool,
    no_scores: bool, form: str | None, **chosen: Any,
) -> None:  # fmt: skip
    """Render leaderboard.md, .html, .json, .csv and .tex from records.

    RESULTS are results folders or bundles of records (records.jsonl.gz).

    Records and tables of epochs that cannot be read are named and left out; the exit code is 1
    then.

    Example: prunebench leaderboard results/demo --publish docs/leaderboards/demo
    """
    from prunebench.bench.cli.options import report_faults
    from prunebench.bench.cli.terminal_tables import show_board
    from prunebench.bench.reports.boards import (
        gather,
        make_board,
        target_files,
        texts,
        unite,
        write_tables,
    )
    from prunebench.leaderboard.artifacts import artifact_reader, nothing
    from prunebench.leaderboard.bundle import is_bundle
    from prunebench.leaderboard.contributed import known_history
    from prunebench.leaderboard.publish import publication
    from prunebench.leaderboard.published.numbers import read_published
    from prunebench.leaderboard.render.model_index import render_model_index
    from prunebench.leaderboard.render.target_text import TARGET_STEM

    if (with_ids and not publish) or (no_scores and not with_ids):
        missing = "--with-ids" if publish else "--publish DIR"
        raise InputError(f"goes with {missing}", accepted=missing,
                         where="--no-scores" if no_scores else "--with-ids")  # fmt: skip
    if publish:
        _check_publication(Path(publish))
    given = filters(chosen)
    board_protocol = protocol_of(protocol, given, metric)
    if (uri is None) == (not results):
        raise InputError("records come from RESULTS or from --from-mlflow", where="leaderboard",
                         accepted="one of the two")  # fmt: skip
    if not (results or out or publish):
        raise InputError("no folder to write to", where="--out", accepted="a folder")
    folders = sources(results)
    notes: list[str] = []
    faults: list[InputError] = []
    if uri is None:
        records = gather(folders, notes, faults)
    else:
        from prunebench.bench.tracking.read import mirrored_records

        records = unite(mirrored_records(uri), notes)
    print_notes(notes)
    printed = read_published() if paper else []
    own = [Path(publish)] if publish else []
    beside = [folder.parent for folder in folders if is_bundle(folder)]
    named = known_history([*own, *beside])
    history = named.finished(record.key for record in records)
    if history is not named:
        print(f"note: contributions.json names {named.contributions[-1].submission}, none of whose "
              "runs is among the records; it is left out", file=sys.stderr)  # fmt: skip
    board = make_board(records, board_protocol, printed, align_shown=True, history=history)
    read = nothing if publish else artifact_reader(folders)
    files = {name: text.encode() for name, text in texts(board, read).items()}
    if model_index:
        files["model-index.md"] = render_model_index(board).encode()
    files |= target_files(board, folders, faults)
    files |= _figures(board, folders, figures, bool(publish), nemenyi)
    place = Path(publish or out or _beside(folders[0]))
    if not any(name.startswith(f"{TARGET_STEM}.") for name in files):
        files |= _earlier_targets(place, board)
    if publish:
        command = shlex.join(["prunebench", "leaderboard", "records.jsonl.gz",
                              *(["--protocol", "protocol.toml"] if protocol else []),
                              *(["--metric", metric] if metric else []),
                              *(["--copy-from-paper", paper] if paper else []), *flags(given),
                              "--no-figures", "--publish", "."])  # fmt: skip
        published = _published(Path(publish))
        if figures is False:
            files |= published
        elif published and "figures/figures.md" in files:
            from prunebench.leaderboard.figures import with_published

            files = with_published(files, published)
        extra = {"protocol.toml": Path(protocol).read_bytes()} if protocol else {}
        ids, there = _ids(board, records, folders, place, with_ids, not no_scores)
        pages = publication(board, files, records, command, extra, ids=there)
        paths = write_tables(place, {**pages, **ids})
        if ids:
            from prunebench.bench.runs.published_ids import remove_earlier

            remove_earlier(place, ids)
    else:
        paths = write_tables(place, files)
    if as_json:
        print(json.dumps([str(path) for path in paths]))
    else:
        show_board(board, files["leaderboard.md"].decode(), form)
        print("\n".join(f"wrote {path}" for path in paths), file=sys.stderr)
    ctx.exit(report_faults(faults))


def _published(folder: Path) -> dict[str, bytes]:
    """Figures that a publication has already; those of artifacts cannot be drawn from records.

    Raises:
        InputError: One is a link, or is larger than any figure.
    """
    own, found = OwnFolder(folder), {}
    for name, there in own.entries(folder / "figures"):
        if name.endswith(_FIGURES) and S_ISREG(there.st_mode):
            found[f"figures/{name}"] = _read(own, folder / "figures" / name, there.st_size)
    return found


def _ids(
    board: Any, records: Any, folders: list[Path], place: Path, wanted: bool, scores: bool
) -> tuple[dict[str, bytes], bool]:
    """Kept ids and scores by relative name, empty where they are not asked for; and whether the
    publication holds those of these records, written now or earlier."""
    if not wanted and not (place / "ids").is_dir():
        return {}, False
    from prunebench.bench.runs.published_ids import ids_files, published_keys
    from prunebench.leaderboard.artifacts import artifact_reader

    if not wanted:
        current = published_keys(place) <= {record.key for record in records}
        if not current:
            print(f"note: {place / 'ids'} is of other records; --with-ids writes it anew",
                  file=sys.stderr)  # fmt: skip
        return {}, current
    files, left_out = ids_files(board, artifact_reader(folders), scores)
    print_notes(left_out)
    return files, True


def _earlier_targets(folder: Path, board: Any) -> dict[str, bytes]:
    """Samples to an accuracy that a folder has already, of the same records and protocol: the
    tables of epochs they come from are not here. All forms are rendered anew from the JSON file.

    Raises:
        InputError: It is a link, or is larger than any figure.
    """
    from prunebench.bench.reports.boards import target_texts
    from prunebench.leaderboard.render.target_read import read_target_tables
    from prunebench.leaderboard.render.target_text import TARGET_STEM

    own = OwnFolder(folder)
    for name, there in own.entries(folder) if folder.is_dir() else []:
        if name == f"{TARGET_STEM}.json" and S_ISREG(there.st_mode):
            tables = read_target_tables(board, _read(own, folder / name, there.st_size))
            return target_texts(board, tables) if tables else {}
    return {}


def _read(own: OwnFolder, path: Path, size: int) -> bytes:
    if size > _LARGEST_FIGURE:
        raise InputError(f"{size} bytes", where=str(path),
                         accepted=f"files up to {_LARGEST_FIGURE >> 20} MiB")  # fmt: skip
    with os.fdopen(own.open(path, os.O_RDONLY), "rb") as file:
        return file.read(size)


def _check_publication(folder: Path) -> None:
    """Refuses links in a publication before anything is read: it may come from anybody, and
    what a link leads to must not become a part of it.

    Raises:
        InputError: There is one, or a folder in the place of a file; the line names it.
    """
    own = OwnFolder(folder)
    for name, there in own.entries(folder, links=True):
        if name in _FOLDERS or name in _PUBLISHED or name.startswith(_FORMS):
            own.check(folder / name, levels=1)
            if S_ISDIR(there.st_mode) != (name in _FOLDERS):
                accepted = "a folder" if name in _FOLDERS else "a file"
                raise InputError("is in the way", where=str(folder / name), accepted=accepted)


def _figures(
    board: Any, folders: list[Path], wanted: bool | None, publish: bool, nemenyi: bool
) -> dict[str, bytes]:
    """Figures where they are asked for; a publication goes without where matplotlib lacks."""
    from prunebench.bench.reports.boards import figure_files
    from prunebench.leaderboard.figures import available

    if wanted is False or not (wanted or nemenyi or publish):
        return {}
    if not (wanted or nemenyi or available()):
        print("no figures: matplotlib is not installed (prunebench[plots])", file=sys.stderr)
        return {}
    files, left_out = figure_files(board, folders, nemenyi)
    for line in left_out:
        print(line, file=sys.stderr)
    return files


def _beside(source: Path) -> Path:
    return (source if source.is_dir() else source.parent) / "leaderboard"


@leaderboard.command("merge", short_help="Copy several folders into one.")
@click.argument("results", nargs=-1, required=True)
@click.option("--out", required=True, help="Results folder that receives the records.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def merge_folders(results: tuple[str, ...], out: str, as_json: bool) -> None:
    """Copy the records and artifacts of several folders into one; conflicts are errors.

    Example: prunebench leaderboard merge machine-a machine-b --out results/all
    """
    from prunebench.bench.reports.boards import merge

    notes: list[str] = []
    copied, already = merge(sources(results), Path(out), notes)
    print_notes(notes)
    if as_json:
        print(json.dumps({"copied": copied, "stood": already}))
    else:
        print(f"{copied} records copied to {out}, {already} were there already")


@click.command()
@click.argument("a")
@click.argument("b")
@click.argument("results", nargs=-1, required=True)
@click.option("--protocol", default=None, metavar="FILE", help="Protocol file (TOML).")
@_METRIC
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@filter_options
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    a: str,
    b: str,
    results: tuple[str, ...],
    protocol: str | None,
    metric: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Compare two rows: size, interval, tests, cell by cell.

    Example: prunebench compare infobatch+align infobatch results/demo
    """
    from prunebench.bench.cli.options import report_faults
    from prunebench.bench.reports.boards import gather, make_board
    from prunebench.leaderboard.compare_rows import compare_rows
    from prunebench.leaderboard.render.json_export import finite

    board_protocol = protocol_of(protocol, filters(chosen), metric)
    notes: list[str] = []
    faults: list[InputError] = []
    records = gather(sources(results), notes, faults)
    print_notes(notes)
    found = compare_rows(make_board(records, board_protocol), a, b)
    if as_json:
        plain = [{n: v for n, v in item.items() if n != "text"} for item in found]
        about = board_protocol.metric
        named = {} if about == "accuracy" else {"metric": about}
        print(json.dumps(finite({"comparisons": plain, **named}), sort_keys=True, indent=1))
    else:
        print("\n".join(item["text"] for item in found), end="")
    ctx.exit(report_faults(faults))


@click.command()
@click.argument("results", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option(
    "--grid",
    default=None,
    metavar="GRID",
    help="Also expect every cell of this grid (those of grids run into the folder are known).",
)
@filter_options
@click.pass_context
def audit(
    ctx: click.Context, /, results: tuple[str, ...], strict: bool, as_json: bool,
    grid: str | None, **chosen: Any,
) -> None:  # fmt: skip
    """Look for missing, doubled, mixed and suspicious records; exit 1 where there are errors.

    Example: prunebench audit results/demo
    """
    from dataclasses import asdict

    from prunebench.bench.cli.terminal_tables import show
    from prunebench.bench.reports.boards import load_records
    from prunebench.bench.results.planned import planned_cells
    from prunebench.leaderboard.audit import AuditFinding
    from prunebench.leaderboard.audit import audit as find
    from prunebench.leaderboard.render.markdown import escape, pipe

    folders = sources(results)
    faults: list[InputError] = []
    records = [record for source in folders for record in load_records(source, faults)]
    wanted = _grid_cells(ctx, grid) if grid else []
    wanted += [cell for folder in folders if folder.is_dir() for cell in planned_cells(folder)]
    found = [AuditFinding("error", "unreadable", f.where, f.what) for f in faults]
    found += find(records, protocol_of(None, filters(chosen)), wanted)
    if as_json:
        print(json.dumps([asdict(f) for f in found], indent=1))
    elif found:
        rows = [[f.level, f.what, *(escape(spelled(t)) for t in (f.where, f.detail))]
                for f in found]  # fmt: skip
        show(pipe(["level", "what", "where", "detail"], rows, text_columns=3))
    else:
        print(f"{len(records)} records, nothing to report")
    bad = {"error", "warning"} if strict else {"error"}
    ctx.exit(1 if any(f.level in bad for f in found) else 0)


def _grid_cells(ctx: click.Context, source: str) -> list[Any]:
    from prunebench.bench.cli.options import load_plugins
    from prunebench.bench.grids.grid_file import expand, read_grid
    from prunebench.bench.grids.mixture import of_cells

    load_plugins(ctx)
    return of_cells(expand(*read_grid(source)))
