"""Small studies on handwritten digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.tuning.design import Design, make_design
from prunebench.bench.tuning.storage import open_study
from prunebench.bench.tuning.study import tune
from prunebench.bench.tuning.trials import ended_trials
from prunebench.record import Record

RECIPE = {"epochs": 2, "batch_size": 256}


def tiny(method: str = "infobatch", **fields: Any) -> Design:
    """A study whose cells train for a fraction of a second."""
    recipe = {**RECIPE, **fields.pop("recipe_params", {})}
    values = {
        "dataset": "digits", "noise": "symmetric:0.4", "ratio": 0.5, "params": {},
        "trials": 4, "final_seeds": 2, **fields,
    }  # fmt: skip
    return make_design(method=method, recipe_params=recipe, **values)


class Fake:
    """Trains nothing: a record is a function of its specification.

    Accuracy falls with the distance of r from 0.3 and moves a little with the seed; short
    schedules are worse and rank alike.

    Attributes:
        batches: Cells of every call.
        status: Status by key where it is not ``done``.
    """

    def __init__(self, status: Mapping[str, str] | None = None, store: Store | None = None) -> None:
        self.batches: list[list[Cell]] = []
        self.store = store
        self.status = dict(status or {})

    def __call__(self, cells: Sequence[Cell]) -> dict[str, Record]:
        self.batches.append(list(cells))
        found = {cell.spec.key: self.record(cell) for cell in cells}
        if self.store is not None:
            found = {key: self.store.save(record) for key, record in found.items()}
        return found

    @property
    def keys(self) -> set[str]:
        """All cells that were run."""
        return {cell.spec.key for batch in self.batches for cell in batch}

    def record(self, cell: Cell) -> Record:
        spec = cell.spec
        r = float(spec.method.params.get("r") or 0.3)
        value = 0.8 - (r - 0.3) ** 2 + 0.001 * (spec.seed % 7) - 0.1 / spec.recipe.epochs
        status = self.status.get(spec.key, "done")
        trained = round(500 * spec.recipe.epochs * (1 - r / 2))
        return Record(
            key=spec.key,
            spec=spec.content,
            status=status,
            reason="" if status == "done" else "made up",
            metrics={"validation_accuracy": value} if status == "done" else {},
            ledger={"trained": trained, "num_samples": 500, "full_epochs": spec.recipe.epochs},
        ).sealed()


def go(design: Design, root: Path, fake: Any = None, name: str = "s") -> tuple[Any, Any]:
    """Runs a study with made-up records; returns what ``tune`` does."""
    return tune(design, Store(root), ExecutionOptions(mlflow=False), name, run=fake or Fake())


def study_at(root: Path, name: str = "s") -> Any:
    """The study that lies in a folder."""
    return open_study(root / "tuning", name, None, ["maximize"])


def params_of(root: Path, name: str = "s") -> list[dict[str, Any]]:
    """The points of its settled trials, in order."""
    with study_at(root, name) as study:
        return [trial.params for _, trial in sorted(ended_trials(study).items())]
