"""From results folders, bundles or an MLflow store to written leaderboards."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from prunebench.bench.results.collector import collector_paused
from prunebench.bench.results.planned import add_plan, plan_files, read_plan
from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.files import OwnFolder
from prunebench.leaderboard.artifacts import artifact_reader, nothing
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.check_record import usable
from prunebench.leaderboard.board.collect import one_run
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.bundle import is_bundle, unpack
from prunebench.leaderboard.contributed import History
from prunebench.leaderboard.learning_curves.curves import Reader
from prunebench.leaderboard.learning_curves.to_target import TargetTable, target_tables
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.published.numbers import Printed
from prunebench.leaderboard.render.csv_table import render_csv
from prunebench.leaderboard.render.html.page import render_html
from prunebench.leaderboard.render.html.target_page import render_target_html
from prunebench.leaderboard.render.json_export import board_json, dumps
from prunebench.leaderboard.render.latex import render_latex
from prunebench.leaderboard.render.markdown import render_markdown
from prunebench.leaderboard.render.target_read import read_target_tables
from prunebench.leaderboard.render.target_text import (
    TARGET_STEM,
    render_target_csv,
    render_target_markdown,
    target_json,
)
from prunebench.leaderboard.render.transfer_text import (
    TRANSFER_FILE,
    TRANSFER_HEADS,
    scored_rows,
)
from prunebench.record import Record, RecordError


@dataclass(frozen=True)
class Written:
    """What was rendered, where it lies, and the board itself."""

    markdown: str
    paths: list[Path]
    faults: list[InputError]
    board: Board


def load_records(source: Path, faults: list[InputError] | None = None) -> list[Record]:
    """Every record of a results folder or a bundle that a table can hold.

    Args:
        source: The folder or the file.
        faults: Takes what is wrong with the other records, each named; without it the first one
            is raised.

    Raises:
        InputError: See ``faults``; or a bundle that cannot be read.
    """
    bad: list[InputError] = []
    if is_bundle(source):
        lines: list[RecordError] = []
        records = unpack(source, lines)
        bad += lines
    else:
        scan = Store(source).scan()
        records = scan.records
        bad += [RecordError(p.reason, where=str(p.path)) for p in scan.problems]
    good, faulty = usable(records, str(source))
    bad += faulty
    if bad and faults is None:
        raise InputError(
            f"{bad[0].what} ({len(bad)} such records)", where=bad[0].where,
            accepted="records as they were written; `prunebench audit` lists the others",
        )  # fmt: skip
    if faults is not None:
        faults += bad
    return good


@collector_paused()
def gather(
    sources: Sequence[Path],
    notes: list[str] | None = None,
    faults: list[InputError] | None = None,
) -> list[Record]:
    """All records of several sources in order of key; see ``unite``.

    Args:
        sources: Results folders and bundles.
        notes: As in ``unite``.
        faults: As in ``load_records``.

    Raises:
        InputError: A damaged record, two records of one key that disagree, or none that is whole.
    """
    bad: list[InputError] = []
    found = unite(
        ((r, str(source)) for source in sources for r in load_records(source, bad)), notes
    )
    if bad and (faults is None or not found):
        raise bad[0]
    if faults is not None:
        faults += bad
    return found


def unite(found: Iterable[tuple[Record, str]], notes: list[str] | None = None) -> list[Record]:
    """Records in order of key; those of one key with equal results count once.

    Args:
        found: Each with the place that it comes from.
        notes: Receives a line for each key that was run twice.

    Raises:
        InputError: Two records of one key whose results differ.
    """
    kept: dict[str, tuple[Record, str]] = {}
    for record, place in found:
        old, where = kept.setdefault(record.key, (record, place))
        if old.digest == record.digest:
            continue
        one = one_run(old, record, f" between {where} and {place}")
        kept[record.key] = (one, where if one is old else place)
        if notes is not None:
            notes.append(
                f"{record.key} was run twice with equal results ({where}, {place}): one run"
            )
    return [kept[key][0] for key in sorted(kept)]


@collector_paused()
def make_board(
    records: Sequence[Record],
    protocol: ProtocolFile | None = None,
    printed: Sequence[Printed] = (),
    align_shown: bool | None = None,
    history: History | None = None,
) -> Board:
    """Builds a board; no records are an error. See ``build`` for the arguments.

    Raises:
        InputError: Nothing to show, or records that do not fit into one table.
    """
    if not records:
        raise InputError("no records", where="leaderboard", accepted="a folder with finished runs")
    return build(records, protocol, printed, align_shown, history)


@collector_paused()
def texts(board: Board, read: Reader = nothing) -> dict[str, str]:
    """Every textual form of a board by file name; the same board gives the same bytes.

    Args:
        board: The board.
        read: Bytes of an artifact of a run, for learning curves in the page. A publication has
            none of them, since it can be rendered again from its records alone.
    """
    forms = {
        "leaderboard.md": render_markdown(board),
        "leaderboard.html": render_html(board, read),
        "leaderboard.json": dumps(board_json(board)),
        "leaderboard.csv": render_csv(board),
        "leaderboard.tex": render_latex(board),
    }
    if board.transfers:
        forms[TRANSFER_FILE] = scored_rows(board.transfers, board.protocol.metric)
    return forms


def target_files(
    board: Board, sources: Sequence[Path], faults: list[InputError] | None = None
) -> dict[str, bytes]:
    """Samples to an accuracy in every form, by file name; empty where no run has a curve.

    Args:
        board: The board.
        sources: Where its records came from; results folders hold the per-epoch tables.
        faults: Takes tables that cannot be used; without it the first one is raised.

    Raises:
        InputError: See ``faults``.
    """
    tables = target_tables(board, artifact_reader(sources), faults)
    return target_texts(board, tables) if tables else {}


def target_texts(board: Board, tables: Sequence[TargetTable]) -> dict[str, bytes]:
    """Every form of tables of samples to an accuracy by file name.

    The texts are of the numbers as the JSON file holds them, from which they are rendered again.
    """
    content = dumps(target_json(board, tables))
    tables = read_target_tables(board, content.encode()) or tables
    found = {
        "md": render_target_markdown(board, tables),
        "html": render_target_html(board, tables),
        "csv": render_target_csv(tables),
        "json": content,
    }
    return {f"{TARGET_STEM}.{form}": text.encode() for form, text in found.items()}


def figure_files(
    board: Board,
    sources: Sequence[Path],
    nemenyi: bool = False,
    only: Collection[str] | None = None,
    forms: Collection[str] = ("svg", "png"),
) -> tuple[dict[str, bytes], list[str]]:
    """Figures of a board by file name, and lines: what could not be made, and what fonts lack.

    Args:
        board: The board.
        sources: Where its records came from; results folders hold artifacts too.
        nemenyi: Whether critical-difference diagrams show Nemenyi's distance.
        only: Names of figures; None for all.
        forms: ``svg``, ``png`` or both.

    Raises:
        InputError: An unknown figure, or matplotlib is not installed.
    """
    from prunebench.leaderboard.figures import Material, gallery

    found = gallery(Material(board, artifact_reader(sources), nemenyi), only, forms)
    lines = [f"no figure {o.stem}: {o.reason}" for o in found.omitted]
    return found.files, lines + [f"figures: {note}" for note in found.notes]


def write_files(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Writes files below a folder, each atomically and none through a link. The folder itself may
    be a link, unless it is a part of a results folder.

    Raises:
        InputError: The folder cannot be written, or a link is in the way.
    """
    above = [folder for folder in list(out.parents)[:2] if (folder / "records").is_dir()]
    own = OwnFolder(above[0] if above else out)
    try:
        for name in files:  # before the first is written
            own.check(out / name)
        for name, content in files.items():
            own.write(out / name, content)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(out)) from None
    return [out / name for name in files]


