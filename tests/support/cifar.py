"""Tiny CIFAR trees that pass for the published ones, and runs on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.datasets.source import DataSource, RawData
from prunebench.datasets.sources.cifar import cifar, human
from prunebench.datasets.sources.cifar.tables import CIFAR10
from prunebench.errors import InputError
from prunebench.record import Record
from prunebench.registry import DATASETS
from support.published import Cifar, human_file

LAYOUTS = ("python", "binary", "packed")


def publish(tree: Cifar, monkeypatch: pytest.MonkeyPatch, python: Path | None = None) -> None:
    """Makes a tiny tree the published one."""
    name = "CIFAR10" if tree.base is CIFAR10 else "CIFAR100"
    monkeypatch.setattr(cifar, name, tree.family(python))


def make(
    monkeypatch: pytest.MonkeyPatch, root: Path, layout: str, classes: int = 10, size: int = 10
) -> Cifar:
    tree = Cifar(classes, size)
    folder = getattr(tree, layout)(root)
    publish(tree, monkeypatch, folder if layout == "python" else None)
    return tree


def source(name: str = "cifar10", **options: Any) -> DataSource:
    made: DataSource = DATASETS.get(name).target(**options)
    return made


def load(name: str = "cifar10", **options: Any) -> RawData:
    return source(name, **options).load()


def refusal(name: str = "cifar10", **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_labels(
    monkeypatch: pytest.MonkeyPatch, path: Path, tree: Cifar, clean: Any = None
) -> dict[str, np.ndarray]:
    """Writes a human label file beside a tree and makes it the published one."""
    dataset = "cifar10n" if tree.base is CIFAR10 else "cifar100n"
    classes, n = len(tree.base.class_names), len(tree.train_y)
    rng = np.random.default_rng(7)
    arrays = {
        name: tree.train_y if name == human.CLEAN
        else np.where(rng.random(n) < 0.4, rng.integers(0, classes, n), tree.train_y)
        for name in human.LABEL_FILES[dataset].arrays
    }  # fmt: skip
    if clean is not None:
        arrays[human.CLEAN] = clean
    monkeypatch.setitem(human.LABEL_FILES, dataset, human_file(path, arrays, dataset))
    return arrays


def run(tmp_path: Path, **fields: Any) -> Record:
    fields.setdefault("recipe_params", {"epochs": 2, "batch_size": 16})
    cell = resolve_cell(recipe="digits", **fields)
    store = Store.open(tmp_path / "results")
    return run_cell(cell, store)[0]
