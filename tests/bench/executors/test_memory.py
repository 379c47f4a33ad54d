"""Memory that runs short: readings, decisions, and real workers that are killed or refused it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from prunebench.bench.executors.base import Event
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.executors.memory import (
    MemoryGuard,
    Reading,
    read_memory,
    used_memory,
)
from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.failure import out_of_memory
from prunebench.bench.runs.worker_context import WorkerContext
from support.cells import small_cell
from support.jobs import Events, jobs

MIB = 1 << 20
pytestmark = pytest.mark.usefixtures("fakes")


def proc(folder: Path, available: int, kills: int = 0, total: int = 8192 * MIB) -> Path:
    """A /proc that says so."""
    folder.mkdir(exist_ok=True)
    (folder / "meminfo").write_text(
        f"MemTotal:  {total // 1024} kB\nMemFree: 1 kB\nMemAvailable: {available // 1024} kB\n"
    )
    (folder / "vmstat").write_text(f"nr_free_pages 1\noom_kill {kills}\n")
    return folder


def test_readings_of_this_machine() -> None:
    if not Path("/proc/meminfo").exists():
        pytest.skip("no /proc")
    found = read_memory()
    assert found is not None
    assert 0 < found.available <= found.total
    before = used_memory(os.getpid())
    block = bytearray(200 * MIB)
    block[::4096] = b"x" * len(block[::4096])
    grown = used_memory(os.getpid()) - before
    assert 190 * MIB < grown < 260 * MIB
    assert used_memory(2**22 + 1) == 0


def test_the_tighter_of_machine_and_control_group_counts(tmp_path: Path) -> None:
    place = proc(tmp_path / "proc", 6000 * MIB, kills=3)
    groups = tmp_path / "cgroup"
    assert read_memory(place, groups) == Reading(6000 * MIB, 8192 * MIB, 3)
    (place / "self").mkdir()

    (place / "self/cgroup").write_text("0::/a/b\n")
    inner = groups / "a/b"
    inner.mkdir(parents=True)
    for folder, limit, used in ((inner, "max", 10 * MIB), (groups / "a", 2048 * MIB, 1500 * MIB)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {400 * MIB}\nactive_file 0\n")
    assert read_memory(place, groups) == Reading((2048 - 1100) * MIB, 2048 * MIB, 3)

    (place / "self/cgroup").write_text("5:cpu,cpuacct:/x\n4:memory:/elsewhere\n")
    old = groups / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text(f"{1024 * MIB}\n")
    (old / "memory.usage_in_bytes").write_text(f"{512 * MIB}\n")
    (old / "memory.stat").write_text(f"total_inactive_file {100 * MIB}\n")
    assert read_memory(place, groups) == Reading(612 * MIB, 1024 * MIB, 3)
    assert read_memory(tmp_path / "nothing", groups) is None


def guard(available: int, floor: int | None = None, busy: tuple[int, ...] = ()) -> MemoryGuard:
    return MemoryGuard(
        {"cpu": 3}, lambda: dict.fromkeys(busy, "cpu"), floor,
        lambda: Reading(available * MIB, 8192 * MIB),
    )  # fmt: skip


def test_room_is_what_running_and_further_cells_may_still_grow() -> None:
    used = {0: 1000 * MIB, 1: 600 * MIB, 2: 100 * MIB}
    one = guard(2000, 500 * MIB, busy=(0,))
    one.update(used)
    assert one.has_room(2, "cpu")  # 500 + 0 + 900
    one = guard(1700, 500 * MIB, busy=(0, 1))
    one.update(used)
    assert not one.has_room(2, "cpu")  # 500 + 0 + 400 + 900
    assert one.short
    assert "fewer cells at once" in one.shortage()
    one = guard(1700, 500 * MIB, busy=(0,))
    one.update(used)
    assert one.has_room(0, "cpu")  # one may always run
    assert not one.short
    assert guard(100, 0, busy=(0,)).has_room(1, "cpu")  # turned off
    assert guard(0).floor == int(0.05 * 8192 * MIB)
    assert MemoryGuard({"cpu": 2}, lambda: {0: "cpu"}, read=lambda: None).has_room(1, "cpu")


def test_limits_fall_by_one_where_memory_was_used_up() -> None:
    busy = {0: "cuda:0", 1: "cuda:1", 2: "cuda:0"}
    one = MemoryGuard(
        {"cuda:0": 3, "cuda:1": 3}, lambda: busy, None, lambda: Reading(8000 * MIB, 8192 * MIB)
    )
    assert not one.single_slot("cuda:0")
    assert one.lower_limit(0, "cuda:0") == "at most 1 cell at once on cuda:0 from now on"
    assert one.single_slot("cuda:0")
    assert not one.single_slot("cuda:1")
    busy = {0: "cuda:0"}
    assert one.lower_limit(0, "cuda:0") == ""
    assert not one.has_room(4, "cuda:0")
    assert one.has_room(5, "cuda:1")
    busy = {1: "cuda:1", 2: "cuda:0"}  # the slot whose worker was killed is free by then
    assert one.lower_limit(0, "memory") == "at most 2 cells at once from now on"
    busy = {0: "cuda:0", 1: "cuda:1"}
    assert not one.has_room(5, "cuda:1")


def test_only_sigkill_with_memory_short_or_a_counted_kill_is_a_lack_of_memory() -> None:
    readings = [Reading(4000 * MIB, 8192 * MIB, 7)]
    one = MemoryGuard({"cpu": 2}, dict, None, lambda: readings[-1])
    assert not one.killed_by_oom(-signal.SIGKILL)
    assert not one.killed_by_oom(-signal.SIGSEGV)
    readings.append(Reading(4000 * MIB, 8192 * MIB, 8))
    assert not one.killed_by_oom(1)
    assert one.killed_by_oom(-signal.SIGKILL)
    assert not one.killed_by_oom(-signal.SIGKILL)  # that kill has been counted
    readings.append(Reading(100 * MIB, 8192 * MIB, 8))
    one.update({})
    readings.append(Reading(6000 * MIB, 8192 * MIB, 8))  # its own memory is free again
    assert one.killed_by_oom(-signal.SIGKILL)


def test_what_says_that_memory_is_used_up() -> None:
    assert out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("shapes differ"))


def test_a_worker_killed_while_memory_is_short_leaves_fewer_at_once(tmp_path: Path) -> None:
    place = proc(tmp_path / "proc", 6000 * MIB)
    events = Events()

    def on_event(event: Event) -> None:
        events(event)
        if event.kind == "started" and event.key == "j1":
            proc(tmp_path / "proc", 6000 * MIB, kills=1)  # as the kernel counts its kills

    acts = [("nap", 0.3), ("signal-once", str(tmp_path / "x")), *[("nap", 0.1)] * 6]
    outcomes = LocalExecutor(
        "fakes:act", slots=2, attempts=1, read_memory=lambda: read_memory(place)
    ).run(jobs(*acts), on_event)
    assert [o.status for o in outcomes] == ["done"] * 8
    again = [e for e in events if e.kind == "requeued"]
    assert [(e.key, e.outcome.reason) for e in again if e.outcome] == [
        ("j1", "out of memory; at most 1 cell at once from now on")
    ]
    assert events.most_at_once() == 2
    assert Events(events[events.index(again[0]) + 1 :]).most_at_once() == 1


def test_a_worker_killed_by_hand_changes_nothing(tmp_path: Path) -> None:
    place = proc(tmp_path / "proc", 6000 * MIB)
    events = Events()
    acts = [("signal-once", str(tmp_path / "x")), *[("nap", 0.7)] * 6]
    outcomes = LocalExecutor("fakes:act", slots=2, read_memory=lambda: read_memory(place)).run(
        jobs(*acts), events
    )
    assert [o.status for o in outcomes] == ["done"] * 7
    again = next(e for e in events if e.kind == "requeued")
    assert Events(events[events.index(again) + 1 :]).most_at_once() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
def test_a_cell_that_is_refused_memory_is_run_again_alone(tmp_path: Path) -> None:
    log, events = tmp_path / "log", Events()
    acts = [("grow", 600, str(tmp_path / "x")), ("nap", 0.3), ("nap", 0.3), ("nap", 0.1)]
    outcomes = LocalExecutor("fakes:act", slots=2, attempts=1).run(jobs(*acts, log=log), events)
    assert [(o.status, o.attempts) for o in outcomes] == [("done", 1)] * 4
    again = next(e for e in events if e.kind == "requeued")
    assert again.outcome is not None
    assert again.outcome.reason == "MemoryError; at most 1 cell at once from now on"
    assert Events(events[events.index(again) + 1 :]).most_at_once() == 1
    # Alone it has all there is: then the failure is its own, and final.
    lost: list[str] = []
    outcomes = LocalExecutor(
        "fakes:act", slots=1, on_lost=lambda job, status, reason: lost.append(status)
    ).run(jobs(("raise", "memory"), ("nap", 0)), Events())
    assert [o.status for o in outcomes] == ["failed", "done"]
    assert lost == ["failed"]


def test_cells_wait_while_memory_is_short_and_one_line_says_so(tmp_path: Path) -> None:
    place = proc(tmp_path / "proc", 200 * MIB)
    events = Events()

    def on_event(event: Event) -> None:
        events(event)
        if event.kind == "finished" and event.key == "j2":
            proc(tmp_path / "proc", 6000 * MIB)

    outcomes = LocalExecutor("fakes:act", slots=3, read_memory=lambda: read_memory(place)).run(
        jobs(*[("nap", 0.1)] * 3, *[("nap", 1.5)] * 4), on_event
    )
    assert [o.status for o in outcomes] == ["done"] * 7
    free = next(i for i, e in enumerate(events) if e.kind == "finished" and e.key == "j2")
    assert Events(events[:free]).most_at_once() == 1
    assert Events(events[free:]).most_at_once() >= 2
    notices = [e.text for e in events if e.kind == "notice"]
    assert len(notices) == 1
    assert notices[0].startswith("memory is short (0.2 GiB available")


def test_a_further_cell_is_expected_to_grow_like_the_largest() -> None:
    events = Events()
    one = LocalExecutor(
        "fakes:act",
        slots=2,
        read_memory=lambda: Reading(4000 * MIB, 8192 * MIB),
        free_memory=3800 * MIB,
    )
    outcomes = one.run(jobs(("hold", 400, 2.5), ("nap", 1.6), ("nap", 0.1), ("nap", 0.1)), events)
    assert [o.status for o in outcomes] == ["done"] * 4
    assert any(event.kind == "notice" for event in events)
    # Both began, nothing being known; once 400 MiB were seen, nothing began beside them.
    order = [(event.kind, event.key) for event in events if event.kind in ("started", "finished")]
    assert order.index(("started", "j1")) < order.index(("finished", "j0"))
    assert order.index(("finished", "j0")) < order.index(("started", "j2"))


@pytest.mark.parametrize("retry_on_oom", [True, False])
def test_a_real_cell_gives_its_claim_back_and_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retry_on_oom: bool
) -> None:
    from prunebench.bench.runs import execute as module

    def refuse(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(module, "load_task", refuse)
    cell, store = small_cell("full"), Store.open(tmp_path / "r")
    context = WorkerContext(retry_on_oom=retry_on_oom)
    if retry_on_oom:
        with pytest.raises(torch.OutOfMemoryError):
            run_cell(cell, store, context=context)
        assert store.get(cell.spec.key) is None
    else:
        record, _ = run_cell(cell, store, context=context)
        assert record.status == "failed"
        assert record.reason.startswith("out of memory: CUDA out of memory")
    assert not list(store.claims.glob("*.json"))
