"""Failures that take their time: a disk that fills up again and again, a tracking server that is
slow and dies, methods that hang."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.tracking.sync import default_experiment
from prunebench.record import FINAL
from support.command import command, figures, prunebench
from support.faults import Child, fill, grid, same_results, small_disk, tiny_grid, whole
from support.processes import free_port

METHODS = ["random", "random-dynamic", "small-loss", "forgetting", "infobatch"]


def final(root: Path) -> dict[str, str]:
    """Digest of every final record."""
    scan = Store(root).scan()
    assert not scan.problems, scan.problems
    return {record.key: record.digest for record in scan.records if record.status in FINAL}


@pytest.mark.soak
def test_a_disk_that_fills_up_again_and_again_under_two_workers(tmp_path: Path) -> None:
    toml = tiny_grid(tmp_path / "g.toml", METHODS, seeds=range(8), epochs=12)
    assert grid(toml, tmp_path / "calm").code == 0
    dice, phases, kept = random.Random(3), 0, dict[str, str]()
    with small_disk(tmp_path / "disk", "3m") as disk:
        root = disk / "r"
        line = command("grid", toml, "--out", root, "-w", "2", "--no-mlflow", "-q",
                       "--checkpoint-s", "0")  # fmt: skip
        for _ in range(4):
            driver = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
            have = len(final(root)) if (root / "records").is_dir() else 0
            until = have + dice.randint(1, 12)
            while driver.poll() is None and (
                not (root / "records").is_dir() or len(Store(root).keys()) < until
            ):
                time.sleep(0.02)
            if driver.poll() is None:
                fill(disk)
                phases += 1
            said = driver.communicate(timeout=300)[1]
            now = final(root)
            assert kept.items() <= now.items()
            kept = now
            if driver.returncode == 0:
                break
            assert driver.returncode == 1
            assert len(said.splitlines()) == 1
            assert "No space left on device" in said
            (disk / "ballast").unlink()
        assert phases >= 2
        said = Child(*[*line[3:]]).wait()
        assert said.code == 0, said.err
        same_results(root, tmp_path / "calm")
        assert not list((root / "quarantine").iterdir())


HANGS = """
import ctypes, signal, time
import torch
from prunebench.methods.base import DynamicPruner, register_method

class Hangs(DynamicPruner):
    def plan(self, progress, tables, rng):
        self.hang()
        return self.everything()

@register_method("sleeps")
class Sleeps(Hangs):
    def hang(self):
        time.sleep(600)

@register_method("deaf")
class Deaf(Hangs):
    def hang(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)

@register_method("holds-the-interpreter")
class Holds(Hangs):
    def hang(self):
        ctypes.PyDLL(None).sleep(600)
"""


@pytest.mark.soak
def test_methods_that_hang_end_at_the_time_limit_and_the_others_go_on(tmp_path: Path) -> None:
    plugin = tmp_path / "hangs.py"
    plugin.write_text(HANGS)
    names = ["sleeps", "deaf", "holds-the-interpreter"]
    toml = tiny_grid(tmp_path / "g.toml", [*names, "random", "small-loss"])
    root = tmp_path / "r"
    begin = time.monotonic()
    words = ["--out", root, "-w", "2", "--no-mlflow", "-q", "--time-limit", "8"]
    said = Child("--plugin", plugin, "grid", toml, *words).wait()
    assert said.code == 1
    assert time.monotonic() - begin < 120
    records = {r.spec["method"]["name"]: r for r in Store(root).scan().records}
    for name in names:
        assert (records[name].status, records[name].reason) == ("failed", "time limit of 8 s")
    lines = said.err.splitlines()
    assert len(lines) == len(names)
    assert all(any(f" {name} " in line for line in lines) for name in names)
    assert {records[name].status for name in ("random", "small-loss")} <= {"done", "diverged"}
    whole(root)


@contextmanager
def proxy(port: int, delay_s: float) -> Iterator[int]:
    """Passes everything on to a port of this machine, every piece of it late."""
    server = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(delay_s)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                near = server.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", port))
            except OSError:
                near.close()
                continue
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A real tracking server on a database of its own."""
    line = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'server.db'}",
            "--default-artifact-root", str(folder / "artifacts")]  # fmt: skip
    with open(folder / "server.log", "ab") as log:
        server = subprocess.Popen(line, stdout=log, stderr=log, process_group=0)
    try:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        else:
            pytest.fail((folder / "server.log").read_text()[-2000:])
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.soak
def test_a_slow_tracking_server_that_dies_in_the_middle(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    toml = tiny_grid(tmp_path / "g.toml", METHODS, seeds=range(4))
    root, port = tmp_path / "r", free_port()
    assert grid(toml, tmp_path / "calm").code == 0

    def runs() -> dict[str, str]:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = client.get_experiment_by_name(default_experiment(root))
        page = client.search_runs([found.experiment_id], max_results=1000) if found else []
        tags = [run.data.tags for run in page]
        live = [tag for tag in tags if not {"superseded_by", "orphaned"} & tag.keys()]
        return {tag["cell_key"]: tag.get("record_digest", "") for tag in live}

    with proxy(port, 0.1) as slow:
        uri = f"http://127.0.0.1:{slow}"
        with mlflow_server(tmp_path, port) as server:
            line = command("grid", toml, "--out", root, "-w", "2", "--mlflow-uri", uri, "-q")
            driver = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
            end = time.monotonic() + 300
            while len(runs()) < 3 and driver.poll() is None:
                assert time.monotonic() < end, "nothing reaches the server"
                time.sleep(0.2)
            assert driver.poll() is None
            os.killpg(server.pid, signal.SIGKILL)
            said = driver.communicate(timeout=300)[1]
        assert driver.returncode == 0, said
        assert figures(root) == figures(tmp_path / "calm")
        assert "runs not mirrored (" in said
        assert "`prunebench sync` writes them" in said
        assert "Traceback" not in said
    # The server's own database, without the server.
    uri = f"sqlite:///{tmp_path / 'server.db'}"
    wanted = {record.key: record.digest for record in Store(root).scan().records}
    assert runs() != wanted
    told = prunebench("sync", root, "--mlflow-uri", uri)
    assert told.code == 0, told.err
    assert runs() == wanted
