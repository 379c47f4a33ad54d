"""The real grid command on Ray clusters of its own: private, killed, and equal to the local one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from prunebench.bench.grids.grid_file import PRESETS
from prunebench.bench.results.store import Store
from support.command import command, prunebench
from support.jobs import gone
from support.killing import GRID, agrees, needs_proc
from support.rays import listening, ray_processes

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="Ray clusters run on Linux"),
]
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def grid(toml: Path | str, out: Path, executor: str, *flags: str) -> subprocess.Popen[bytes]:
    """The command of a user, in a process group of its own."""
    pytest.importorskip("ray")
    needs_proc()
    words = ["grid", toml, "--no-mlflow", "-q", "-w", "2", "--out", out, "--executor", executor]
    with open(out.with_name("driver.log"), "ab") as log:
        return subprocess.Popen(command(*words, *flags), stdout=log, stderr=log, process_group=0)


def until(look: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    """Waits for something to come true."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_a_cluster_of_its_own_is_private_and_leaves_nothing(tmp_path: Path) -> None:
    toml = tmp_path / "tiny.toml"
    toml.write_text(GRID.format(epochs=3, last=0))
    driver = grid(toml, tmp_path / "ray", "ray")
    mark, hosts, seen = f"-{driver.pid}-", set[str](), dict[int, str]()
    modes, actors = set[int](), set[int]()
    while driver.poll() is None:
        with suppress(FileNotFoundError):
            modes |= {f.stat().st_mode & 0o777 for f in Path("/tmp").glob(f"pbray{mark}*")}
        found = ray_processes(mark)
        seen |= found
        # Ray names a process by what it does at the moment.
        actors |= {pid for pid, words in found.items() if "ray::NodeActor" in words}
        hosts |= listening([*found, driver.pid])
        time.sleep(1.0)
    said = (tmp_path / "driver.log").read_text()
    assert driver.returncode == 0, said
    assert said.split() == f"out {tmp_path / 'ray'} cells 12 recorded before 0 done 12".split()
    assert any("gcs_server" in words for words in seen.values())
    assert len(actors) == 2
    assert modes == {0o700}
    assert hosts
    assert hosts <= LOOPBACK
    until(lambda: gone(seen), "Ray outlives its driver", 60.0)
    assert not list(Path("/tmp").glob(f"pbray{mark}*"))
    assert prunebench("grid", toml, "--no-mlflow", "-q", "--out", tmp_path / "local").code == 0
    agrees(tmp_path / "ray", tmp_path / "local")
    assert {r.environment["threads"] for r in Store(tmp_path / "ray").scan().records} == {1}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_is_stopped_goes_on_where_it_was(
    tmp_path: Path, number: signal.Signals
) -> None:
    toml, root = tmp_path / "tiny.toml", tmp_path / "shot"
    toml.write_text(GRID.format(epochs=12, last=0))
    words = (toml, root, "ray", "--checkpoint-s", "0")
    driver = grid(*words)
    store = Store(root)
    until(lambda: store.records.is_dir() and len(store.keys()) >= 3, "no cell ends")
    seen = list(ray_processes(f"-{driver.pid}-"))
    assert len(seen) > 5
    if number == signal.SIGINT:
        os.killpg(driver.pid, number)  # as a terminal does
    else:
        driver.kill()
    assert driver.wait(60) == (1 if number == signal.SIGINT else -signal.SIGKILL)
    # Agents whose node was killed look for it a few times before they leave.
    until(lambda: gone(seen), "Ray outlives its driver", 90.0)
    stood = {r.key: r.digest for r in store.scan().records}
    assert 3 <= len(stood) < 12
    assert grid(*words).wait(600) == 0, (tmp_path / "driver.log").read_text()[-2000:]
    assert stood.items() <= {r.key: r.digest for r in store.scan().records}.items()
    assert prunebench("grid", toml, "--no-mlflow", "-q", "--out", tmp_path / "local").code == 0
    agrees(root, tmp_path / "local")


def test_the_demo_grid_equals_the_local_one_bit_for_bit(tmp_path: Path) -> None:
    """All its methods and noises, two of its five seeds."""
    toml, demo = tmp_path / "demo.toml", (PRESETS / "demo.toml").read_text()
    toml.write_text(demo.replace('seed = "0..4"', 'seed = "0..1"'))
    for executor in ("local", "ray"):
        driver = grid(toml, tmp_path / executor, executor)
        assert driver.wait(3600) == 0, (tmp_path / "driver.log").read_text()[-2000:]
    assert len(Store(tmp_path / "ray").keys()) == 54
    agrees(tmp_path / "ray", tmp_path / "local")
