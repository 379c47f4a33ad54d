"""Numbers that official implementations produced, as tests read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "data" / "reference"


class Reference(dict[str, NDArray[np.generic]]):
    """One file of arrays; ``t`` gives a tensor.

    Args:
        name: Without its ending.
        folder: Below ``tests/data/reference``.
    """

    def __init__(self, name: str, folder: str = "static") -> None:
        with np.load(FOLDER / folder / f"{name}.npz", allow_pickle=False) as file:
            super().__init__({key: file[key] for key in file.files})

    def t(self, key: str) -> Tensor:
        return torch.from_numpy(self[key].copy())

    def prefix(self, key: str) -> int:
        """Picks of an order that hang on no tie."""
        return int(self[f"{key}_stable"])
