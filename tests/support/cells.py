"""Small real runs: handwritten digits, a few epochs."""

from typing import Any

import torch

from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.resolve import resolve_cell

torch.set_num_threads(1)


def small_cell(method: str = "full", **fields: Any) -> Cell:
    """A cell on digits that trains for a second."""
    recipe = {"epochs": 6, **fields.pop("recipe_params", {})}
    defaults = {"dataset": "digits", "noise": "symmetric:0.4", "ratio": 0.5, "seed": 0}
    if method in ("full", "full+reference"):
        defaults["ratio"] = 0.0
    return resolve_cell(method=method, recipe_params=recipe, **{**defaults, **fields})
