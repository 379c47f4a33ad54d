"""The report of a card on disk: written anew after every turn, and read again by the next call."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunebench.bench.perf.page import markdown, title
from prunebench.bench.perf.result import Result
from prunebench.bench.perf.rounds import Tally
from prunebench.bench.perf.suite import after, envelope
from prunebench.bench.perf.surroundings import surroundings
from prunebench.bench.perf.workload import Settings
from prunebench.files import write_atomic

#: What figures of one report share beside the settings.
_SAME = ("device_class", "torch", "code")
#: nvidia-smi is asked no more often.
_CLOCKS_S = 20.0


class Sheet:
    """``cuda.json`` and ``cuda.md`` of a folder.

    Figures that an earlier call left there are gone on with, where card, versions and sizes are
    the same; otherwise they are kept under a number (``cuda.1.json``) and this call begins anew.

    Args:
        folder: Which exists.
        settings: Sizes; repeats and epochs may differ between calls.
        sizes: What else has to be the same.

    Attributes:
        tallies: By title of the result, by contender.
        results: By title.
    """

    def __init__(self, folder: Path, settings: Settings, sizes: Mapping[str, Any]) -> None:
        self.path, self.settings, self.machine = folder / "cuda.json", settings, {}
        self.machine = surroundings(settings.device)
        self.tallies: dict[str, dict[str, Tally]] = {}
        self.results: dict[str, dict[str, Any]] = {}
        given = envelope(settings, self.machine, [])["settings"]
        self.same = {
            **{name: value for name, value in given.items() if name not in ("repeats", "epochs")},
            **{name: self.machine[name] for name in _SAME}, **sizes,
        }  # fmt: skip
        self._after, self._after_at = after(settings.device), time.monotonic()
        if self.path.exists():
            self._go_on()

    def _go_on(self) -> None:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            differ = [name for name, value in self.same.items() if found["same"].get(name) != value]
            if differ:
                raise ValueError(f"another {', '.join(differ)}")
            self.tallies = {
                name: {one: Tally.of_json(value) for one, value in turns.items()}
                for name, turns in found["turns"].items()
            }
            self.results = {title(result): result for result in found["results"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.tallies, self.results = {}, {}
            kept = self._put_by()
            print(f"{self.path} is of {error}: kept as {kept.name}", file=sys.stderr)

    def _put_by(self) -> Path:
        number = 1
        while (kept := self.path.with_name(f"cuda.{number}.json")).exists():
            number += 1
        self.path.rename(kept)
        page = self.path.with_suffix(".md")
        if page.exists():
            page.rename(kept.with_suffix(".md"))
        return kept

    def turns(self, name: str) -> dict[str, Tally]:
        """What is known of a result's contenders; what is put there is stored."""
        return self.tallies.setdefault(name, {})

    def write(self, result: Result | None = None) -> None:
        """Writes both files, each whole or not at all."""
        if result is not None:
            plain = result.as_json()
            self.results[title(plain)] = plain
        if time.monotonic() - self._after_at > _CLOCKS_S:
            self._after, self._after_at = after(self.settings.device), time.monotonic()
        report = {**self.report, "same": self.same, "turns": {
            name: {one: tally.as_json() for one, tally in turns.items()}
            for name, turns in self.tallies.items()
        }}  # fmt: skip
        write_atomic(self.path, (json.dumps(report, indent=1) + "\n").encode())
        write_atomic(self.path.with_suffix(".md"), markdown(report).encode())

    @property
    def report(self) -> dict[str, Any]:
        """As ``suite.report`` returns one."""
        results = list(self.results.values())
        return {**envelope(self.settings, self.machine, results), "after": self._after}
