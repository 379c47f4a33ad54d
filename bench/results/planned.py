"""What grids asked for, kept in the results folder: so that gaps are seen, and mixtures before
anything trains."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shlex
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.leaderboard.board.collect import PLANNED
from prunebench.leaderboard.board.designs import base_of, order_of, spec_designs
from prunebench.leaderboard.filters import leaves, shown
from prunebench.record import Record, RecordError, canonical, content_key
from prunebench.untrusted import PLENTY, TIMES, gunzip

if TYPE_CHECKING:  # it imports torch; readers of records must not wait for it
    from prunebench.bench.runs.resolve import Cell

FOLDER = "planned"
_SUFFIX = ".jsonl.gz"
#: A plan of the largest grid packs to a few MiB.
_MOST_BYTES = 1 << 25
#: Cells that one grid may ask for.
MOST_CELLS = 200_000
#: Fields of a difference that are said in one line.
_SAID = 3


def planned_record(spec: Mapping[str, Any], label: str = "", key: str = "") -> Record:
    """A cell that was asked for, in the form in which tables read runs."""
    info = {"label": label} if label else {}
    return Record(key or content_key(dict(spec)), dict(spec), PLANNED, info=info)


def of_cells(cells: Iterable[Cell]) -> list[Record]:
    """Cells as planned ones."""
    return [planned_record(cell.spec.content, cell.label, cell.spec.key) for cell in cells]


def note_plan(store: Store, grid: str, records: Iterable[Record]) -> None:
    """Adds a grid's cells to what the folder expects; a plan that is there already stays, and
    damaged ones are set aside.

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
        kin = {"grid": grid, "label": label, "spec": {**record.spec, "seed": None}}
        seeds.setdefault(canonical(kin), set()).add(record.spec["seed"])
    lines = [
        canonical({**json.loads(kin), "seeds": sorted(own)}) + "\n"
        for kin, own in sorted(seeds.items())
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
            label = content["label"]
            texts = isinstance(grid, str) and isinstance(label, str)
            if not (texts and isinstance(spec, dict) and len(seeds) < 1 << 20):
                raise TypeError
            if len(found) + len(seeds) > MOST_CELLS:
                raise InputError(f"names more than {MOST_CELLS} cells", where=where)
            found += [planned_record({**spec, "seed": seed}, label) for seed in seeds]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError("is damaged, or no plan of a grid", where=where,
                         accepted="plans as `prunebench grid` writes them; the same grid makes "
                         "it anew once it is moved away") from None  # fmt: skip
    return grid, found


def planned(root: Path) -> list[Record]:
    """Every cell that grids asked of a results folder, in order of key.

    Raises:
        InputError: A plan is damaged.
    """
    found = {r.key: r for path in plan_files(root) for r in read_plan(path)[1]}
    return [found[key] for key in sorted(found)]


def _sound(root: Path) -> Iterator[Record]:
    """Planned cells; damaged plans are passed over."""
    for path in plan_files(root):
        with suppress(InputError):
            yield from read_plan(path)[1]


def forget(store: Store, keys: set[str]) -> None:
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
            note_plan(store, grid, left)
        store.set_aside(path, "cells were dropped")


@dataclass(frozen=True)
class Mixture:
    """A grid beside other runs of its data set.

    Attributes:
        line: What differs.
        drop: Command that moves the others aside.
        foreign: Whether the folder holds what the grid lacks: then one of both is likely a
            mistake, while a grid that names all of it says that both are meant.
    """

    line: str
    drop: str
    foreign: bool


def mixture(store: Store, wanted: Sequence[Record], verb: str = "grid") -> Mixture | None:
    """What a grid or run would add to a folder beside other runs of the same data set.

    Args:
        store: The results folder; it need not exist.
        wanted: Its cells.
        verb: What brings them, for the line.

    Returns:
        None where the folder holds nothing, or nothing else, of these data sets and criteria.
    """
    standing = list(_standing(store, wanted))
    specs = [record.spec for record in wanted]
    asked = spec_designs(specs, spec_designs(standing))
    there = spec_designs(standing, asked)
    new = {name: content for name, content in asked.items() if name not in there}
    for content in new.values():
        same = [c for c in there.values() if base_of(c) == base_of(content)]
        foreign = [c for name, c in there.items() if name not in asked and c in same]
        if same:
            return Mixture(*_lines(store, content, (foreign or same)[0], verb), bool(foreign))
    return None


def _standing(store: Store, wanted: Sequence[Record]) -> Iterator[Mapping[str, Any]]:
    """Specifications of what a folder holds or was asked for; records that cannot be read are left
    out: other verbs report them."""
    if not store.records.is_dir():
        return
    known = {record.key: record for record in (*_sound(store.root), *wanted)}
    for key in sorted(store.keys()):
        try:
            record = known.get(key) or store.get(key)
        except RecordError:
            continue
        if record is not None:
            yield record.spec


def _lines(
    store: Store, new: Mapping[str, Any], old: Mapping[str, Any], verb: str
) -> tuple[str, str]:
    ours, theirs = dict(leaves(new)), dict(leaves(old))
    differing = [path for path in sorted(ours.keys() | theirs.keys(), key=order_of)
                 if ours.get(path) != theirs.get(path)]  # fmt: skip
    said = [f"{path} {shown(ours.get(path))[:40]} (there: {shown(theirs.get(path))[:40]})"
            for path in differing[:_SAID]]  # fmt: skip
    first = f"{differing[0]}={shown(theirs.get(differing[0]))}"
    more = f" and {len(differing) - _SAID} more fields" if len(differing) > _SAID else ""
    return (
        f"{store.root} holds other runs of {base_of(new)}: this {verb} has {', '.join(said)}{more}",
        f"prunebench drop {shlex.quote(str(store.root))} --where {shlex.quote(first)}",
    )
