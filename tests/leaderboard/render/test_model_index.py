"""The model-index block: valid YAML front matter with every cell and interval."""

from __future__ import annotations

import json

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.render.model_index import render_model_index
from support.records import grid


def test_every_cell_has_its_value_and_interval_and_nothing_is_verified() -> None:
    board = build(grid())
    text = render_model_index(board)
    assert text.startswith("---\nmodel-index: ")
    assert text.endswith("\n---\n")
    entries = json.loads(text.removeprefix("---\nmodel-index: ").removesuffix("\n---\n"))
    rows = {row.label: row for table in board.tables for row in table.rows}
    assert len(entries) == len(rows)
    for entry in entries:
        row = rows[entry["name"].partition(" (")[0]]
        for cell, result in zip(row.cells, entry["results"], strict=True):
            assert cell is not None
            accuracy, interval = result["metrics"]
            assert accuracy["value"] == round(cell.accuracy.mean, 4)
            assert interval["value"] == round(cell.accuracy.half_width or 0, 4)
            assert not accuracy["verified"]
            assert result["dataset"]["revision"] == "1"
