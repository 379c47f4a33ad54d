"""What the static cells of a board kept, and by which scores, as Parquet files with a card and a
table of them all: ``leaderboard --publish DIR --with-ids`` writes it into ``DIR/ids``."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.bench.runs.export import id_column
from prunebench.bench.runs.rerun import command_of
from prunebench.datasets.source import DataSource, data_mark
from prunebench.errors import InputError
from prunebench.files import OwnFolder
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.publish import IDS_CARD, IDS_FOLDER, IDS_TABLE
from prunebench.leaderboard.render.markdown import escape, pipe
from prunebench.methods.compose import resolve_method
from prunebench.parquet import write_columns
from prunebench.record import Record, canonical, setting_name
from prunebench.registry import DATASETS
from prunebench.untrusted import spreadsheet, unpack_npz
from prunebench.userfiles import read_table

#: Reads an artifact of a run by name; None where it is not available.
Reader = Callable[[Run, str], bytes | None]

_OF_A_RUN = re.compile(r"[0-9a-f]{16}(\.scores)?\.parquet")
_HEAD = ("key", "method", "dataset", "setting", "ratio", "seed", "kept", "file", "sha256",
         "scores", "scores_sha256")  # fmt: skip


@dataclass(frozen=True)
class _Published:
    """One cell: the label of its row, its record, and the number of samples that it kept; names of
    its files, that of the scores empty where the method has none."""

    label: str
    record: Record
    kept: int
    file: str
    scores: str


def ids_files(
    board: Board, read: Reader, scores: bool = True
) -> tuple[dict[str, bytes], list[str]]:
    """Files of the folder ``ids`` by relative name, and lines on what is left out.

    A file ``KEY.parquet`` holds the kept original ids (``id`` int32, ascending) and ``weight``
    float32 where the method gave some; ``KEY.scores.parquet`` a ``score`` float32 for each training
    sample. Cells whose scores are equal, such as those of several ratios, share one file.

    Args:
        board: Its runs of static methods are published, those that its tables show.
        read: Reads their artifacts.
        scores: Whether scores are published as well.

    Raises:
        InputError: Nothing can be published, or a damaged artifact.
    """
    files: dict[str, bytes] = {}
    found: list[_Published] = []
    of_scores: dict[str, str] = {}
    absent = counted = 0
    for label, run in _static_runs(board):
        record = run.record
        data = read(run, "samples.npz")
        if data is None:
            absent += 1
            continue
        if id_column(record) != "id":
            counted += 1
            continue
        arrays = unpack_npz(data, f"{record.key}: samples.npz")
        kept, mine = _kept(record, arrays)
        files[f"{record.key}.parquet"] = kept
        named = ""
        if scores and "score" in arrays:
            content = _scores(record, arrays)
            named = of_scores.setdefault(
                hashlib.sha256(content).hexdigest(), f"{record.key}.scores.parquet"
            )
            files[named] = content
        found.append(_Published(label, record, mine, f"{record.key}.parquet", named))
    notes = [f"{n} static runs are left out: {why}" for n, why in (
        (absent, "their artifacts are in none of these folders"),
        (counted, "an earlier version counted the rows that limit left"),
    ) if n]  # fmt: skip
    if not found:
        raise InputError("no static run whose artifacts are here", where="--with-ids",
                         accepted="a results folder with runs of static methods")  # fmt: skip
    files[IDS_TABLE] = _table(found, files)
    files[IDS_CARD] = _card(found, files, notes).encode()
    return {f"{IDS_FOLDER}/{name}": content for name, content in files.items()}, notes


def published_keys(folder: Path) -> set[str]:
    """Keys of the runs whose ids a publication holds; the empty key where it has no table."""
    table = folder / IDS_FOLDER / IDS_TABLE
    return set(read_table(table, ("key",))["key"]) if table.is_file() else {""}


def remove_earlier(folder: Path, files: Collection[str]) -> None:
    """Removes the files of runs that a publication holds from earlier and that are not among
    ``files``, relative names."""
    own = OwnFolder(folder)
    for name, _ in own.entries(folder / IDS_FOLDER):
        if _OF_A_RUN.fullmatch(name) and f"{IDS_FOLDER}/{name}" not in files:
            own.remove(folder / IDS_FOLDER / name)


def _static_runs(board: Board) -> list[tuple[str, Run]]:
    """Runs of static methods that count, each once with the label of its row, by key."""
    found = {
        run.record.key: (label, run)
        for table in board.tables
        for label, runs in table.runs.items()
        for run in runs.values()
        if run.accuracy is not None and run.record.info.get("kind") == "static"
    }
    return [found[key] for key in sorted(found)]


def _kept(record: Record, arrays: Mapping[str, Any]) -> tuple[bytes, int]:
    """The Parquet file of the kept ids, and their number."""
    ids = _vector(record, arrays, "kept", "iu")
    order = np.argsort(ids, kind="stable")
    columns = {"id": ids[order].astype(np.int32)}
    if "kept_weight" in arrays:
        weights = _vector(record, arrays, "kept_weight", "f", len(ids))
        columns["weight"] = weights[order].astype(np.float32)
    return write_columns(columns, {**_note(record), "key": record.key}), len(ids)


def _scores(record: Record, arrays: Mapping[str, Any]) -> bytes:
    """The Parquet file of the scores; nothing in it depends on the ratio."""
    ids = _vector(record, arrays, "id", "iu")
    values = _vector(record, arrays, "score", "iuf", len(ids))
    columns = {"id": ids.astype(np.int32), "score": values.astype(np.float32)}
    return write_columns(columns, _note(record))


def _note(record: Record) -> dict[str, Any]:
    spec, method = record.spec, record.spec["method"]
    return {
        "data": data_mark(spec["dataset"]),
        "method": [method["name"], method["version"], method.get("params") or {}],
        "setting": setting_name(spec),
        "seed": spec["seed"],
    }


def _vector(
    record: Record, arrays: Mapping[str, Any], name: str, kinds: str, size: int | None = None
) -> NDArray[Any]:
    array = arrays.get(name)
    if (
        not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in kinds
        or size not in (None, len(array))
    ):  # fmt: skip
        raise InputError(f"{name!r} is no vector of its length", where=f"{record.key}: samples.npz",
                         accepted="the artifact as a run wrote it")  # fmt: skip
    return array


def _table(found: Sequence[_Published], files: Mapping[str, bytes]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEAD)
    for one in found:
        spec = one.record.spec
        named = [spreadsheet(one.label), spreadsheet(spec["dataset"]["name"]), setting_name(spec)]
        writer.writerow([
            one.record.key, *named, f"{spec['ratio']:g}", spec["seed"], one.kept,
            one.file, _digest(files[one.file]),
            one.scores, _digest(files[one.scores]) if one.scores else "",
        ])  # fmt: skip
    return text.getvalue().encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _card(found: Sequence[_Published], files: Mapping[str, bytes], notes: Sequence[str]) -> str:
    """The README of the folder."""
    size = sum(len(data) for data in files.values())
    scored = len({one.scores for one in found} - {""})
    lines = [
        "# Kept samples and scores",
        "",
        f"What {len(found)} runs of static methods kept, a file a run"
        + (f", and the scores they chose by ({scored} files; runs with equal scores share one)"
           if scored else "")
        + f"; {size / 1e6:.2f} MB. [{IDS_TABLE}]({IDS_TABLE}) names file, method, setting, ratio "
        "and seed of every run, with the SHA-256 of each file.",
        *notes,
        "",
        "- `KEY.parquet`: `id` (int32, ascending), rows of the data set's whole training split "
        "counted from 0; `weight` (float32) where the method gave weights, which `ids:` does not "
        "read.",
    ]  # fmt: skip
    if scored:
        lines.append("- `KEY.scores.parquet`: `id` and `score` (float32) of every training sample, "
                     "held-out ones left out.")  # fmt: skip
    lines += [
        "- Each file names its data set in the metadata (entry `prunebench`), and `ids:FILE` and "
        "`scores:FILE` refuse another one.",
        "- Dynamic methods choose anew in every epoch and are not here; `prunebench export --what "
        "visits` gives their visits from a results folder.",
        "",
        "## Train one again",
        "",
        *_example(found[0]),
        "## Data",
        "",
        *_data([one.record for one in found]),
        "",
        "## Methods",
        "",
        _methods(found),
    ]
    return "\n".join(lines) + "\n"


def _example(one: _Published) -> list[str]:
    """A command that trains on the ids of a run, where one can be given."""
    spec = one.record.spec
    method = resolve_method("ids")
    again = {"name": method.name, "version": method.version, "params": {}, "identity": ""}
    info = {name: value for name, value in one.record.info.items() if name != "label"}
    changed = {**{k: v for k, v in spec.items() if k != "scoring_recipe"}, "method": again}
    command = command_of(replace(one.record, spec=changed, info=info))
    if command is None:
        return ["In a grid file: `method = [\"ids:KEY.parquet\"]` with the ratio, the setting and "
                "the seed of the run.", ""]  # fmt: skip
    return [
        "With the setting, ratio and seed of a run, `ids:` trains what that run trained, to the "
        "same accuracy on the same machine. The first of the table:",
        "",
        "```",
        command.replace("ids:PATH", f"ids:{one.file}"),
        "```",
        "",
    ]


def _data(records: Sequence[Record]) -> list[str]:
    """A line for each data set and recipe."""
    found: dict[str, Record] = {}
    for record in records:
        name = canonical([record.spec["dataset"], record.spec["recipe"]])
        found.setdefault(name, record)
    lines = []
    for record in found.values():
        data, recipe = record.spec["dataset"], record.spec["recipe"]
        content = data["identity"] or record.info.get("data", "")
        options = {k: v for k, v in (data["params"] or {}).items() if v is not None}
        lines.append(
            f"- {escape(data['name'])} version {data['version']}, content `{content}`, options "
            f"`{json.dumps(options, sort_keys=True)}`, recipe {escape(recipe['name'])} "
            f"v{recipe['version']}; licence: {escape(_licence(data))}"
        )
    return lines


def _licence(dataset: Mapping[str, Any]) -> str:
    """The licence line of a data set, where it can be opened here."""
    source: type[DataSource] = DATASETS.get(dataset["name"]).target
    try:
        return source(**dataset["params"]).licence() or "unknown"
    except (InputError, OSError):
        return "as the origin of the files says"


def _methods(found: Sequence[_Published]) -> str:
    rows = sorted({
        (one.label, m["name"], m["version"], json.dumps(m["params"], sort_keys=True))
        for one in found for m in [one.record.spec["method"]]
    })  # fmt: skip
    body = [[escape(label), escape(name), version, f"`{params}`"]
            for label, name, version, params in rows]  # fmt: skip
    return pipe(["row", "method", "version", "options"], body, text_columns=4)
