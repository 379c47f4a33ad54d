"""`prunebench ui`: a real server, on loopback, that leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.tracking import sync
from prunebench.bench.tracking.database import default_uri
from prunebench.bench.tracking.view import experiment_tags
from prunebench.leaderboard.bundle import unpack
from support.browser import browser, why_no_browser
from support.command import command, prunebench, refused
from support.mirrored import client, fresh_database

_BUNDLE = Path(__file__).parents[3] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a mirror of one record."""
    root = tmp_path_factory.mktemp("ui") / "r"
    store = Store.open(root)
    fresh_database(root / "mlflow.db")
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
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert child.stdout is not None
        line = child.stdout.readline()
        match = re.match(r"http://127\.0\.0\.1:(\d+)/#/experiments/\d+/runs\?\S+  shows ", line)
        assert match, line
        port = int(match[1])
        assert port != taken
        yield child, line, port
        child.terminate()  # it ends its server; killed, it could not
        child.communicate(timeout=120)


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


@pytest.mark.soak
@pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser())
def test_the_address_shows_the_table_of_runs(
    served: tuple[subprocess.Popen[str], str, int], tmp_path: Path
) -> None:
    """In a real browser: the experiment's runs, and ours among the columns."""
    _, line, _ = served
    with browser(tmp_path) as page:
        page.cdp("Emulation.setDeviceMetricsOverride", width=1400, height=900,
                 deviceScaleFactor=1, mobile=False)  # fmt: skip
        page.driver.get(line.split()[0])
        end = time.monotonic() + 60
        wanted = ("final/test_acc", "method", "noise", "ratio")
        shown: list[str] = []
        while time.monotonic() < end and not set(wanted) <= set(shown):
            time.sleep(0.5)
            shown = page.driver.execute_script("return document.body.innerText").splitlines()
    assert set(wanted) <= set(shown)
    assert unpack(_BUNDLE)[0].spec["method"]["name"] in shown


@pytest.mark.soak
def test_it_answers_on_loopback_alone_and_leaves_no_process(
    served: tuple[subprocess.Popen[str], str, int], results: Path
) -> None:
    child, line, port = served
    assert str(results) in line
    status, page = _get(f"http://127.0.0.1:{port}/", 0)  # the line comes once it answers
    assert status == 200
    assert b"MLflow" in page
    assert {address for address, p in _listening() if p == port} == {"127.0.0.1"}
    (server,) = _children(child.pid)
    assert _session(server)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (0, "")
    assert re.fullmatch(r"port \d+ is taken\n", err)  # no logs of requests
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
    monkeypatch.setattr(ui, "_serve", lambda words, line: started.append(words) or 0)
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

    monkeypatch.setattr(ui, "_command", lambda *_: ["sh", "-c", "echo no luck; false"])
    said = prunebench("ui", results, "--port", "0")
    assert (said.code, said.out) == (1, "")
    assert said.err == "prunebench: MLflow's server ended:\nno luck\n"


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


def _garbage(database: Path) -> None:
    database.write_bytes(b"torn" * 5000)


def _cut(database: Path) -> None:
    os.truncate(database, 4096 * 3)


def _endless(database: Path) -> None:
    with sqlite3.connect(database) as changed:
        changed.execute("DROP TABLE experiment_tags")
        changed.execute(
            "CREATE VIEW experiment_tags AS WITH RECURSIVE n(i) AS "
            "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        )


@pytest.mark.parametrize("spoil", [_garbage, _cut, _endless])
def test_a_hostile_database_is_one_line(
    results: Path, tmp_path: Path, monkeypatch: Any, spoil: Callable[[Path], None]
) -> None:
    from prunebench.bench.cli import ui

    monkeypatch.setattr(ui, "_serve", lambda *_: pytest.fail("a server was started"))
    Store.open(tmp_path / "r")
    spoil(Path(shutil.copyfile(results / "mlflow.db", tmp_path / "r/mlflow.db")))
    refused(prunebench("ui", tmp_path / "r", "--port", "0"), "mlflow.db", "`prunebench sync`")


def test_folders_of_earlier_versions_and_other_names_show_their_runs(
    results: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """The view is added where it lacks; a renamed folder shows the experiment it has."""
    from prunebench.bench.cli import ui

    lines: list[str] = []
    monkeypatch.setattr(ui, "_serve", lambda _, line: lines.append(line) or 0)
    renamed = shutil.copytree(results, tmp_path / "renamed")
    with sqlite3.connect(renamed / "mlflow.db") as changed:
        changed.execute("DELETE FROM experiment_tags")
    assert prunebench("ui", renamed, "--port", "0").code == 0
    assert "/#/experiments/1/runs?" in lines[0]
    (experiment,) = [
        one for one in client(default_uri(renamed)).search_experiments() if one.name != "Default"
    ]
    assert experiment.tags.items() >= experiment_tags().items()
    assert all(len(value) <= 5000 for value in experiment_tags().values())
