"""What a grid or run would mix into a folder of other runs, said before anything trains."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench.bench.results.planned import planned_record, readable_cells
from prunebench.bench.results.store import Store
from prunebench.leaderboard.board.designs import base_of, order_of, spec_designs
from prunebench.leaderboard.filters import leaves, shown
from prunebench.record import Record, RecordError

if TYPE_CHECKING:  # it imports torch; readers of records must not wait for it
    from prunebench.bench.runs.cell import Cell

#: Fields of a difference that are said in one line.
_SAID = 3


def of_cells(cells: Iterable[Cell]) -> list[Record]:
    """Cells as planned ones."""
    return [
        planned_record(cell.spec.content, cell.label, cell.spec.key, cell.title) for cell in cells
    ]


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
    held = list(_specs_of(store, wanted))
    specs = [record.spec for record in wanted]
    asked = spec_designs(specs, spec_designs(held))
    there = spec_designs(held, asked)
    new = {name: content for name, content in asked.items() if name not in there}
    for content in new.values():
        same = [c for c in there.values() if base_of(c) == base_of(content)]
        foreign = [c for name, c in there.items() if name not in asked and c in same]
        if same:
            return Mixture(*_lines(store, content, (foreign or same)[0], verb), bool(foreign))
    return None


def _specs_of(store: Store, wanted: Sequence[Record]) -> Iterator[Mapping[str, Any]]:
    """Specifications of what a folder holds or was asked for; records that cannot be read are left
    out: other verbs report them."""
    if not store.records.is_dir():
        return
    known = {record.key: record for record in (*readable_cells(store.root), *wanted)}
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
