"""The long soak: thousands of tiny cells under kill -9, a full disk and MLflow out of reach.

``make soak-full`` runs 2,000 cells; ``make soak`` a short form. Prints what was done to the grid.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.results.store import Store
from support.command import figures, prunebench
from support.jobs import gone
from support.killing import Shots, agrees, children
from support.mirrored import mirrored
from support.processes import free_port

#: Ten cells a seed, two of them on evidence that a full run leaves.
GRID = """
name = "thousands"
dataset = "digits"
noise = ["clean", "symmetric:0.4"]
method = ["full", "random", "random-dynamic", "small-loss", "infobatch"]
ratio = 0.5
seed = "0..{last}"
recipe_params = {{ epochs = {epochs} }}
"""
#: Shares of the cells after which the disk fills up, and MLflow goes away.
FULL_AT, DOWN_AT = (0.2, 0.7), (0.4, 0.85)
DISK_MIB = 1024
#: Bytes that one file may have where no disk of our own can be filled.
FILE_LIMIT = 1500


@dataclass
class Soak:
    """One campaign against one grid.

    Attributes:
        shots: The grid command and what has been seen of its records.
        cells: How many records there must be at the end.
        burst: Cells that are recorded between two kills at most.
        disk: A file system of ours that can be filled; None where none can be mounted.
        done: What was done, by name.
    """

    shots: Shots
    cells: int
    burst: int
    disk: Path | None
    done: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Disturbs the grid until it is complete."""
        phases: list[tuple[float, Callable[[], None]]] = sorted(
            [*((at, self._full) for at in FULL_AT), *((at, self._down) for at in DOWN_AT)],
            key=lambda phase: phase[0],
        )
        while self._count() < self.cells:
            if phases and self._count() >= phases[0][0] * self.cells:
                phases.pop(0)[1]()
            else:
                self._shoot()
        for _, phase in phases:
            phase()

    def _count(self) -> int:
        return len(self.shots.kept)

    def _start(self, *flags: str) -> subprocess.Popen[bytes]:
        self.done["starts"] += 1
        self.shots.flags = flags
        return self.shots.start()

    def _shoot(self) -> None:
        """One driver: workers die under it, then it does, some cells after one another."""
        driver = self._start()
        for _ in range(self.shots.dice.randint(0, 3)):
            self._wait(driver)
            workers = sorted(children(driver.pid))
            if driver.poll() is None and workers:
                os.kill(self.shots.dice.choice(workers), signal.SIGKILL)
                self.done["workers killed"] += 1
        self._wait(driver)
        if driver.poll() is None:
            workers = children(driver.pid)
            driver.kill()
            assert gone(workers, 5.0), "workers outlive their driver"
            self.done["drivers killed"] += 1
        driver.wait()
        self.shots.look()

    def _wait(self, driver: subprocess.Popen[bytes]) -> None:
        """Until some more cells are recorded, so that a slow machine gets on too, and a moment."""
        store = Store(self.shots.root)
        target = len(store.keys()) + self.shots.dice.randint(1, self.burst)
        end = time.monotonic() + 240
        while driver.poll() is None and len(store.keys()) < target:
            assert time.monotonic() < end, "no cell ends"
            time.sleep(0.05)
        time.sleep(self.shots.dice.random())

    def _full(self) -> None:
        """No room for a record: the command stops with a line; earlier records are kept."""
        log = self.shots.root.with_name("driver.log")
        with self._no_room():
            before = log.stat().st_size if log.exists() else 0
            driver = self._start("--no-mlflow")
            code = driver.wait(180)
            said = log.read_text()[before:]
            assert code != 0 or self._count() >= self.cells, said[-2000:]
            assert "Traceback" not in said, said[-2000:]
        self.done["disk full"] += 1
        self.shots.look()

    @contextmanager
    def _no_room(self) -> Iterator[None]:
        if self.disk is None:
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, limits[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            return
        filler = self.disk / "filler"
        with open(filler, "wb", buffering=0) as file:
            block = bytes(1 << 20)
            while len(block) > 512:
                try:
                    while file.write(block) == len(block):
                        pass
                except OSError:
                    pass
                block = block[: len(block) // 2]
        try:
            yield
        finally:
            filler.unlink()

    def _down(self) -> None:
        """Nobody listens where MLflow should, while cells go on and a worker dies."""
        uri = f"http://127.0.0.1:{free_port()}"
        driver = self._start("--mlflow-uri", uri)
        before = self._count()
        end = time.monotonic() + 120
        while driver.poll() is None and time.monotonic() < end:
            time.sleep(1.0)
            self.shots.look()
            if self._count() > before:
                break
        else:
            assert driver.poll() == 0, "no cell ended while MLflow was away"
        if driver.poll() is None:
            driver.send_signal(signal.SIGTERM)
            driver.wait(120)
        self.done["MLflow down"] += 1
        self.shots.look()


def soak(folder: Path, cells: int, epochs: int, burst: int) -> dict[str, object]:
    """Runs the whole campaign and checks its end.

    Args:
        folder: Empty; a file system of its own is mounted in it where that is allowed.
        cells: A multiple of 10.
        epochs: Of each cell.
        burst: Cells that are recorded between two kills at most.

    Returns:
        What was done and found.
    """
    toml = folder / "thousands.toml"
    toml.write_text(GRID.format(last=cells // 10 - 1, epochs=epochs))
    wanted = {cell.spec.key for cell in expand(*read_grid(toml))}
    assert len(wanted) == cells
    start = time.monotonic()
    with small_disk(folder / "disk") as disk:
        root = (disk or folder) / "shot"
        Store.open(root)
        shots = Shots(toml, root, random.Random(cells))
        campaign = Soak(shots, cells, burst, disk)
        campaign.run()
        shots.flags = ()
        shots.complete()
        store = Store(root)
        scan = store.scan()
        assert not scan.problems
        assert {record.key for record in scan.records} == wanted
        assert Counter(record.status for record in scan.records) == {"done": cells}
        assert len(list(store.records.iterdir())) == cells
        few = folder / "few.toml"
        few.write_text(GRID.format(last=1, epochs=epochs))
        said = prunebench("grid", few, "--out", folder / "peace", "-w", "1", "--no-mlflow", "-q")
        assert said.code == 0, said.err
        sample = figures(folder / "peace")
        agrees(root, root)
        found = figures(root)
        assert sample == {key: found[key] for key in sample}
        said = prunebench("sync", root)
        assert said.code == 0, said.err
        assert mirrored(root) == {record.key: record.digest for record in scan.records}
    return {
        "cells": cells,
        "records": len(scan.records),
        "equal to an undisturbed run": len(sample),
        "MLflow runs": cells,
        **campaign.done,
        "disk": "tmpfs, filled" if disk else f"files limited to {FILE_LIMIT} bytes",
        "minutes": round((time.monotonic() - start) / 60, 1),
        "host": socket.gethostname() and os.uname().machine,
    }


@contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """A tmpfs of our own, or None where mounting is not allowed."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


@click.command()
@click.option("--cells", default=2000, help="How many, a multiple of 10.")
@click.option("--epochs", default=2, help="Of each cell.")
@click.option("--burst", default=40, help="Cells between two kills at most.")
def main(cells: int, epochs: int, burst: int) -> None:
    """Runs the soak in a temporary folder and prints its figures."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(soak(Path(folder), cells, epochs, burst), indent=2))


if __name__ == "__main__":
    main()
