"""Export of a board's rows as Hugging Face ``model-index`` metadata."""

from __future__ import annotations

import json
from typing import Any

from prunebench.leaderboard.board.model import Board, Row, Table, TableCell
from prunebench.leaderboard.headline import HEADLINES, MetricName, words_of


def model_index(board: Board) -> dict[str, Any]:
    """One entry per row of each table, as the ``model-index`` block of a model card.

    Nothing is marked verified. The interval, for which the format has no place, is a metric of
    its own.
    """
    return {
        "model-index": [
            {"name": f"{row.label} ({table.dataset}, ratio {table.ratio:g})",
             "results": [_result(table, noise, cell, board.protocol.metric) for noise, cell in
                         zip(table.noises, row.cells, strict=True) if cell is not None]}
            for table in board.tables
            for row in (*table.rows, *table.incomplete)
            if _shown(row)
        ]
    }  # fmt: skip


def render_model_index(board: Board) -> str:
    """The block as YAML front matter; JSON values are YAML values."""
    content = json.dumps(model_index(board)["model-index"], indent=1, ensure_ascii=False)
    return f"---\nmodel-index: {content}\n---\n"


def _shown(row: Row) -> bool:
    return any(cell is not None for cell in row.cells)


def _result(table: Table, noise: str, cell: TableCell, metric: MetricName) -> dict[str, Any]:
    metrics: list[dict[str, Any]] = [
        {"type": HEADLINES[metric].kind, "name": f"{words_of(metric)} at the last epoch, percent, "
         f"mean over {cell.accuracy.n} seeds", "value": round(cell.accuracy.mean, 4),
         "verified": False},
    ]  # fmt: skip
    if cell.accuracy.half_width is not None:
        metrics.append({
            "type": "confidence_interval", "name": "half-width of the 95 % t interval over seeds",
            "value": round(cell.accuracy.half_width, 4), "verified": False,
        })  # fmt: skip
    return {
        "task": {"type": "image-classification", "name": "Training on pruned, noisy data"},
        "dataset": {
            "type": table.shared.board,
            "name": table.dataset,
            "config": noise,
            "split": "test",
            "revision": table.shared.dataset_version,
        },
        "metrics": metrics,
    }
