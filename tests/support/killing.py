"""The real grid command under kill -9."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prunebench.bench.results.claims import Claims
from prunebench.bench.results.store import Store
from prunebench.record import FINAL
from support.command import command, figures
from support.jobs import gone

#: 24 cells, 8 of them static on evidence that 4 full-data runs share.
GRID = """
name = "tiny"
dataset = "digits"
noise = ["clean", "symmetric:0.4"]
method = ["full", "random", "random-dynamic", "small-loss", "forgetting", "infobatch"]
ratio = 0.5
seed = "0..{last}"
recipe_params = {{ epochs = {epochs} }}
"""


@dataclass
class Shots:
    """A grid that is started, shot at and started again.

    Attributes:
        toml: The grid file.
        root: Its results folder.
        dice: Chooses moments and victims.
        flags: Further words of the command line.
        kept: Digest by key of every final record that was ever seen.
    """

    toml: Path
    root: Path
    dice: random.Random
    flags: Sequence[str] = ()
    kept: dict[str, str] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[bytes]:
        """The command of a user, in a process group of its own."""
        words = ["grid", self.toml, "--out", self.root, "-w", "2", "--checkpoint-s", "0", "-q"]
        with open(self.root.with_name("driver.log"), "ab") as log:
            return subprocess.Popen(
                command(*words, *self.flags), stdout=log, stderr=log, process_group=0
            )

    def look(self) -> None:
        """Checks that the records are whole and that none was lost or made anew."""
        scan = Store(self.root).scan()
        assert not scan.problems, scan.problems
        found = {record.key: record.digest for record in scan.records if record.status in FINAL}
        assert self.kept.items() <= found.items()
        self.kept = found

    def fire(self, victims: Sequence[str], cells: int, nap: float) -> None:
        """Kills the driver or one of its workers, each at a random moment of a cell.

        A driver that outlives the shot at a worker goes on, and the next shot falls on it.

        Args:
            victims: ``driver`` or ``worker``, one for each shot.
            cells: Cells that end between two shots at most; counted, so that the speed of the
                machine does not matter.
            nap: Seconds to wait after that at most.
        """
        driver = self.start()
        try:
            for victim in victims:
                driver = self._at_work(driver, self.dice.randint(0, cells))
                time.sleep(self.dice.random() * nap)
                while not (workers := children(driver.pid)):  # a worker is being replaced
                    driver = self._at_work(driver, 0)
                if victim == "worker":
                    os.kill(self.dice.choice(sorted(workers)), signal.SIGKILL)
                else:
                    driver.kill()
                    driver.wait()
                    assert gone(workers, 5.0), "workers outlive their driver"
                self.look()
        finally:
            driver.kill()
            driver.wait()
        self.look()

    def _at_work(self, driver: subprocess.Popen[bytes], cells: int) -> subprocess.Popen[bytes]:
        """Waits until some cells have ended and one of the driver's workers holds another;
        starts a new driver where this one has ended."""
        claims, store = Claims(self.root / "claims"), Store(self.root)
        target = cells + (len(store.keys()) if store.records.is_dir() else 0)
        end = time.monotonic() + 240
        while time.monotonic() < end:
            if driver.poll() is not None:
                assert driver.returncode != 0, "the grid was done before the last shot"
                driver = self.start()
            workers = children(driver.pid)
            keys = [path.stem for path in claims.folder.glob("*.json")]
            begun = bool(workers and keys) and len(store.keys()) >= target
            for holder in map(claims.holder, keys if begun else []):
                if holder and holder.process and holder.process.pid in workers:
                    return driver
            time.sleep(0.02)
        raise AssertionError(self.root.with_name("driver.log").read_text()[-2000:])

    def complete(self, tries: int = 3) -> None:
        """Starts the command until it says that everything is done."""
        for _ in range(tries):
            driver = self.start()
            if driver.wait(600) == 0:
                break
        else:
            pytest.fail(self.root.with_name("driver.log").read_text()[-2000:])
        self.look()


def children(pid: int) -> set[int]:
    """Child processes, from /proc."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def agrees(root: Path, undisturbed: Path) -> None:
    """Checks a completed grid: same figures bit for bit, nothing doubled, nothing left behind."""
    found, wanted = figures(root), figures(undisturbed)
    assert found.keys() == wanted.keys()
    for key in found:
        assert found[key] == wanted[key], f"{key}: {found[key]} against {wanted[key]}"
    for record in Store(root).scan().records:
        for name in record.artifacts:
            Store(root).artifact(record.key, name)  # its bytes are those of its digest
    assert not list((root / "claims").glob("*.json"))
    assert not list((root / "checkpoints").iterdir())
    reasons = [path.read_text() for path in (root / "quarantine").glob("*/reason.json")]
    assert not reasons
    assert not list((root / "quarantine").iterdir())


def needs_proc() -> None:
    """Skips where there is no /proc to find the workers in."""
    if not Path("/proc/self/task").exists():
        pytest.skip("finds the workers in /proc")
