"""Published and recomputed numbers that the statistics must reproduce."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "reference" / "stats"
METHODS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def lines(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open() as file:
        return list(csv.DictReader(file))


def demsar(prefix: str = "") -> list[list[float]]:
    """AUC of 14 data sets by 4 classifiers; ``rank_`` gives the ranks the paper printed."""
    return [[float(line[prefix + m]) for m in METHODS] for line in lines("demsar2006_table6.csv")]
