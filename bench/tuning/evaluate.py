"""From points to values: cells are run through the ordinary driver and read from their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from prunebench.bench.grids.driver import make_executor, run_cells
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs.cell import Cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.tuning.design import Design
from prunebench.options import Value
from prunebench.record import Record

Point = Mapping[str, Value]
RunCells = Callable[[Sequence[Cell]], Mapping[str, Record]]
METRIC = "validation_accuracy"

#: How often a cell is started whose worker is killed, for lack of memory say.
_ATTEMPTS = 2


class CellRunner:
    """Runs cells in workers that stay from one call to the next; a context manager."""

    def __init__(self, store: Store, options: ExecutionOptions) -> None:
        # MLflow gets all runs at the end of the study: to open it takes longer than a small cell.
        self.store, self.options = store, replace(options, mlflow=False, quiet=True)
        self._executor = make_executor(store, self.options, keep=True)

    def __call__(self, cells: Sequence[Cell]) -> dict[str, Record]:
        """The records of cells by key; a key without a record is left out."""
        found: dict[str, Record] = {}
        for _ in range(_ATTEMPTS):
            waiting = [cell for cell in cells if cell.spec.key not in found]
            if waiting:
                run_cells(waiting, self.store, self.options, executor=self._executor)
            for cell in waiting:
                record = final_record(self.store, cell.spec.key)
                if record is not None:
                    found[record.key] = record
        for cell in cells:
            record = None if cell.spec.key in found else self.store.get(cell.spec.key)
            if record is not None:
                found[record.key] = record
        return found

    def __enter__(self) -> CellRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.close()


@dataclass
class Outcome:
    """What the cells of a point gave.

    Attributes:
        state: ``complete``, ``diverged`` or ``failed``.
        reason: Why it is not complete.
        values: Validation accuracy by seed, a share.
        trained: Trained samples by seed.
        keys: Cells that were run for it, scoring runs included.
    """

    state: Literal["complete", "diverged", "failed"] = "complete"
    reason: str = ""
    values: dict[int, float] = field(default_factory=dict)
    trained: dict[int, int] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds."""
        return sum(self.values.values()) / len(self.values)

    @property
    def cost(self) -> float:
        """Mean trained samples over the seeds."""
        return sum(self.trained.values()) / len(self.trained)


def evaluate(
    design: Design,
    points: Sequence[Point],
    seeds: Sequence[int],
    run: RunCells,
    share: float = 1.0,
) -> list[Outcome]:
    """Runs points on seeds, one seed after the other, so that a point that diverges or fails on
    one is not run on the rest.

    Args:
        design: The study.
        points: Configurations; they run side by side.
        seeds: Seeds of every point.
        run: Runs cells and gives their records.
        share: Share of the recipe's epochs, as a complete schedule.
    """
    outcomes = [Outcome() for _ in points]
    for seed in seeds:
        cells = {n: design.cell(p, seed, share) for n, p in enumerate(points)
                 if outcomes[n].state == "complete"}  # fmt: skip
        records = run(list(cells.values())) if cells else {}
        for number, cell in cells.items():
            outcome = outcomes[number]
            outcome.keys += list(plan_jobs([cell]).cells)
            _add_record(outcome, seed, records.get(cell.spec.key))
    return outcomes


def _add_record(outcome: Outcome, seed: int, record: Record | None) -> None:
    if record is None:
        outcome.state, outcome.reason = "failed", f"seed {seed}: no record"
    elif record.status != "done":
        outcome.state = "diverged" if record.status == "diverged" else "failed"
        outcome.reason = f"seed {seed}: {record.status} ({record.reason})"
    else:
        value = record.metrics.get(METRIC)
        if value is None:
            outcome.state, outcome.reason = "failed", f"seed {seed}: no {METRIC}"
            return
        outcome.values[seed] = value
        outcome.trained[seed] = int(record.ledger.get("trained", 0))


def cell_cost(record: Record | None, planned: float, epochs: int) -> float:
    """Cost of a cell in full trainings; a forward-only pass is a third of a trained sample.

    Args:
        record: Its record. Without counts in it the cell is charged in full.
        planned: Share of a full training that the cell was to take.
        epochs: Of the full recipe.
    """
    ledger = record.ledger if record is not None else {}
    whole = ledger.get("num_samples", 0) * epochs
    if not whole:
        return planned
    passes = sum(ledger.get(f"{name}_forward", 0) for name in ("scoring", "reference"))
    passes += ledger.get("forward_only", 0) + ledger.get("proxy_scoring", 0)
    return float((ledger.get("trained", 0) + ledger.get("strong", 0) + passes / 3.0) / whole)
