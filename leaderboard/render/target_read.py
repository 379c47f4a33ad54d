"""Samples to an accuracy from the JSON values of a publication, which may come from anybody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.board.time_ratio import machine_of
from prunebench.leaderboard.learning_curves.to_target import TargetTable, ToTarget
from prunebench.leaderboard.render.target_text import SCHEMA
from prunebench.leaderboard.stats import MedianInterval

_ENTRY = TypeAdapter(ToTarget)
_LONGEST_REASON = 200


def read_target_tables(board: Board, data: bytes) -> tuple[TargetTable, ...]:
    """The tables that ``target_json`` wrote.

    Args:
        board: The board that they are to stand beside.
        data: The file.

    Returns:
        Empty where they are of other records or another protocol, or name rows, settings or
        machines that the board does not have.
    """
    try:
        content = json.loads(data)
        same = (content["schema"], content["digest"], content["protocol"]["digest"]) == (
            SCHEMA, board.digest, board.protocol.digest,
        )  # fmt: skip
        return tuple(_tables(board, content["tables"])) if same else ()
    except (ValueError, ValidationError, RecursionError, KeyError, TypeError, AttributeError):
        return ()


def _tables(board: Board, entries: list[Any]) -> Iterator[TargetTable]:
    """Tables are in the order of the board's.

    Raises:
        ValueError: One is not of the board; other errors for values of other types.
    """
    tables = iter(board.tables)
    for entry in entries:
        named = (entry["dataset"], entry["ratio"], entry["noises"])
        table = next((t for t in tables if (t.dataset, t.ratio, list(t.noises)) == named), None)
        if table is None or entry["targets"] != list(board.protocol.target):
            raise ValueError("not of this board")
        found = []
        for value in entry["rows"]:
            lacking = [(item["reason"], item["count"]) for item in value["missing"]]
            # Files of earlier versions say "1 threads".
            machine = re.sub(", 1 threads$", ", 1 thread", value["machine"])
            one = _ENTRY.validate_python({**value, "lacking": lacking, "machine": machine})
            spreads: dict[str, Any] = {
                name: _as_written(spread, value[name]) for name, spread in vars(one).items()
                if isinstance(spread, MedianInterval)
            }  # fmt: skip
            found.append(replace(one, **spreads))
        kinds = {row.label: row.kind for row in (*table.rows, *table.incomplete)}
        machines = {machine_of(run) for own in table.runs.values() for run in own.values()} | {""}
        wanted = [(target, label, kind, noise) for target in board.protocol.target
                  for label, kind in kinds.items() for noise in table.noises]  # fmt: skip
        if [(one.target, one.label, one.kind, one.noise) for one in found] != wanted:
            raise ValueError("rows of another table")
        reasons = [reason for one in found for reason, _ in one.lacking]
        if not {one.machine for one in found} <= machines or not any(one.n for one in found):
            raise ValueError("measured elsewhere")
        if not all(reason.isprintable() and len(reason) <= _LONGEST_REASON for reason in reasons):
            raise ValueError("no reason")
        yield TargetTable(table, tuple(board.protocol.target), tuple(found))


def _as_written(spread: MedianInterval, given: dict[str, Any]) -> MedianInterval:
    """With whole numbers where the file has whole numbers: texts of the two differ."""
    whole = {name: given[name] for name in ("median", "low", "high") if type(given[name]) is int}
    return replace(spread, **whole)
