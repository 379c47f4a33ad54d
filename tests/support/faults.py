"""Real processes that meet real failures; forked from the test, so that none imports torch anew."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.cli import main
from prunebench.bench.results.store import Store
from support.command import Said, figures, prunebench

NOBODY = 65534

#: A cell of this kind trains for a tenth of a second: 6 epochs of 9 steps.
TINY = {
    "dataset": "synthetic",
    "dataset_params": {"n": 180, "test": 60, "classes": 4, "superclasses": 2, "size": 8},
    "recipe_params": {"epochs": 6, "batch_size": 16, "model": "mlp",
                      "model_params": {"width": 8, "depth": 1}},
}  # fmt: skip
GRID = """
name = "tiny"
dataset = "synthetic"
dataset_params = {{ n = 180, test = 60, classes = 4, superclasses = 2, size = 8 }}
noise = "symmetric:0.4"
ratio = 0.5
method = {methods}
seed = {seeds}
[recipe_params]
epochs = {epochs}
batch_size = 16
model = "mlp"
model_params = {{ width = 8, depth = 1 }}
"""


def tiny_grid(
    path: Path, methods: Sequence[str], seeds: Sequence[int] = (0,), epochs: int = 6
) -> Path:
    """Writes a grid of tiny cells to a file and returns its path."""
    lists = {"methods": json.dumps(list(methods)), "seeds": json.dumps(list(seeds))}
    path.write_text(GRID.format(**lists, epochs=epochs))
    return path


class Child:
    """A forked process that runs the command line; its output, 64 kB at most, is kept.

    Args:
        words: Arguments of ``prunebench``.
        before: Called in the child first: limits, another user, a trap for a certain step.
    """

    def __init__(self, *words: object, before: Callable[[], Any] = lambda: None) -> None:
        self._said: Said | None = None
        self._pipes = [os.pipe(), os.pipe()]  # no files: what a child may write is at stake
        self.pid = os.fork()
        if self.pid == 0:
            self._run([str(word) for word in words], before)
        for _, writer in self._pipes:
            os.close(writer)

    def _run(self, words: list[str], before: Callable[[], Any]) -> None:
        code: Any = 70
        try:
            for number, (_, writer) in enumerate(self._pipes, start=1):
                os.dup2(writer, number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
            signal.signal(signal.SIGINT, signal.default_int_handler)
            before()
            sys.argv = ["prunebench", *words]
            main()
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            os._exit(code if isinstance(code, int) else 70)

    def wait(self, timeout_s: float = 120.0) -> Said:
        """Waits for its end; a killed one has a negative code."""
        if self._said is None:
            end = time.monotonic() + timeout_s
            while True:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    break
                if time.monotonic() > end:
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    pytest.fail(f"hangs: {self._read()[1][-2000:]}")
                time.sleep(0.01)
            out, err = self._read()
            self._said = Said(os.waitstatus_to_exitcode(status), out, err)
        return self._said

    def _read(self) -> list[str]:
        found = []
        for reader, _ in self._pipes:
            os.set_blocking(reader, False)  # a child of the child may still hold the other end
            with open(reader, "rb") as file:
                found.append((file.read() or b"").decode())
        return found

    def send(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)


def grid(toml: Path, out: Path, *words: object, before: Callable[[], Any] = lambda: None) -> Said:
    """A grid in one process of its own, run to its end."""
    line = ("grid", toml, "--out", out, "-w", "1", "--no-mlflow", "-q", *words)

    def prepare() -> None:
        os.environ["PRUNEBENCH_INLINE"] = "1"
        before()

    return Child(*line, before=prepare).wait()


def at_step(number: int, action: Callable[[], Any]) -> None:
    """Has this process do something in the middle of its n-th optimiser step, counted from 1."""
    from prunebench.bench.train.step import Stepper

    real, count = Stepper.train, 0

    def step(self: Any, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            action()
        real(self, *arguments)

    Stepper.train = step  # type: ignore[method-assign]


def count_steps(path: Path) -> None:
    """Has this process write one byte per optimiser step."""
    from prunebench.bench.train.step import Stepper

    real = Stepper.train

    def step(self: Any, *arguments: Any) -> None:
        with open(path, "ab") as file:
            file.write(b".")
        real(self, *arguments)

    Stepper.train = step  # type: ignore[method-assign]


def file_limit(size: int) -> Callable[[], None]:
    """No file of this process may grow beyond a size: a disk that is full, without one."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def become_nobody() -> None:
    """Gives up root's rights, to which read-only folders mean nothing."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


@cache
def _import_everything() -> None:
    """Runs a cell here: forked children that are nobody may not be able to read Python's files."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--dataset", "digits", "--method", "infobatch", "--ratio", "0.5", "--out", folder]
        said = prunebench("run", *words, "--recipe-param", "epochs=1", "--no-mlflow")
        assert said.code == 0, said.err


@contextmanager
def place_of_nobody() -> Iterator[Path]:
    """A folder that ``become_nobody`` may enter and write."""
    _import_everything()
    folder = Path(tempfile.mkdtemp(prefix="prunebench-nobody-"))
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)
        shutil.rmtree(folder)


@contextmanager
def small_disk(folder: Path, size: str = "4m") -> Iterator[Path]:
    """A file system of its own; skips where this user may mount none."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Writes a file until the file system of a folder is full."""
    path = folder / "ballast"
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def whole(root: Path) -> None:
    """Checks that nothing torn, held or half-done lies in a folder where nothing runs."""
    scan = Store(root).scan()
    assert not scan.problems, scan.problems
    for record in scan.records:
        for name in record.artifacts:
            Store(root).artifact(record.key, name)
    assert not list((root / "claims").glob("*.json"))
    assert not [path for path in (root / ".tmp").iterdir() if path.stat().st_nlink]


def same_results(root: Path, undisturbed: Path) -> None:
    """Checks that a folder holds what an undisturbed run gave, bit for bit, and nothing half."""
    whole(root)
    assert figures(root) == figures(undisturbed)
    assert not list((root / "checkpoints").iterdir())


def one_line(said: Said) -> str:
    """The one line on standard error; no traceback and nothing else."""
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert not re.search(r"Traceback|File \"", said.err)
    return lines[0]