def write_tables(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """``write_files``, and what an earlier board wrote there and this one has not is removed: the
    tables of transfers and those of samples to an accuracy."""
    paths = write_files(out, files)
    own, heads = OwnFolder(out), ",".join(TRANSFER_HEADS).encode()
    for name, there in own.entries(out):
        if name in files or not S_ISREG(there.st_mode):
            continue
        if name.rpartition(".")[0] == TARGET_STEM:
            own.remove(out / name)
        elif name == TRANSFER_FILE:  # perhaps somebody's own file of that name
            with os.fdopen(own.open(out / name, os.O_RDONLY), "rb") as file:
                ours = file.read(len(heads)) == heads
            if ours:
                own.remove(out / name)
    return paths


def write_board(
    sources: Sequence[Path], out: Path, protocol: ProtocolFile | None = None
) -> Written:
    """Renders every form from records.

    Raises:
        InputError: No records, damaged ones, records that do not fit into one table, or a folder
            that cannot be written.
    """
    faults: list[InputError] = []
    board = make_board(gather(sources, faults=faults), protocol, align_shown=True)
    forms = texts(board, artifact_reader(sources))
    files = {name: text.encode() for name, text in forms.items()}
    files |= target_files(board, sources, faults)
    return Written(files["leaderboard.md"].decode(), write_tables(out, files), faults, board)


def _named(store: Store, record: Record) -> dict[str, bytes]:
    """The artifacts that a record names and that are there, by the digests it gives; whatever
    else lies in the folder, and whatever a link there leads to, stays behind."""
    return {
        name: store.artifact(record.key, name)
        for name in sorted(record.artifacts)
        if store.artifact_path(record.key, name).is_file()
    }


def merge(sources: Sequence[Path], out: Path, notes: list[str] | None = None) -> tuple[int, int]:
    """Copies records, their artifacts and the plans of grids into one results folder.

    Nothing is copied unless everything fits together.

    Args:
        sources: Results folders and bundles.
        out: Results folder that receives what they hold.
        notes: As in ``unite``.

    Returns:
        (records copied, records that were there already).

    Raises:
        InputError: Records of one key whose results differ, damaged ones, or a folder that cannot
            be written.
    """
    target = Store.open(out)
    standing = {record.key: record for record in load_records(out)}
    records = gather([*sources, *([out] if standing else [])], notes)
    copied = 0
    for record in records:
        if record.key in standing:
            continue
        for store in (Store(source) for source in sources if not is_bundle(source)):
            own = store.get(record.key) if (store.artifacts / record.key).is_dir() else None
            if own is not None and own.digest == record.digest:
                write_files(target.artifacts / record.key, _named(store, record))
                break
        write_files(target.records, {f"{record.key}.json": (record.dumps() + "\n").encode()})
        copied += 1
    for source in sources:
        for path in plan_files(source):
            add_plan(target, *read_plan(path))
    return copied, len(standing)
