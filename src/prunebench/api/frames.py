"""A board as one data frame: a row per row of a table and setting."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.render.csv_table import csv_values

#: What the CSV file writes as 0 and 1; missing where it was not tested or not measured.
_FLAGS = ("complete", "best", "tied", "off_ratio", "reference_leaks", "lossless", "time_unsteady")
_COUNTS = ("rank", "n", "difference_n", "diverged", "present", "expected")
_TEXTS = ("dataset", "method", "kind", "group", "noise", "mark", "clean_labels", "missing",
          "metric", "ran_by")  # fmt: skip
#: Texts of the CSV file that name several things.
_LISTS: dict[str, type] = {"seeds": int, "keys": str}


def board_frame(board: Board) -> pd.DataFrame:
    """The columns of the CSV file with their own types: full precision, flags as booleans, counts
    as integers, ``seeds`` and ``keys`` as tuples, names as they are, and ``metric`` always.

    Args:
        board: Tables, tests and rows.

    Returns:
        [table rows x settings, columns]; a value that does not exist is missing.
    """
    columns, lines = csv_values(board)
    found = {name: [line[place] for line in lines] for place, name in enumerate(columns)}
    found.setdefault("metric", [board.protocol.metric] * len(lines))
    return pd.DataFrame({name: _typed(name, values) for name, values in found.items()})


def _typed(name: str, values: list[Any]) -> Any:
    if name in _LISTS:
        return pd.Series([tuple(map(_LISTS[name], v.split())) for v in values], dtype=object)
    if name in _TEXTS:
        return pd.Series(values, dtype=object)
    if name in _FLAGS:
        return pd.array([None if v in ("", None) else bool(v) for v in values], dtype="boolean")
    numbers = pd.to_numeric(pd.Series(values, dtype=object))
    return numbers.astype("Int64" if name in _COUNTS else "float64")
