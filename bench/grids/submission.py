"""From results, or a list of kept samples, to a submission and the reasons that refuse it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench import __version__
from prunebench.bench.grids.id_cells import board_cells, list_label
from prunebench.bench.grids.method_claims import claim_faults, posing_faults
from prunebench.bench.reports.boards import load_records, unite
from prunebench.bench.reports.installed import edited_faults, file_digests, version_faults
from prunebench.bench.results.planned import planned_cells
from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.leaderboard.board.collect import FULL, WITH_REFERENCE, collect
from prunebench.leaderboard.bundle import pack
from prunebench.leaderboard.contributed import is_line
from prunebench.leaderboard.contributions.card import (
    IDS,
    RECORDS,
    Card,
    MethodCard,
    hardware,
    last_run,
    method_cards,
)
from prunebench.leaderboard.contributions.checks import count_faults, merged, own_faults
from prunebench.leaderboard.contributions.folder import FILES
from prunebench.leaderboard.contributions.id_list import IdCell, read_id_list
from prunebench.leaderboard.filters import Filters
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.problems import all_problems
from prunebench.record import Record


@dataclass
class Made:
    """A submission in the making, and what refuses it."""

    card: Card | None
    data: bytes
    records: Sequence[Record] = ()
    cells: Sequence[IdCell] = ()
    reasons: Sequence[str] = ()
    notes: Sequence[str] = ()


def of_records(
    folders: Sequence[Path], words: Mapping[str, Any], given: Filters, plugins: Sequence[str] = ()
) -> Made:
    """A submission of the runs of some folders that filters keep.

    Args:
        folders: Results folders and packed records.
        words: Entries of the card that its maker gives.
        given: The filters.
        plugins: Plug-in files that are loaded.

    Raises:
        InputError: Two results of one key, or a filter that no record fits.
    """
    faults: list[InputError] = []
    found = [(r, str(folder)) for folder in folders for r in load_records(folder, faults)]
    reasons = [str(fault) for fault in faults]
    protocol = ProtocolFile().narrowed(given)
    records = [run.record for run in collect(unite(found), protocol).runs] if found else []
    if not records:
        none = f"{folders[0]}: no runs that are rows of a board"
        return Made(None, b"", reasons=reasons or [none])
    planned = [cell for folder in folders if folder.is_dir() for cell in planned_cells(folder)
               if protocol.passes(cell, cell.spec["method"]["name"] in (FULL, WITH_REFERENCE))
               ]  # fmt: skip
    own, notes = own_faults(records, planned)
    reasons += [*own, *count_faults(records), *version_faults(records), *claim_faults(records),
                *edited_faults(records)]  # fmt: skip
    data = pack(records)
    card, wrong = _card({
        **words,
        "ran": last_run(records, words["date"]),
        "hardware": hardware(records),
        "runs": len(records),
        "methods": method_cards(records, file_digests(plugins)),
        "files": {RECORDS: hashlib.sha256(data).hexdigest()},
    })  # fmt: skip
    return Made(card, data, records, reasons=[*reasons, *wrong], notes=notes)


def of_list(path: Path, words: Mapping[str, Any], given: Filters) -> Made:
    """A submission of a list of kept samples; filters name its row and its data set.

    Raises:
        InputError: They do not, or the file cannot be read.
    """
    names, datasets = given.method or (), given.dataset or ()
    if len(names) != 1 or len(datasets) != 1 or not is_line(names[0]):
        raise InputError("a list of ids says neither whose it is nor of which data set",
                         where="submit", accepted="--method NAME, of the row, and --dataset NAME"
                         )  # fmt: skip
    try:
        data = read_at_most(path, FILES[IDS])
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None
    if len(data) > FILES[IDS]:
        raise InputError("the file is too large", where=str(path),
                         accepted=f"up to {FILES[IDS] >> 20} MiB")  # fmt: skip
    cells, reasons = read_id_list(data, str(path))
    card, wrong = _card({
        **words,
        "ran": words["date"],
        "dataset": datasets[0],
        "runs": max(1, len(cells)),
        "methods": [MethodCard(name=names[0], version="1")],
        "files": {IDS: hashlib.sha256(data).hexdigest()},
    })  # fmt: skip
    return Made(card, data, cells=cells, reasons=[*reasons, *wrong])


def _card(values: dict[str, Any]) -> tuple[Card | None, list[str]]:
    try:
        return Card.model_validate({**values, "prunebench": __version__}), []
    except ValidationError as error:
        return None, [str(fault) for fault in all_problems(error, "submit", {"": Card})]


def beside(made: Made, board: Path) -> list[str]:
    """What a board could not take of a submission that has no faults of its own.

    Raises:
        InputError: The board's records are damaged.
    """
    assert made.card is not None
    records = load_records(board / RECORDS)
    if made.card.is_list:
        label = list_label(made.card.methods[0].name, records)
        return [*label, *board_cells(made.cells, records, made.card.dataset)[1]]
    return [*posing_faults(made.records, records),
            *merged(records, made.records, supersede=True).reasons]  # fmt: skip
