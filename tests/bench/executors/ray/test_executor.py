"""A real Ray cluster of two nodes on this machine: the same jobs, the same outcomes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.executors.base import Event, Job, Outcome
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.executors.queue import JobQueue
from prunebench.bench.executors.ray.executor import RayExecutor
from prunebench.bench.executors.ray.settings import RaySettings
from prunebench.bench.grids.driver import make_executor, run_cells
from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.results.claims import Claims
from prunebench.bench.results.store import Store
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError
from support.command import prunebench
from support.jobs import Events, gone, jobs, pids
from support.killing import agrees, needs_proc
from support.rays import add_node, cluster

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="Ray clusters run on Linux"),
    pytest.mark.usefixtures("fakes"),
]
#: A cluster takes as long to come up as fifty other tests take.
clustered = pytest.mark.soak

TINY = """
name = "tiny"
dataset = "digits"
noise = "symmetric:0.4"
method = ["full", "random", "small-loss", "forgetting", "infobatch"]
ratio = 0.5
seed = [0, 1]
recipe_params = { epochs = 3 }
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    needs_proc()
    with cluster(2) as one:
        yield one


def executor(nodes: Any, **arguments: Any) -> RayExecutor:
    names = {field.name for field in fields(ExecutionOptions)}
    given = {"workers": 2, "ray_address": nodes.address, **arguments}
    options = ExecutionOptions(**{name: given.pop(name) for name in names & given.keys()})
    return RayExecutor(RaySettings(options, **{"run": "fakes:act", **given}))


