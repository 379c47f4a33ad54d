"""What an executor costs per cell: scheduling, claim, record and artifacts; nothing is trained."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import pytest

from prunebench.bench.executors.base import Executor, Job
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.executors.ray.executor import RayExecutor
from prunebench.bench.executors.ray.settings import RaySettings
from prunebench.bench.results.store import Store
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.record import content_key
from support.rays import cluster
from support.timing import machine

pytestmark = pytest.mark.perf

FAKES = Path(__file__).parents[1] / "bench" / "executors"
REPEATS, TRIVIAL, LONG, LONG_S = 5, 200, 3, 2.0


class Numbers:
    """Fresh cells: one that has a record would not be run."""

    def __init__(self) -> None:
        self.next = 0

    def jobs(self, count: int, nap: float) -> list[Job]:
        numbers = range(self.next, self.next + count)
        self.next += count
        return [Job(content_key({"cell": n}), {"number": n, "nap": nap}) for n in numbers]


@pytest.fixture
def executors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, tuple[Executor, Path]]]:
    """One warm slot each: a worker process, an actor that sees the folder, one that does not."""
    if sys.platform != "linux":
        pytest.skip("Ray clusters run on Linux")
    monkeypatch.syspath_prepend(str(FAKES))
    found: dict[str, tuple[Executor, Path]] = {}
    with ExitStack() as stack:
        address = stack.enter_context(cluster(2)).address
        for name in ("local", "ray", "ray, folder not shared"):
            root = tmp_path / name.replace(", ", "-").replace(" ", "-")
            store = Store.open(root)
            one: Executor
            if name == "local":
                given = {"root": str(root)}
                one = LocalExecutor("fakes:cell", settings=given, slots=1, keep=True)
            else:
                options = ExecutionOptions(workers=1, ray_address=address)
                shared = name == "ray"
                settings = RaySettings(
                    options, store, run="fakes:cell", keep=True, sees_results=shared
                )
                one = RayExecutor(settings)
            stack.callback(one.close)
            found[name] = one, root
        yield found


def seconds(executor: Executor, jobs: list[Job]) -> float:
    start = time.perf_counter()
    outcomes = executor.run(jobs, lambda event: None)
    assert {outcome.status for outcome in outcomes} == {"done"}
    return time.perf_counter() - start


def test_overhead_of_a_cell(executors: dict[str, tuple[Executor, Path]]) -> None:
    numbers, per_cell, shares = Numbers(), {n: [] for n in executors}, {n: [] for n in executors}
    starts = {name: seconds(one, numbers.jobs(1, 0.0)) for name, (one, _) in executors.items()}
    for _ in range(REPEATS):
        for name, (one, _) in executors.items():
            per_cell[name].append(seconds(one, numbers.jobs(TRIVIAL, 0.0)) / TRIVIAL)
    for _ in range(REPEATS):
        for name, (one, _) in executors.items():
            wall = seconds(one, numbers.jobs(LONG, LONG_S))
            shares[name].append(wall / (LONG * LONG_S) - 1)
    print(f"\nOverhead of a cell ({REPEATS} repeats, interleaved; {machine()}):")
    for name, (_, root) in executors.items():
        cell, share = sorted(per_cell[name]), sorted(shares[name])
        print(
            f"  {name}: {median(cell) * 1e3:.1f} ms ({cell[0] * 1e3:.1f} to {cell[-1] * 1e3:.1f}) "
            f"over {TRIVIAL} empty cells; {median(share):.2%} ({share[0]:.2%} to {share[-1]:.2%}) "
            f"of a cell of {LONG_S:g} s; first cell after {starts[name]:.1f} s"
        )
        assert len(Store(root).keys()) == 1 + REPEATS * (TRIVIAL + LONG)
        assert median(share) < 0.05
        assert median(cell) < 0.05 * LONG_S
