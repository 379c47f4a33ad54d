"""Worker processes that outlive one run of their executor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prunebench.bench.executors.base import Job
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.results.process import alive
from support.jobs import gone, pids


def nap(name: str, log: Path) -> list[Job]:
    return [Job(name, {"do": ["nap", 0], "name": name, "log": str(log)})]


@pytest.mark.usefixtures("fakes")
def test_kept_workers_serve_the_next_run_and_end_when_closed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    executor = LocalExecutor("fakes:act", slots=1, keep=True)
    try:
        for name in ("a", "b"):
            executor.run(nap(name, log), lambda event: None)
        first, second = pids(log)
        assert first == second != os.getpid()
        assert alive(first)
        # One that dies between two runs is replaced.
        os.kill(first, 9)
        assert executor.run(nap("c", log), lambda event: None)[0].status == "done"
        assert pids(log)[-1] != first
    finally:
        executor.close()
    assert gone(pids(log))


@pytest.mark.usefixtures("fakes")
def test_an_interrupted_run_keeps_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def refuse(event: object) -> None:
        if getattr(event, "kind", "") == "started":
            raise KeyboardInterrupt

    executor = LocalExecutor("fakes:act", slots=1, keep=True)
    with pytest.raises(KeyboardInterrupt):
        executor.run([Job("a", {"do": ["nap", 5], "name": "a", "log": str(log)})], refuse)
    if log.exists():
        assert gone(pids(log))
    assert executor.run([], lambda event: None) == []
