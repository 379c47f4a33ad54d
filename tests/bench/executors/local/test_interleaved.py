"""Several cells that one worker process interleaves, seen from the driver."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prunebench.bench.executors.base import Event, Job, Outcome
from prunebench.bench.executors.local import interleaved_worker
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.executors.messages import RunJob, receive, send
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.results.store import Store
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.train.capture import half_way
from prunebench.bench.train.step import StepGenerator
from support.cells import small_cell

HERE = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("fakes")


def run(
    log: Path, *acts: Any, slots: int = 2, **arguments: Any
) -> tuple[list[Outcome], list[Event]]:
    events: list[Event] = []
    jobs = [
        Job(f"j{n}", {"do": list(act), "name": f"j{n}", "log": str(log)})
        for n, act in enumerate(acts)
    ]
    settings = {"slots": slots, "interleaved": slots, "grace_s": 1.0, **arguments}
    return LocalExecutor("interleaved_fakes:act", **settings).run(jobs, events.append), events


def lines(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()]


def test_cells_of_one_process_are_interleaved(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcomes, events = run(log, ("steps", 30), ("steps", 30), ("steps", 3))
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert len({pid for _, pid, _ in lines(log)}) == 1
    steps = [name for name, _, text in lines(log) if text.isdigit()]
    both = steps[steps.index("j1") :][:20]
    assert both.count("j0") >= 8
    assert both.count("j1") >= 8
    assert steps.index("j2") > 30  # it waited for a free slot
    assert {event.slot for event in events if event.kind == "progress"} == {0, 1}


@pytest.mark.soak
def test_a_failure_lets_the_others_finish_and_the_process_is_replaced(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcomes, _ = run(log, ("raise",), ("steps", 12), ("steps", 2), ("steps", 2))
    assert [outcome.status for outcome in outcomes] == ["failed", "done", "done", "done"]
    assert "boom" in outcomes[0].reason
    pids = {name: pid for name, pid, _ in lines(log)}
    assert pids["j0"] == pids["j1"] == outcomes[1].reason
    assert pids["j2"] != pids["j0"]


@pytest.mark.soak
def test_a_process_that_dies_costs_an_attempt_of_each_of_its_cells(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcomes, events = run(log, ("kill-once", str(tmp_path / "flag")), ("steps", 40))
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert [outcome.attempts for outcome in outcomes] == [2, 2]
    assert [event.kind for event in events].count("requeued") == 2


def test_a_lack_of_memory_lowers_the_limit_and_the_cell_runs_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcomes, events = run(log, ("steps", 60), ("out-of-memory",), ("steps", 3), slots=2)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    again = [event for event in events if event.kind == "requeued"]
    assert [event.key for event in again] == ["j1"]
    assert "at most 1 cell at once" in again[0].outcome.reason
    order = lines(log)
    names = [name for name, _, text in order if text == "begin"]
    assert names[:2] == ["j0", "j1"]
    # From then on one at a time.
    later = order[order.index(["j0", order[0][1], "end"]) :]
    running = 0
    for _, _, text in later[2:]:
        running += {"begin": 1, "left": -1}.get(text, 0)
        assert running <= 1


def test_a_time_limit_breaks_one_cell_off_and_not_its_neighbour(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcomes, _ = run(log, ("endless",), ("steps", 5), time_limit_s=8.0)
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert "time limit" in outcomes[0].reason
    assert outcomes[1].attempts == 1
    assert ["j0", outcomes[1].reason, "left"] in lines(log)


def test_a_cell_that_never_gives_way_is_killed_with_its_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcomes, _ = run(log, ("ignores-sigterm",), ("steps", 5), time_limit_s=1.0, attempts=1)
    assert outcomes[0].status == "failed"
    assert "time limit" in outcomes[0].reason


def test_interleaved_cells_leave_the_records_of_cells_run_alone(tmp_path: Path) -> None:
    cells = [
        small_cell(method, seed=seed, recipe_params={"epochs": 2})
        for method, seed in (("infobatch", 0), ("divbs", 1), ("el2n", 2))
    ]
    planned = plan_jobs(cells)
    records = []
    for name, run_path, slots in (("alone", "run_payload", 1), ("interleaved", "payload_steps", 3)):
        store = Store.open(tmp_path / name)
        executor = LocalExecutor(
            f"prunebench.bench.runs.job:{run_path}", slots=slots, interleaved=slots,
            settings={"root": str(store.root)}, inline=slots == 1,
        )  # fmt: skip
        outcomes = executor.run(planned.jobs, lambda event: None)
        assert {outcome.status for outcome in outcomes} <= {"done", "diverged"}
        found = [store.get(job.key) for job in planned.jobs]
        records.append([(r.key, r.metrics, r.ledger, r.artifacts, r.info) for r in found])
    assert records[0] == records[1]


@pytest.mark.parametrize("error", [None, torch.OutOfMemoryError("CUDA out of memory")])
def test_after_a_capture_that_was_refused_half_way_a_process_takes_no_further_cell(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_way._State, "noted", False)

    def act(payload: dict[str, Any], context: WorkerContext) -> StepGenerator[JobResult]:
        yield None
        if payload["refused"]:
            half_way.note()
            if error is not None:
                raise error
        yield None
        return JobResult()

    ours, theirs = Pipe()
    for number in range(2):
        send(theirs, RunJob({"refused": number == 0}, True, number))
    driver_leaves = threading.Timer(60.0, theirs.close)  # EOFError, where it does not end by itself
    driver_leaves.start()
    interleaved_worker.InterleavedServer(ours, act, WorkerContext(), 2, 1.0).serve()
    driver_leaves.cancel()
    ends = [receive(theirs) for _ in range(2)]
    assert [end.slot for end in ends] == [0, 1]
    codes = [OutcomeCode.OUT_OF_MEMORY if error else OutcomeCode.RECORDED, OutcomeCode.RECORDED]
    assert [end.result.code for end in ends] == codes
    assert all(end.last and end.result.spoilt for end in ends)


@pytest.mark.parametrize("grace_s", [10.0, 30.0])
def test_runs_have_most_of_the_time_that_the_driver_gives_to_save_themselves(
    grace_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, steps = itertools.count(), list[int]()
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)))
    monkeypatch.setattr(interleaved_worker, "time", clock)
    monkeypatch.setattr(interleaved_worker, "ask", steps.clear)

    def endless(payload: dict[str, Any], context: WorkerContext) -> StepGenerator[JobResult]:
        while True:
            steps.append(payload["number"])
            yield None

    ours, theirs = Pipe()
    server = interleaved_worker.InterleavedServer(ours, endless, WorkerContext(), 2, grace_s)
    for number in range(2):
        send(theirs, RunJob({"number": number}, False, number))
    theirs.close()  # the driver is gone
    with pytest.raises(EOFError):
        server.serve()
    assert 0.7 * grace_s <= len(steps) / 2 <= 0.9 * grace_s  # a second each
    assert server.runs.running == []


DRIVER = """
import sys
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.results.store import Store
from support.cells import small_cell
store = Store.open(sys.argv[1])
cells = [small_cell(m, recipe_params={"epochs": 2000}) for m in ("infobatch", "divbs")]
executor = LocalExecutor(
    "prunebench.bench.runs.job:payload_steps", slots=2, interleaved=2, grace_s=30.0,
    settings={"root": str(store.root), "checkpoint_s": 10000.0},
)
executor.run(plan_jobs(cells).jobs, lambda event: print(event.kind, event.key, flush=True))
"""


@pytest.mark.soak
def test_a_driver_that_is_terminated_leaves_every_run_saved(tmp_path: Path) -> None:
    path = os.pathsep.join([str(HERE.parents[1]), *sys.path])
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "r")], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert driver.stdout is not None
    moving: set[str] = set()
    for line in driver.stdout:
        kind, key = line.split()
        moving |= {key} if kind == "progress" else set()
        if len(moving) == 2:
            break
    driver.terminate()
    driver.stdout.read()
    assert driver.wait(60) != 0
    store = Store(tmp_path / "r")
    for key in moving:
        assert (store.checkpoint_path(key) / "state.safetensors").is_file()
    assert [p.name for p in store.claims.iterdir() if not p.name.startswith(".")] == []
