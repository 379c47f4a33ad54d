"""A driver that is killed with -9 again and again loses, tears and doubles nothing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from prunebench.bench.results.process import alive
from prunebench.bench.results.store import Store
from prunebench.record import content_key

FAKES = Path(__file__).parents[1] / "bench" / "executors" / "fakes.py"
SLOTS, NAP = 2, 0.1


ORPHAN = """
import os, sys, time
from prunebench.bench.executors.local import worker
if os.fork() == 0:
    os.setpgid(0, 0)
    sys.platform = "elsewhere"
    worker.follow_parent(os.getppid())
    print(os.getpid(), flush=True)
time.sleep(60)
"""


def start(root: Path, cells: int, nap: float = NAP) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, FAKES, root, str(cells), str(SLOTS), str(nap)])


def children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def computed(root: Path) -> Counter[str]:
    log = root / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(line.split()[0] for line in lines)


def all_gone(pids: set[int]) -> bool:
    end = time.monotonic() + 2.0
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def kill_again_and_again(root: Path, kills: int, cells: int, dice: random.Random) -> None:
    seen: dict[str, str] = {}
    for _ in range(kills):
        driver, before = start(root, cells), sum(computed(root).values())
        target, deadline = before + dice.randint(1, 5), time.monotonic() + 60
        while sum(computed(root).values()) < target and driver.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(dice.random() * NAP)
        workers = children(driver.pid)
        assert workers or driver.poll() is not None
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert all_gone(workers)
        scan = Store(root).scan()
        assert not scan.problems
        found = {record.key: record.digest for record in scan.records}
        # Each record holds random bytes: the same digest means that it was not made anew.
        assert seen.items() <= found.items()
        seen = found
    last = start(root, cells)
    assert last.wait(120) == 0
    store = Store(root)
    scan = store.scan()
    assert not scan.problems
    found = {record.key: record.digest for record in scan.records}
    assert found.keys() == {content_key({"cell": number}) for number in range(cells)}
    assert seen.items() <= found.items()
    for record in scan.records:
        assert store.artifact(record.key, "b.txt").decode() == record.info["once"]
        assert len(store.artifact(record.key, "a.bin")) == 20_000
    # A kill costs at most the cells that were running.
    assert sum(computed(root).values()) <= cells + kills * SLOTS
    assert not list((root / "claims").glob("*.json"))


def needs_proc() -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("finds the workers in /proc")


def test_workers_end_with_their_driver_in_the_middle_of_a_cell(tmp_path: Path) -> None:
    needs_proc()
    driver = start(tmp_path / "results", 4, 60.0)
    while len(computed(tmp_path / "results")) < SLOTS:
        time.sleep(0.01)
    workers = children(driver.pid)
    assert len(workers) == SLOTS
    driver.kill()
    driver.wait()
    assert all_gone(workers)


def test_a_worker_notices_without_help_of_the_kernel() -> None:
    driver = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    assert alive(worker)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    assert all_gone({worker})


def test_three_kills(tmp_path: Path) -> None:
    needs_proc()
    kill_again_and_again(tmp_path / "results", 3, 20, random.Random(0))


@pytest.mark.soak
def test_twenty_kills(tmp_path: Path) -> None:
    needs_proc()
    kill_again_and_again(tmp_path / "results", 20, 120, random.Random(1))


@pytest.mark.soak
def test_workers_killed_at_random_while_two_drivers_run(tmp_path: Path) -> None:
    needs_proc()
    root, cells, dice = tmp_path / "results", 80, random.Random(2)
    drivers = [start(root, cells) for _ in range(2)]
    shots = 0
    while len(computed(root)) < 4:  # workers that never come to work end a driver, rightly
        time.sleep(0.01)
    while any(driver.poll() is None for driver in drivers):
        time.sleep(0.25)
        victims = sorted(set().union(*(children(driver.pid) for driver in drivers)))
        if victims and shots < 12:
            shots += 1
            subprocess.run(["kill", "-9", str(dice.choice(victims))], check=False)
    assert shots
    assert [driver.wait() for driver in drivers] == [0, 0]
    scan = Store(root).scan()
    assert not scan.problems
    # A cell whose worker was shot twice ends as killed and is left to the next run.
    assert start(root, cells).wait(60) == 0
    assert len(Store(root).keys()) == cells
