"""The cells that grids asked for, kept in the results folder, so that tables show the gaps."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.leaderboard.board.collect import PLANNED
from prunebench.record import DATA_NAME, Record, canonical, content_key
from prunebench.untrusted import PLENTY, TIMES, gunzip

FOLDER = "planned"
_SUFFIX = ".jsonl.gz"
#: A plan of the largest grid packs to a few MiB.
_MOST_BYTES = 1 << 25
#: Cells that one grid may ask for.
MOST_CELLS = 200_000


def planned_record(
    spec: Mapping[str, Any], label: str = "", key: str = "", title: str = ""
) -> Record:
    """A cell that was asked for, in the form in which tables read runs."""
    info = {name: text for name, text in (("label", label), (DATA_NAME, title)) if text}
    return Record(key or content_key(dict(spec)), dict(spec), PLANNED, info=info)


def add_plan(store: Store, grid: str, records: Iterable[Record]) -> None:
    """Adds a grid's cells to the plans of the folder. Existing plans stay; damaged ones are set
    aside.

    Args:
        store: The results folder.
        grid: Name of the grid.
        records: Its cells, see ``planned_record``.

    Raises:
        FolderError: It cannot be written.
    """
    data = _packed(grid, records)
    path = store.root / FOLDER / f"{hashlib.sha256(data).hexdigest()[:16]}{_SUFFIX}"
    for other in plan_files(store.root):
        try:
            read_plan(other)
        except InputError as error:
            store.set_aside(other, str(error))
    if not path.is_file():
        store.write(path, data)


def _packed(grid: str, records: Iterable[Record]) -> bytes:
    """A line for all seeds of a setting; the same cells give the same bytes."""
    seeds: dict[str, set[int]] = {}
    for record in records:
        label = record.info.get("label", "")
        title = record.info.get(DATA_NAME)
        named = {"title": title} if title else {}
        shared = {"grid": grid, "label": label, "spec": {**record.spec, "seed": None}, **named}
        seeds.setdefault(canonical(shared), set()).add(record.spec["seed"])
    lines = [
        canonical({**json.loads(shared), "seeds": sorted(own)}) + "\n"
        for shared, own in sorted(seeds.items())
    ]
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0, filename="") as file:
        file.write("".join(lines).encode())
    return out.getvalue()


def plan_files(root: Path) -> list[Path]:
    """The plans of a results folder."""
    folder = root / FOLDER
    return sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []


def read_plan(path: Path) -> tuple[str, list[Record]]:
    """Name of the grid and cells of one plan.

    Raises:
        InputError: It is damaged or no plan.
    """
    where, found, grid = str(path), list[Record](), ""
    try:
        data = read_at_most(path, _MOST_BYTES)
        if len(data) > _MOST_BYTES:
            raise InputError("is too large for a plan", where=where)
        for line in gunzip(io.BytesIO(data), where, PLENTY + TIMES * len(data)).splitlines():
            content = json.loads(line)
            grid, spec, seeds = content["grid"], content["spec"], content["seeds"]
            label, title = content["label"], content.get("title", "")
            texts = all(isinstance(text, str) for text in (grid, label, title))
            if not (texts and isinstance(spec, dict) and len(seeds) < 1 << 20):
                raise TypeError
            if len(found) + len(seeds) > MOST_CELLS:
                raise InputError(f"names more than {MOST_CELLS} cells", where=where)
            found += [planned_record({**spec, "seed": seed}, label, "", title) for seed in seeds]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError("is damaged, or no plan of a grid", where=where,
                         accepted="plans as `prunebench grid` writes them; the same grid makes "
                         "it anew once it is moved away") from None  # fmt: skip
    return grid, found


def planned_cells(root: Path) -> list[Record]:
    """Every cell that the plans of a results folder name, in order of key.

    Raises:
        InputError: A plan is damaged.
    """
    found = {r.key: r for path in plan_files(root) for r in read_plan(path)[1]}
    return [found[key] for key in sorted(found)]


def readable_cells(root: Path) -> Iterator[Record]:
    """Planned cells; damaged plans are left out."""
    for path in plan_files(root):
        with suppress(InputError):
            yield from read_plan(path)[1]


def drop_planned(store: Store, keys: set[str]) -> None:
    """Takes cells out of the plans; plans that held some are moved to ``quarantine/``.

    Raises:
        InputError: A plan is damaged.
        FolderError: It cannot be written.
    """
    for path in plan_files(store.root):
        grid, records = read_plan(path)
        left = [record for record in records if record.key not in keys]
        if len(left) == len(records):
            continue
        if left:
            add_plan(store, grid, left)
        store.set_aside(path, "cells were dropped")
