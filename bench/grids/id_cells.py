"""Lists of kept samples of others as cells: the runs of a board, trained on these samples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prunebench.bench.grids.method_claims import label_faults
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.rerun import recorded_data
from prunebench.bench.runs.resolve import check_label
from prunebench.bench.spec.run_spec import Named
from prunebench.errors import InputError
from prunebench.files import OwnFolder
from prunebench.leaderboard.board.collect import evidence_only
from prunebench.leaderboard.board.designs import content_of
from prunebench.leaderboard.contributions.folder import shortened
from prunebench.leaderboard.contributions.id_list import IdCell
from prunebench.methods.base import kept_count
from prunebench.methods.compose import resolve_method
from prunebench.record import DATA_NAME, Record, canonical, setting_name

_METHOD, _FOLDER = "ids", "lists"


def list_label(label: str, board: Sequence[Record]) -> list[str]:
    """Why a list cannot be the row of that name."""
    try:
        check_label(label, _METHOD, "the card")
    except InputError as error:
        return [str(error)]
    return label_faults(label, board)


def board_cells(
    cells: Sequence[IdCell], board: Sequence[Record], dataset: str, recipe: str | None = None
) -> tuple[dict[IdCell, Record], list[str]]:
    """For each cell of a list a run of the board that it shares everything with but the samples.

    Args:
        cells: Of the list.
        board: Records of the board.
        dataset: Name of the data set.
        recipe: Recipe, where the board has several; None for the only one.

    Returns:
        The runs, and every reason why there is none.
    """
    slots: dict[tuple[str, float, int], list[Record]] = {}
    known: dict[str, str] = {}
    for record in board:
        spec = record.spec
        if evidence_only(spec) or dataset not in (record.dataset, spec["dataset"]["name"]):
            continue
        if recipe in (None, spec["recipe"]["name"]) and spec["ratio"] > 0:
            known[canonical(content_of(spec))] = str(spec["recipe"]["name"])
            slots.setdefault((setting_name(spec), spec["ratio"], spec["seed"]), []).append(record)
    if not known:
        return {}, [
            f"the board has no runs of data set {dataset}" + f" under {recipe}" * bool(recipe)
        ]
    if len(known) > 1:
        return {}, [f"the board has {len(known)} designs of {dataset}; accepted: one, named by "
                    f"--recipe {' or '.join(sorted(set(known.values())))}"]  # fmt: skip
    found: dict[IdCell, Record] = {}
    reasons: list[str] = []
    for cell in cells:
        own = slots.get((cell.setting, cell.ratio, cell.seed), [])
        fitting = sorted(own, key=lambda r: (r.info.get("kind") != "static", r.key))
        if not fitting:
            reasons.append(f"the board has no cell {cell}")
        elif fitting[0].info.get("kind") != "static" and fitting[0].spec["budget"] == "paper":
            reasons.append(f"{cell}: no static row of the board says how long it trains")
        else:
            found[cell] = fitting[0]
            reasons += _wrong_ids(cell, fitting[0])
    asked = {(s, r, n) for s, r, n in slots if r in {cell.ratio for cell in cells}}
    lacking = sorted(asked - {(cell.setting, cell.ratio, cell.seed) for cell in cells})
    reasons += [f"lacks {setting}, ratio {ratio:g}, seed {seed}, a cell of the board"
                for setting, ratio, seed in lacking]  # fmt: skip
    return found, shortened(reasons)


def _wrong_ids(cell: IdCell, record: Record) -> list[str]:
    """Why a cell's ids cannot be trained as the board's run was: their number, or too large."""
    size = record.info.get("train_size")
    if not isinstance(size, int):
        return []
    reasons, wanted = [], kept_count(size, cell.ratio)
    if len(cell.ids) != wanted:
        reasons.append(f"{cell}: {len(cell.ids)} ids; accepted: {wanted}, as the ratio keeps")
    validation = record.spec.get("validation") or {}
    held = [record.info.get("reference_size"), validation.get("size")]
    rows = record.info.get("original_train_size") or size + sum(n or 0 for n in held)
    if cell.ids and cell.ids[-1] >= rows:
        reasons.append(f"{cell}: id {cell.ids[-1]}; accepted: below {rows}, the training split")
    return reasons


def id_cells(
    found: Mapping[IdCell, Record], label: str, data: Mapping[str, Any], folder: Path
) -> list[Cell]:
    """Cells that train on the listed samples; their files are written below a results folder.

    Args:
        found: Of ``board_cells``.
        label: Name of the row.
        data: Options that open the data set here.
        folder: The results folder.

    Raises:
        InputError: Other data than the board's, a name that a method has, or a file in the way.
    """
    info = resolve_method(_METHOD)
    check_label(label, _METHOD, "the card")
    own = OwnFolder(folder)
    cells = []
    for wanted, record in found.items():
        spec, opened = recorded_data(record, data)
        content = wanted.csv
        digest = hashlib.sha256(content).hexdigest()
        path = folder / _FOLDER / f"{digest[:16]}.csv"
        own.write(path, content)
        run = spec.replace(
            method=Named(name=info.name, version=info.version, identity=digest),
            scoring_recipe=None,
            proxy="shared",
            tuned=None,
        )
        argument = str(info.target.argument)
        title = str(record.info.get(DATA_NAME, ""))
        cells.append(Cell(run, opened, {argument: str(path)}, title=title, label=label))
    if not cells:
        raise InputError("no cell to train", where="the list of ids")
    return cells