def run(nodes: Any, todo: list[Job], **arguments: Any) -> tuple[list[Outcome], Events]:
    events = Events()
    return executor(nodes, **arguments).run(todo, events), events


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@clustered
def test_every_way_to_end_and_every_order(nodes: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    lost: list[tuple[str, str]] = []
    acts = [("nap", 0), ("raise", "value"), ("signal-once", str(tmp_path / "x")), ("exit", 3),
            ("nap", 60), ("return", {"status": "skipped", "reason": "no view"}), ("report",),
            ("return", {"code": "exists", "status": "diverged"}), ("surroundings",)]  # fmt: skip
    outcomes, events = run(
        nodes,
        jobs(*acts, log=log, after={0: ("j1", "j2"), 6: ("j3",)}),
        time_limit_s=2.0,
        grace_s=0.5,
        threads=1,
        on_lost=lambda job, status, reason: lost.append((job.key, status)),
    )
    assert [(o.status, o.attempts) for o in outcomes] == [
        ("done", 1), ("failed", 1), ("done", 2), ("killed", 2), ("failed", 1), ("skipped", 1),
        ("done", 1), ("diverged", 0), ("done", 1)]  # fmt: skip
    assert outcomes[1].reason.startswith("ValueError: boom\nTraceback")
    assert outcomes[3].reason == "the worker exited with code 3 (after 2 attempts)"
    assert outcomes[4].reason == "time limit of 2 s"
    assert outcomes[8].reason.startswith("cpu|1|1|")
    assert sorted(lost) == [("j1", "failed"), ("j3", "killed"), ("j4", "failed")]
    assert events.kinds("j2") == ["started", "requeued", "started", "finished"]
    assert [event.fraction for event in events if event.kind == "progress"][-1] == 0.75
    steps = [(event.kind, event.key) for event in events]
    for key, waits in (("j0", ("j1", "j2")), ("j6", ("j3",))):
        for first in waits:
            assert steps.index(("finished", first)) < steps.index(("started", key))
    assert {event.slot for event in events} == {0, 1}
    assert gone(pids(log), 3.0)


@pytest.mark.parametrize("where", ["local", pytest.param("ray", marks=clustered)])
def test_a_worker_stays_with_its_data(
    request: pytest.FixtureRequest, where: str, tmp_path: Path
) -> None:
    local = LocalExecutor("fakes:act", slots=2)
    one = local if where == "local" else executor(request.getfixturevalue("nodes"))
    log = tmp_path / "log"
    groups = {number: "ab"[number % 2] for number in range(8)}
    todo = jobs(*[("nap", 0.15)] * 8, log=log, group=groups)
    assert {o.status for o in one.run(todo, Events())} == {"done"}
    lines = [line.split() for line in log.read_text().splitlines() if line.endswith("begin")]
    seen: dict[str, list[str]] = {}
    for name, pid, _ in lines:
        seen.setdefault(pid, []).append(groups[int(name[1:])])
    # A worker goes to another data set only once none of its own is left to be begun.
    changes = sum(a != b for order in seen.values() for a, b in pairwise(order))
    assert changes <= 1
    assert JobQueue(todo).take(0, 0.0) == todo[0]


@clustered
def test_a_killed_actor_and_a_lost_node_give_their_cells_to_others(
    nodes: Any, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    node = add_node(nodes)
    events, shots = Events(), [0]

    def shoot(event: Event) -> None:
        events(event)
        started = [e.key for e in events if e.kind == "started"]
        if event.kind == "started" and len(started) == 3 and not shots[0]:
            shots[0] = 1
            threading.Timer(0.5, kill).start()

    def kill() -> None:
        end = time.monotonic() + 10
        while len(pids(log)) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        of_node = {p for p in pids(log) if node_of(parent(parent(p))) == node.node_id}
        victim = next(p for p in pids(log) if p not in of_node)
        os.kill(parent(victim), signal.SIGKILL)
        nodes.remove_node(node, allow_graceful=False)

    todo = jobs(*[("nap", 3)] * 3, *[("nap", 0)] * 3, log=log)
    # On a slow machine the cell of the dead actor may be begun on the node that is about to go.
    outcomes = executor(nodes, workers=3, attempts=3).run(todo, shoot)
    assert [o.status for o in outcomes] == ["done"] * 6
    again = [e.outcome.reason for e in events if e.kind == "requeued" and e.outcome]
    assert len(again) >= 2
    assert set(again) == {"its Ray actor or its node was lost"}
    assert sum(o.attempts for o in outcomes) == 6 + len(again)
    assert gone(pids(log), 3.0)


def node_of(raylet: int) -> str:
    words = Path(f"/proc/{raylet}/cmdline").read_bytes().decode().split("\0")
    return next(w.partition("=")[2] for w in words if w.startswith("--node_id="))


@clustered
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_workers_and_raises(
    nodes: Any, number: signal.Signals, tmp_path: Path
) -> None:
    log, events = tmp_path / "log", Events()
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def on_event(event: Event) -> None:
        events(event)
        if [e.kind for e in events].count("started") == 2:
            threading.Timer(0.5, os.kill, (os.getpid(), number)).start()

    with pytest.raises(KeyboardInterrupt):
        executor(nodes, grace_s=0.5).run(
            jobs(("nap", 60), ("stubborn",), ("nap", 0), log=log), on_event
        )
    assert len(pids(log)) == 2
    assert gone(pids(log), 3.0)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert "finished" not in [event.kind for event in events]


@clustered
def test_what_cannot_start_is_one_clear_line(nodes: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="worker function 'nowhere:act' cannot be imported"):
        run(nodes, jobs(("nap", 0)), run="nowhere:act", workers=1)
    with pytest.raises(InputError, match=r"no such file: /nowhere/plugin\.py"):
        run(nodes, jobs(("nap", 0)), plugins=("/nowhere/plugin.py",))
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    with pytest.raises(InputError, match=r"broken\.py: the plug-in fails to import.*ZeroDivision"):
        run(nodes, jobs(("nap", 0)), plugins=(str(broken),), workers=1)
    with pytest.raises(InputError, match=r"no Ray cluster answers at '127\.0\.0\.1:9'"):
        run(nodes, jobs(("nap", 0)), ray_address="127.0.0.1:9")
    with pytest.raises(InputError, match="a slot takes 64 CPU, the cluster has 2 CPU"):
        run(nodes, jobs(("nap", 0)), threads=64, start_s=1.0)


@clustered
def test_a_plug_in_travels_with_its_content(nodes: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("import fakes\nfakes.TOLD = __file__\n")
    one = executor(nodes, plugins=(str(plugin),), workers=1, keep=True)
    try:
        todo = jobs(("global", "TOLD"))
        assert one.run(todo, Events())[0].reason == str(plugin)
        plugin.write_text("import fakes\nfakes.TOLD = 'changed'\n")
        # Its actor waits with the file it has loaded; a fresh one gets what lies there now.
        assert one.run(todo, Events())[0].reason == str(plugin)
    finally:
        one.close()
    assert one.actor_start().plugins[0].content == plugin.read_bytes()
    outcomes, _ = run(nodes, jobs(("global", "TOLD")), plugins=(str(plugin),), workers=1)
    assert outcomes[0].reason == "changed"


@clustered
def test_a_node_without_the_folder_sends_everything_to_one_writer(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = tmp_path / "tiny.toml"
    toml.write_text(TINY)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cells = expand(*read_grid(str(toml)))
    far, near = Store(tmp_path / "far"), Store(tmp_path / "near")
    settings = {"mlflow": False, "quiet": True, "checkpoint_s": 0.0}
    run_cells(cells, near, ExecutionOptions(inline=True, **settings))
    remote = ExecutionOptions(executor="ray", ray_address=nodes.address, workers=2, **settings)
    held: list[str] = []

    def watch(job: Job, status: str, reason: str) -> None:
        raise AssertionError(f"{job.label} {status} {reason}")

    one = make_executor(far, remote)
    # As if the folder were not there.
    one.settings = replace(one.settings, sees_results=False, on_lost=watch)
    connect_once = one.connect

    def connect() -> Any:
        found = connect_once()
        begin = one.gateway.begin

        def spy(job: Job) -> Any:
            answer = begin(job)
            held.extend([job.key] if Claims(far.claims).holder(job.key) else [])
            return answer

        one.gateway.begin = spy
        return found

    one.connect = connect
    report = run_cells(cells, far, remote, executor=one)
    assert {o.status for o in report.outcomes} == {"done"}
    agrees(far.root, near.root)
    assert sorted(held) == sorted(o.key for o in report.outcomes)
    kept = {p.name for p in (near.root / "evidence").iterdir()}
    assert kept == {p.name for p in (far.root / "evidence").iterdir()}
    again = run_cells(cells, far, remote)
    assert not again.outcomes


def test_cards_are_shared_in_parts_that_fit() -> None:
    cards = ExecutionOptions(workers=0, devices=("cuda:0", "cuda:1"), slots_per_device=3)
    for slots in range(1, 65):
        one = RaySettings(replace(cards, slots_per_device=slots, ray_address="auto"))
        share = one.slot_size[1]
        assert slots * round(share * 10_000) <= 10_000 < (slots + 1) * share * 10_001
    assert RayExecutor(RaySettings(cards)).slots == 6
    assert RaySettings(cards).cards == [0, 1]
    assert RaySettings(ExecutionOptions(workers=3, threads=2)).slot_size == (2, 0)
    for wrong, line in (
        ({"devices": ("cpu", "cuda:0")}, "devices of two kinds"),
        ({"threads": 0}, "threads is 0"),
        ({"workers": -1}, "slots is -1"),
        ({"time_limit_s": 0.0}, "time limit"),
    ):
        with pytest.raises(InputError, match=line):
            RaySettings(replace(cards, **wrong))


def test_without_ray_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = tmp_path / "tiny.toml"
    toml.write_text(TINY)
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["--out", tmp_path / "out", "--executor", "ray", "--no-mlflow", "-q", "-w", "1"]
    said = prunebench("grid", toml, *words)
    assert said.code == 2
    assert said.err.strip().splitlines() == [
        "prunebench: --executor ray: Ray is not installed; pip install 'prunebench[ray]'; "
        "accepted: local without it"
    ]
    said = prunebench("grid", toml, "--ray-address", "auto", "--out", tmp_path / "out")
    assert said.code == 2
    assert "with --executor ray only" in said.err
