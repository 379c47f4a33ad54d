"""Small coloured images under given names, a colour per class, and cells on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.datasets.source import DataSource
from prunebench.errors import InputError
from prunebench.record import Record

#: Sizes small enough for a test.
SMALL = {"size": 12, "crop": 8, "workers": 0}


def write_images(root: Path, names: Sequence[str], labels: Sequence[int], seed: int = 0) -> None:
    """Writes JPEG or PNG images of several proportions below a folder."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(1).integers(30, 226, (1000, 3))
    for name, label in zip(names, labels, strict=True):
        height, width = rng.integers(14, 24, 2)
        pixels = colours[label] + rng.normal(0, 12, (height, width, 3))
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_pairs(path: Path, names: Sequence[str], labels: Sequence[int]) -> None:
    """Writes ``path label`` lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{n} {c}\n" for n, c in zip(names, labels, strict=True)))


def change_line(path: Path, number: int, text: str | None) -> None:
    """Replaces a line, or takes it out."""
    lines = path.read_text().splitlines()
    lines[number - 1 : number] = [] if text is None else [text]
    path.write_text("".join(f"{line}\n" for line in lines))


def refused(source: DataSource, *parts: str) -> None:
    """Checks that ``check`` refuses with one line that holds all the parts."""
    with pytest.raises(InputError) as caught:
        source.check()
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def run_small(folder: Path, dataset: str, *, params: dict[str, Any], **fields: Any) -> Record:
    """Two epochs of a tiny network to the record."""
    cell = resolve_cell(
        dataset=dataset,
        dataset_params={**SMALL, **params},
        recipe="packed",
        recipe_params={"epochs": 2, "batch_size": 8, "lr": 0.1,
                       "model_params": {"width": 8, "depth": 2}},
        **fields,
    )  # fmt: skip
    return run_cell(cell, Store.open(folder))[0]
