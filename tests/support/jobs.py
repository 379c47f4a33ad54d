"""Jobs for the functions of ``fakes.py``, the events of an executor, and the processes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prunebench.bench.executors.base import Event, Job
from prunebench.bench.results.process import alive


class Events(list[Event]):
    """Every event of a run, in order; called with each."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def kinds(self, key: str) -> list[str]:
        """The kinds of events of a job, progress left out."""
        return [event.kind for event in self if event.key == key and event.kind != "progress"]

    def most_at_once(self) -> int:
        """Jobs that ran side by side, at most."""
        running, most = set[str](), 0
        for event in self:
            if event.kind == "started":
                running.add(event.key)
            elif event.kind in ("finished", "requeued"):
                running.discard(event.key)
            most = max(most, len(running))
        return most


def jobs(*acts: Sequence[Any], log: Path | None = None, **fields: dict[int, Any]) -> list[Job]:
    """One job for each act.

    Args:
        acts: Verb and arguments.
        log: Where each notes its beginning.
        fields: Further fields of jobs, by number.
    """
    extra = {} if log is None else {"log": str(log)}
    return [
        Job(
            f"j{number}",
            {"do": list(act), "name": f"j{number}", **extra},
            **{name: values[number] for name, values in fields.items() if number in values},
        )
        for number, act in enumerate(acts)
    ]


def pids(log: Path) -> list[int]:
    """Process of each job, in order of their beginnings."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[1]) for line in lines if line.endswith("begin")]


def gone(found: Iterable[int], seconds: float = 0.0) -> bool:
    """Whether processes have ended, or do so in time."""
    found, deadline = list(found), time.monotonic() + seconds
    while any(alive(pid) for pid in found):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True
