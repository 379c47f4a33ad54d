"""Worker processes that finish, fail, die, hang and are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.executors.base import Event, Job, Outcome
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.executors.local.process import environment
from prunebench.bench.executors.tracker import describe_exit
from prunebench.bench.results.store import Store
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.errors import InputError
from support.jobs import Events, gone, jobs, pids

HERE = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("fakes")


def run(todo: list[Job], **arguments: Any) -> tuple[list[Outcome], Events]:
    events = Events()
    outcomes = LocalExecutor("fakes:act", **{"slots": 2, **arguments}).run(todo, events)
    assert [outcome.key for outcome in outcomes] == [job.key for job in todo]
    return outcomes, events


def test_two_slots_do_everything_in_two_processes_that_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcomes, events = run(jobs(*[("nap", 0.1)] * 8, log=log))
    assert [(outcome.status, outcome.attempts) for outcome in outcomes] == [("done", 1)] * 8
    assert all(outcome.seconds >= 0.1 for outcome in outcomes)
    assert all(events.kinds(f"j{number}") == ["started", "finished"] for number in range(8))
    assert {event.slot for event in events} == {0, 1}
    assert len(set(pids(log))) == 2
    assert os.getpid() not in pids(log)
    assert gone(pids(log))


def test_no_jobs_start_no_process() -> None:
    assert run([]) == ([], [])


def test_fewer_jobs_than_slots_start_fewer_workers(tmp_path: Path) -> None:
    outcomes, _ = run(jobs(("nap", 0)), slots=64)
    assert outcomes[0].status == "done"


@pytest.mark.parametrize("inline", [False, True])
def test_whatever_a_cell_raises_fails_that_cell_only(inline: bool) -> None:
    lost: list[tuple[str, str]] = []
    acts = [("raise", "value"), ("nap", 0), ("raise", "memory"), ("raise", "exit"), ("nap", 0),
            ("return", {"status": "unknown"}), ("return", None), ("return", {"status": "failed"}),
            ("return", {"status": "skipped", "reason": "no view"})]  # fmt: skip
    outcomes, _ = run(
        jobs(*acts),
        slots=1,
        inline=inline,
        on_lost=lambda job, status, reason: lost.append((job.key, status)),
    )
    found = [outcome.status for outcome in outcomes]
    assert found == ["failed", "done", *["failed"] * 2, "done", *["failed"] * 3, "skipped"]
    assert outcomes[0].reason.startswith("ValueError: boom\nTraceback")
    assert "in act" in outcomes[0].reason
    assert outcomes[2].reason.startswith("MemoryError")
    assert outcomes[8].reason == "no view"
    # The function recorded its own failure (j7) and the skip; the others are left to the hook.
    assert lost == [(key, "failed") for key in ("j0", "j2", "j3", "j5", "j6")]


def test_a_hook_that_raises_stops_nothing() -> None:
    def hook(job: Job, status: str, reason: str) -> None:
        raise OSError("disk full")

    outcomes, _ = run(jobs(("raise", "value"), ("nap", 0)), on_lost=hook)
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert "disk full" in outcomes[0].reason


def test_a_process_that_a_refused_capture_left_half_way_takes_no_further_cell(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    outcomes, _ = run(jobs(("nap", 0), ("half-way",), ("nap", 0), log=log), slots=1)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    first, second, third = pids(log)
    assert first == second != third


def test_a_cell_that_dies_once_is_run_again(tmp_path: Path) -> None:
    outcomes, events = run(jobs(("signal-once", str(tmp_path / "x")), ("nap", 0.1), ("nap", 0)))
    assert [(o.status, o.attempts) for o in outcomes] == [("done", 2), ("done", 1), ("done", 1)]
    assert events.kinds("j0") == ["started", "requeued", "started", "finished"]


def test_a_cell_that_always_dies_is_killed_and_the_others_finish() -> None:
    lost: list[tuple[str, str, str]] = []
    acts = [("signal", "SIGKILL"), ("signal", "SIGSEGV"), ("exit", 3), ("signal", "SIGTERM"),
            *[("nap", 0)] * 4]  # fmt: skip
    outcomes, events = run(
        jobs(*acts), on_lost=lambda job, status, why: lost.append((job.key, status, why))
    )
    assert [o.status for o in outcomes] == ["killed"] * 4 + ["done"] * 4
    for outcome, word in zip(outcomes, ("SIGKILL", "SIGSEGV", "code 3", "143"), strict=False):
        assert word in outcome.reason
        assert "after 2 attempts" in outcome.reason
        assert events.kinds(outcome.key) == ["started", "requeued", "started", "finished"]
    assert sorted(lost) == [(o.key, "killed", o.reason) for o in outcomes[:4]]


@pytest.mark.parametrize("act", [("nap", 60), ("stubborn",)])
def test_the_time_limit_ends_a_cell_once_and_for_all(act: tuple[Any, ...], tmp_path: Path) -> None:
    lost: list[str] = []
    log = tmp_path / "log"
    outcomes, events = run(
        jobs(act, ("nap", 0), ("nap", 0), log=log),
        slots=1,
        time_limit_s=0.5,
        grace_s=0.3,
        on_lost=lambda job, status, reason: lost.append(f"{job.key} {status} {reason}"),
    )
    assert [(o.status, o.attempts) for o in outcomes] == [("failed", 1), ("done", 1), ("done", 1)]
    assert outcomes[0].reason == "time limit of 0.5 s"
    assert lost == ["j0 failed time limit of 0.5 s"]
    assert events.kinds("j0") == ["started", "finished"]
    assert gone(pids(log))


def test_dependants_start_after_their_dependencies_ended_in_whatever_way(tmp_path: Path) -> None:
    log = tmp_path / "log"
    acts = [("nap", 0), ("nap", 0.2), ("raise", "value"), ("signal", "SIGKILL"), ("nap", 0)]
    first = jobs(*acts, log=log)
    waits = {0: ("j1", "j2"), 4: ("j3",)}
    todo = [
        Job(job.key, job.payload, after=waits.get(number, ())) for number, job in enumerate(first)
    ]
    outcomes, events = run(todo)
    assert [o.status for o in outcomes] == ["done", "done", "failed", "killed", "done"]
    steps = [(event.kind, event.key) for event in events]
    for number, keys in waits.items():
        for key in keys:
            assert steps.index(("finished", key)) < steps.index(("started", f"j{number}"))


def test_busy_cells_are_tried_again_and_existing_ones_are_finished() -> None:
    events = Events()
    tries: Counter[str] = Counter()

    def stop_being_busy(event: Event) -> None:
        events(event)
        tries[event.kind] += 1

    busy = {"code": "busy"}
    todo = jobs(("return", busy), ("return", {"code": "exists", "status": "diverged"}), ("nap", 0))
    payload = todo[0].payload

    def loosen(event: Event) -> None:
        stop_being_busy(event)
        if tries["waiting"] == 2:
            payload["do"] = ["nap", 0]

    outcomes = LocalExecutor("fakes:act", slots=1).run(todo, loosen)
    assert events.kinds("j0") == ["started", "waiting"] * 2 + ["started", "finished"]
    assert [(o.status, o.attempts) for o in outcomes] == [("done", 1), ("diverged", 0), ("done", 1)]


@pytest.mark.parametrize("inline", [False, True])
def test_progress_and_settings_reach_the_other_side(inline: bool) -> None:
    _, events = run(jobs(("report",)), slots=1, inline=inline)
    shares = [event.fraction for event in events if event.kind == "progress"]
    assert shares == sorted(shares)
    assert shares[-1] == 0.75
    outcomes, _ = run(jobs(("surroundings",)), slots=1, inline=inline, threads=1, devices=("meta",))
    assert outcomes[0].reason.startswith("meta|")


def test_slots_see_their_device_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    acts = [("surroundings",), ("surroundings",)]
    outcomes, _ = run(jobs(*acts), slots=None, threads=3, devices=("cuda:0", "cuda:1"))
    assert {o.reason for o in outcomes} <= {"cuda|3|3|0", "cuda|3|3|1"}
    env, name = environment("cuda:1", 1, {"CUDA_VISIBLE_DEVICES": "4, GPU-abc"})
    assert (env["CUDA_VISIBLE_DEVICES"], name) == ("GPU-abc", "cuda")
    assert environment("cuda", 1, {"CUDA_VISIBLE_DEVICES": "4"})[0]["CUDA_VISIBLE_DEVICES"] == "4"
    with pytest.raises(InputError, match="no device cuda:2"):
        environment("cuda:2", 1, {"CUDA_VISIBLE_DEVICES": "4,5"})


def test_output_of_workers_goes_to_the_log(tmp_path: Path) -> None:
    run(jobs(("signal", "SIGSEGV")), slots=1, attempts=1, log_dir=tmp_path / "logs")
    assert "Segmentation fault" in (tmp_path / "logs" / "slot-0.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_workers_and_raises(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    events = Events()
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def on_event(event: Event) -> None:
        events(event)
        if [e.kind for e in events].count("started") == 2:
            threading.Timer(0.3, os.kill, (os.getpid(), number)).start()

    todo = jobs(("nap", 60), ("stubborn",), ("nap", 0), log=log)
    with pytest.raises(KeyboardInterrupt):
        LocalExecutor("fakes:act", slots=2, grace_s=0.5).run(todo, on_event)
    assert len(pids(log)) == 2
    assert gone(pids(log))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert "finished" not in [event.kind for event in events]


def test_an_error_in_the_driver_ends_all_workers(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def on_event(event: Event) -> None:
        if event.kind == "finished":
            raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        LocalExecutor("fakes:act", slots=2).run(jobs(("nap", 60), ("nap", 0.1), log=log), on_event)
    assert gone(pids(log))


def test_it_runs_outside_the_main_thread() -> None:
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.extend(run(jobs(("nap", 0), ("nap", 0)))[0]))
    thread.start()
    thread.join(30)
    assert [outcome.status for outcome in found] == ["done", "done"]


def test_inline_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    run(jobs(("nap", 0), log=log), slots=1, inline=True)
    assert pids(log) == [os.getpid()]
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    assert LocalExecutor(slots=1).inline
    assert not LocalExecutor(slots=2).inline


def test_two_drivers_share_one_folder_without_doing_anything_twice(tmp_path: Path) -> None:
    root, cells = tmp_path / "results", 24
    drivers = [
        subprocess.Popen(
            [sys.executable, str(HERE / "fakes.py"), str(root), str(cells), "2", "0.05"]
        )
        for _ in range(2)
    ]
    assert [driver.wait(60) for driver in drivers] == [0, 0]
    scan = Store(root).scan()
    assert len(scan.records) == cells
    assert not scan.problems
    computed = Counter(line.split()[0] for line in (root / "log").read_text().splitlines())
    assert set(computed.values()) == {1}
    assert not list((root / "claims").glob("*.json"))


def test_causes_are_named() -> None:
    assert describe_exit(-9) == "the worker died of SIGKILL (out of memory, or killed by hand)"
    assert describe_exit(-250) == "the worker died of signal 250"
    assert describe_exit(1) == "the worker exited with code 1"


def test_a_context_needs_nothing() -> None:
    WorkerContext().report(0.5)
