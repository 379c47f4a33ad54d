"""From cells to jobs: shared scoring runs first, everything else after what it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from prunebench.bench.executors.base import Job
from prunebench.bench.results.manifest import merge
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.holdout import NEED, holdout_specs
from prunebench.bench.runs.scoring_runs import evidence_needs, scoring_specs
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.errors import InputError
from prunebench.methods.base import EvidenceSpec
from prunebench.record import canonical


@dataclass(frozen=True)
class Planned:
    """A grid ready to run.

    Attributes:
        jobs: Dependencies first.
        cells: The cell of every job, the added scoring runs included.
        shared: Keys of the scoring runs that static methods share.
        added: Keys of scoring runs that the grid itself did not ask for.
    """

    jobs: list[Job]
    cells: dict[str, Cell]
    shared: list[str]
    added: list[str]


def plan_jobs(
    cells: Sequence[Cell], held: Callable[[str], EvidenceSpec] = lambda key: EvidenceSpec()
) -> Planned:
    """Plans jobs for cells. A scoring run records the union of what all of them need.

    Args:
        cells: What is wanted; doubles are dropped.
        held: What the results folder holds of a run's evidence: a run that is repeated because
            they need more records that as well.
    """
    wanted = {cell.spec.key: cell for cell in cells}
    known = dict(wanted)
    needs: dict[str, list[EvidenceSpec]] = {}
    after: dict[str, tuple[str, ...]] = {}
    scoring = _Scoring()
    for cell in wanted.values():
        runs = scoring.of(cell)
        after[cell.spec.key] = tuple(run.key for run, _ in runs)
        for run, need in runs:
            needs.setdefault(run.key, []).append(need)
            fresh = replace(cell.evidence_cell(run, EvidenceSpec()), losses=cell.losses)
            known.setdefault(run.key, fresh)
    first = list(needs)
    for key, wants in needs.items():
        known[key] = replace(known[key], evidence=merge([*wants, held(key)]))
    groups = _Groups()
    order = first + [key for key in wanted if key not in needs]
    jobs = [
        Job(
            key=key,
            payload=known[key].to_json(),
            after=after.get(key, ()),
            label=known[key].shown,
            group=groups(known[key]),
            cost=_cost(known[key]),
        )
        for key in order
    ]
    return Planned(jobs, known, first, [key for key in first if key not in wanted])


class _Scoring:
    """What cells need recorded and by which runs; asked once for all seeds of a setting."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[RunSpec, EvidenceSpec]]] = {}
        self._runs: dict[tuple[str, int], RunSpec] = {}

    def of(self, cell: Cell) -> list[tuple[RunSpec, EvidenceSpec]]:
        spec = cell.spec
        if spec.key_without_seed not in self._found:
            self._found[spec.key_without_seed] = _needs(cell)
        runs = self._found[spec.key_without_seed]
        return [(self._run(run, spec.seed), need) for run, need in runs]

    def _run(self, run: RunSpec, seed: int) -> RunSpec:
        slot = run.key_without_seed, seed
        if slot not in self._runs:
            self._runs[slot] = run if run.seed == seed else run.with_seed(seed)
        return self._runs[slot]


class _Groups:
    """The data of a cell as text, written once per mapping."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, int], str] = {}

    def __call__(self, cell: Cell) -> str:
        slot = cell.spec.dataset.name, id(cell.data)
        if slot not in self._texts:
            self._texts[slot] = canonical([cell.spec.dataset.name, dict(cell.data)])
        return self._texts[slot]


def _needs(cell: Cell) -> list[tuple[RunSpec, EvidenceSpec]]:
    """The runs that a cell must wait for, and what each records for it. A method that raises here
    raises again as its cell is run, which is then recorded; the others go on."""
    try:
        pruner = cell.pruner()
        need = evidence_needs(pruner, cell.spec)
        scoring = [(run, need) for run in scoring_specs(pruner, cell.spec)]
        return [*scoring, *((run, NEED) for run in holdout_specs(pruner, cell.spec))]
    except InputError:
        raise
    except Exception:
        return []


def _cost(cell: Cell) -> float:
    """Expected duration in epochs of full training."""
    return cell.spec.recipe.epochs * max(0.05, 1.0 - cell.spec.ratio)
