"""`prunebench ui`: a real server, on loopback, that leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.store import Store
from prunebench.bench.tracking import sync
from prunebench.leaderboard.bundle import unpack
from support.command import command, prunebench

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a mirror of one record."""
    root = tmp_path_factory.mktemp("ui") / "r"
    store = Store.open(root)
    record = store.save(unpack(_BUNDLE)[0])
    sync(root, [record], None, None)
    return root


def _session(pid: int) -> list[int]:
    """Living processes whose ancestors include one."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat[0] != "Z" and pid in (int(stat[1]), int(stat[3]), int(stat[2])):
            found.append(int(entry.name))
    return found


def _listening() -> set[tuple[str, int]]:
    """(address, port) of every listening IPv4 socket; IPv6 by its raw text."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A":
                host, _, port = address.partition(":")
                raw = bytes.fromhex(host)[::-1] if name == "tcp" else b""
                found.add((socket.inet_ntoa(raw) if raw else host, int(port, 16)))
    return found


@pytest.fixture(scope="module")
def served(results: Path) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """The running verb, its address and port; the wanted port is taken."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        child = subprocess.Popen(
            command("ui", results, "--port", str(taken)),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert child.stdout is not None
        line = child.stdout.readline()
        match = re.match(r"http://127\.0\.0\.1:(\d+) ", line)
        assert match, line
        port = int(match[1])
        assert port != taken
        yield child, line, port
        child.kill()
        child.wait()


def _get(url: str, patience_s: float = 90.0) -> tuple[int, bytes]:
    end = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read()
        except (OSError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def test_it_answers_on_loopback_alone_and_leaves_no_process(
    served: tuple[subprocess.Popen[str], str, int], results: Path
) -> None:
    child, line, port = served
    assert str(results) in line
    status, page = _get(f"http://127.0.0.1:{port}/")
    assert status == 200
    assert b"MLflow" in page
    assert {address for address, p in _listening() if p == port} == {"127.0.0.1"}
    (server,) = _children(child.pid)
    assert _session(server)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    end = time.monotonic() + 10
    while _session(server) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _session(server)
    assert port not in {p for _, p in _listening()}


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_other_hosts_need_a_word(results: Path, monkeypatch: Any) -> None:
    said = prunebench("ui", results, "--host", "0.0.0.0")
    assert said.code == 2
    assert "--allow-remote" in said.err
    assert said.err.count("\n") == 1
    from prunebench.bench.cli import ui

    started: list[list[str]] = []
    monkeypatch.setattr(ui, "_serve", lambda words: started.append(words) or 0)
    said = prunebench("ui", results, "--host", "0.0.0.0", "--port", "0", "--allow-remote")
    assert said.code == 0
    assert said.err.startswith("warning: ")
    assert said.err.count("\n") == 1
    (words,) = started
    assert words[words.index("--host") + 1] == "0.0.0.0"
    said = prunebench("ui", results, "--host", "localhost", "--port", "0")
    assert (said.code, said.err) == (0, "")
    host = started[1][started[1].index("--host") + 1]
    assert host in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 300, "\udcff"])
def test_hosts_that_are_none(results: Path, host: str) -> None:
    said = prunebench("ui", results, "--host", host)
    assert said.code == 2
    assert "unknown host" in said.err
    assert said.err.count("\n") == 1


def test_a_child_that_fails_is_no_success(results: Path, monkeypatch: Any) -> None:
    from prunebench.bench.cli import ui

    monkeypatch.setattr(ui, "_command", lambda *_: ["false"])
    assert prunebench("ui", results, "--port", "0").code == 1


def test_what_is_missing_is_named(results: Path, tmp_path: Path, monkeypatch: Any) -> None:
    said = prunebench("ui", tmp_path)
    assert (said.code, said.err.count("\n")) == (2, 1)
    Store.open(tmp_path / "r")
    said = prunebench("ui", tmp_path / "r")
    assert said.code == 2
    assert "prunebench sync" in said.err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = prunebench("ui", results)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "MLflow is not installed" in said.err
