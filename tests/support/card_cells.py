"""Whole cells on the pretended card, captured and launched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prunebench.bench.inputs import view
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.capture import graph as captures
from prunebench.bench.train.capture import half_way, pool
from prunebench.bench.train.self_supervised import Encoder
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.compose import resolve_method
from prunebench.record import Record
from support.pretended_card import Card, pretended_card

DATA = {"n": 100, "test": 30, "classes": 3, "superclasses": 1, "size": 8}
RECIPE = {"epochs": 3, "batch_size": 16, "model": "cnn", "model_params": {"width": 4, "depth": 2},
          "eval_every": 2, "augment": "crop_flip"}  # fmt: skip
RESNET = {"model": "resnet18", "model_params": {"width": 4}, "epochs": 2}
#: Where the host may wait within a step: streamed images, for the order of an epoch.
ALLOWED = "inputs/streaming.py"


@contextmanager
def fresh_card() -> Iterator[Card]:
    """The pretended card of a process that has not used it; waits within steps are noted."""
    _forget()
    with (
        patch.object(half_way._State, "noted", False),
        pretended_card() as card,
        _watched(card, Trainer, "_launch_step"),
        _watched(card, Encoder, "train"),
        _watched(card, captures.CudaCapture, "replay"),
    ):
        try:
            yield card
        finally:
            _forget()


def _forget() -> None:
    """Drops what a process keeps on its card."""
    view._shared.clear()
    captures._side.clear()
    pool.use(pool.CapturedStepPool())


def _watched(card: Card, owner: type, name: str) -> Any:
    inner = getattr(owner, name)

    def step(*args: Any, **kwargs: Any) -> Any:
        with card.during("step"):
            return inner(*args, **kwargs)

    return patch.object(owner, name, step)


def findings(card: Card) -> list[str]:
    """What must not happen."""
    return [line for line in card.findings() if not ("wait in" in line and ALLOWED in line)]


def trained(
    folder: Path, graph: str, execution: dict[str, Any] | None = None,
    losses: frozenset[int] | None = None, **fields: Any,
) -> tuple[Record, dict[str, bytes], Card]:  # fmt: skip
    """A cell trained on the card, with a checkpoint after every epoch.

    Args:
        folder: Of the results.
        graph: How steps are run; see ``ExecutionOptions``.
        execution: More options.
        losses: Epochs of which losses are recorded.
        fields: Of the cell.

    Returns:
        Its record, its artifacts by name, and the card.
    """
    cell, store = replace(cell_of(**fields), losses=losses), Store.open(folder)
    options = ExecutionOptions(devices=("cuda",), checkpoint_s=0.0, graph=graph,
                               **(execution or {}))  # fmt: skip
    with fresh_card() as card:
        record, _ = run_cell(cell, store, options, WorkerContext(device="cuda"))
    return record, files_of(store, record.key), card


def cell_of(**fields: Any) -> Cell:
    """A cell that trains in a tenth of a second."""
    recipe = {**RECIPE, **fields.pop("recipe_params", {})}
    given = {"dataset": "synthetic", "dataset_params": DATA, "noise": "symmetric:0.3", "seed": 0,
             "ratio": 0.4, **fields}  # fmt: skip
    if resolve_method(given.get("method", "full")).ratios == "zero":
        given["ratio"] = 0.0
    return resolve_cell(recipe_params=recipe, **given)


def files_of(store: Store, key: str) -> dict[str, bytes]:
    """The artifacts of a cell by name."""
    return {path.name: path.read_bytes() for path in sorted((store.artifacts / key).iterdir())}


def captured_equals_launched(folder: Path, expected: str = "captured", **fields: Any) -> Record:
    """A cell gives the same captured and launched, in every metric and byte, and nothing that a
    card would refuse or wait for."""
    results = []
    for graph in ("auto", "off"):
        record, files, card = trained(folder / graph, graph, **fields)
        assert record.status in ("done", "diverged"), record.reason
        assert record.metrics["final_train_loss"] is not None
        assert findings(card) == []
        assert record.info["steps"] == (expected if graph == "auto" else "switched off")
        assert (card.replays > 0) == (graph == "auto" and expected == "captured")
        results.append((record.metrics, files))
    (metrics, files), (launched, launched_files) = results
    assert metrics == launched
    assert files.keys() == launched_files.keys()
    assert [name for name in files if files[name] != launched_files[name]] == []
    return record
