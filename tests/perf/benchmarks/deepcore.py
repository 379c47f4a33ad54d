"""DeepCore's published script beside ours: one data set, one network, the same epochs and methods.

``PYTHONPATH=tests python -m perf.benchmarks.deepcore --official CLONE --data FOLDER --out FOLDER``
times the whole table in turns. Nothing of DeepCore is ours: its ``main.py`` runs as a process of
its own, in the user's clone, and its standard output is all that is read.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from perf.benchmarks.deepcore_page import page
from perf.benchmarks.deepcore_setting import METHODS, OURS, THEIRS, Setting, grid, words
from prunebench.bench.perf.result import Figure, Result, figure, made
from prunebench.bench.perf.suite import after
from prunebench.bench.perf.surroundings import cores, surroundings
from prunebench.bench.perf.timing import Taken, Times
from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.files import write_atomic
from prunebench.record import Record

_LAST = re.compile(r"^ \* Prec@1 ([0-9.]+)", re.MULTILINE)
_BEST = re.compile(r"^\| Best accuracy:\s+(?:tensor\()?([0-9.]+)", re.MULTILINE)
_KEPT = re.compile(r"^(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """What a process gave."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last line of its errors, or else of its output."""
        return ((self.err.strip() or self.out.strip()).splitlines() or ["nothing printed"])[-1]


#: Words, folder, variables beside those of this process, seconds allowed.
Run = Callable[[Sequence[str], Path, Mapping[str, str], float | None], Ended]


def process(words: Sequence[str], folder: Path, more: Mapping[str, str],
            limit: float | None) -> Ended:  # fmt: skip
    """Runs a real process to its end, or to its limit."""
    try:
        done = subprocess.run(
            words, cwd=folder, env={**os.environ, **more}, timeout=limit, check=False,
            capture_output=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Ended(1, "", f"stopped after {limit:g} s")
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Outcome:
    """One method, one seed; accuracies are percentages.

    Attributes:
        last: After the last epoch; None where the method failed.
        best: Of the epoch that was best on the test images, which is what DeepCore reports.
        kept: Samples chosen, where they are known.
        spent: Seconds of its process, None where processes are shared.
        used: Seconds of that process on its processors.
        status: ``done``, ``diverged``, or why there is no accuracy.
    """

    last: float | None
    best: float | None = None
    kept: int | None = None
    spent: float | None = None
    used: float | None = None
    status: str = "done"


def read(ended: Ended, taken: Taken) -> Outcome:
    """What DeepCore's standard output says."""
    last, best = _LAST.findall(ended.out), _BEST.findall(ended.out)
    if ended.code or not last:
        return Outcome(None, spent=taken.wall, used=taken.cpu, status=ended.last_line)
    kept = _KEPT.search(ended.out)
    return Outcome(float(last[-1]), float(best[-1]) if best else None,
                   int(kept[1]) if kept else None, taken.wall, taken.cpu)  # fmt: skip


class Comparison:
    """Both tables, in turns.

    Args:
        setting: Checked.
        run: How processes are run.

    Attributes:
        outcomes: By side and method, one entry a seed.
        taken: Whole tables, by side.
    """

    def __init__(self, setting: Setting, run: Run = process) -> None:
        self.s, self.run = setting, run
        self.outcomes: dict[str, dict[str, list[Outcome]]] = {
            side: {name: [] for name in setting.methods} for side in (THEIRS, OURS)
        }
        self.taken: dict[str, list[Taken]] = {THEIRS: [], OURS: []}

    def theirs(self, names: Sequence[str], seed: int) -> None:
        """DeepCore's table: one process per method, as its documentation has it."""
        more = {"OMP_NUM_THREADS": str(self.s.cores)}
        if self.s.device == "cpu":
            more["CUDA_VISIBLE_DEVICES"] = ""
        folder = self.s.out / "official" / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            clock = _Clock()
            asked = words(self.s, name, seed, folder)
            ended = self.run(asked, self.s.official, more, self.s.limit)
            self.outcomes[THEIRS][name].append(read(ended, clock.taken()))

    def ours(self, names: Sequence[str], seed: int, folder: str = "ours") -> None:
        """Our table: one command.

        Raises:
            InputError: It failed.
        """
        out = self.s.out / folder / str(seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.parent / f"{seed}.toml"
        file.write_text(grid(self.s, names, seed), encoding="utf-8")
        start = "from prunebench.bench.cli import main; main()"
        asked = [
            sys.executable, "-c", start, "--plugin", str(Path(__file__).with_name("lenet.py")),
            "grid", str(file), "--out", str(out), "--device", self.s.device, "--no-mlflow", "-q",
            *(("--workers", str(self.s.cores)) if self.s.device == "cpu" else ()),
        ]  # fmt: skip
        ended = self.run(asked, self.s.out, {"PRUNEBENCH_DATA": str(self.s.data)}, None)
        records = Store(out).scan().records if out.exists() else []
        found = {r.spec["method"]["name"]: r for r in records}
        for name in names:
            if METHODS[name].ours not in found:
                raise InputError(ended.last_line, where=f"ours, {name}")
            self.outcomes[OURS][name].append(_outcome(found[METHODS[name].ours]))

    def measure(self) -> None:
        """All turns. Methods that DeepCore does not end in the first are no part of the tables
        that are timed; ours still train them, once, for their accuracy.

        Raises:
            InputError: Ours failed.
        """
        theirs, names = self.outcomes[THEIRS], self.s.methods
        for turn in range(self.s.repeats):
            spent = {}
            for side in (THEIRS, OURS) if turn % 2 == 0 else (OURS, THEIRS):
                clock = _Clock()
                if side == OURS and names:
                    self.ours(names, turn)
                    spent[OURS] = clock.taken()
                elif side == THEIRS:
                    self.theirs(names, turn)
                    names = names if turn else self._ended()
                    last = [theirs[name][-1] for name in names]
                    spent[THEIRS] = Taken(sum(o.spent or 0.0 for o in last),
                                          sum(o.used or 0.0 for o in last))  # fmt: skip
            if names and all(theirs[name][-1].last is not None for name in names):
                for side, one in spent.items():
                    self.taken[side].append(one)
        if failed := [name for name in self.s.methods if name not in names]:
            self.ours(failed, 0, "ours-untimed")

    def _ended(self) -> tuple[str, ...]:
        """Methods that DeepCore ended in the first turn."""
        first = self.outcomes[THEIRS]
        return tuple(name for name in self.s.methods if first[name][0].last is not None)

    def report(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        """All of it as plain values."""
        results = [self._times().as_json()] if self.taken[THEIRS] else []
        return {
            "machine": {**machine, "threads": self.s.cores},
            "settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(self.s).items()},
            "results": results, "after": after(torch.device(self.s.device)),
            "taken": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "outcomes": {
                side: {name: [asdict(one) for one in every] for name, every in rows.items()}
                for side, rows in self.outcomes.items()
            },
        }  # fmt: skip

    def _times(self) -> Result:
        s, times = self.s, Times(self.taken, "wall")
        what = (
            f"whole table of {', '.join(self._ended())}: MNIST, LeNet, {s.fraction:g} kept, "
            f"{s.epochs} epochs after {s.selection_epochs} of scoring, batch {s.batch}, "
            "start of processes included"
        )
        clock = _Clock()
        self.run([s.python, "main.py", "--help"], s.official, {}, s.limit)
        start = Figure("start of one process of DeepCore", clock.taken().wall, "s")
        figures = [figure("DeepCore / ours", times.ratio(THEIRS, OURS)), start]
        return made("deepcore", what, times, figures)


class _Clock:
    """Wall time, and processor time of processes that have ended, from its making on."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), self._children()

    @staticmethod
    def _children() -> float:
        used = os.times()
        return used.children_user + used.children_system

    def taken(self) -> Taken:
        return Taken(time.perf_counter() - self.wall, self._children() - self.cpu)


def _outcome(record: Record) -> Outcome:
    accuracy = record.metrics.get("test_accuracy")
    if accuracy is None:
        return Outcome(None, status=record.reason or record.status)
    kept = record.metrics.get("kept_fraction")
    samples = None if kept is None else round(kept * record.ledger["num_samples"])
    return Outcome(100 * accuracy, kept=samples, status=record.status)


def main(arguments: Sequence[str] | None = None, run: Run = process) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m perf.benchmarks.deepcore")
    for name in ("official", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--methods", type=lambda text: tuple(text.split(",")))
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--python")
    for name in ("epochs", "selection-epochs", "batch", "repeats", "cores", "loaders"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("fraction", "lr", "limit"):
        parser.add_argument(f"--{name}", type=float)
    given = {k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None}
    code = 0
    try:
        setting = Setting(**{"cores": cores(), **given}).checked()
        setting.out.mkdir(parents=True, exist_ok=True)
        comparison, machine = Comparison(setting, run), surroundings(torch.device(setting.device))
    except InputError as error:
        return _told(error)
    try:
        comparison.measure()
    except InputError as error:  # what was measured before it is still written
        code = _told(error)
    report = comparison.report(machine)
    write_atomic(setting.out / "deepcore.json", (json.dumps(report, indent=1) + "\n").encode())
    write_atomic(setting.out / "deepcore.md", page(report).encode())
    print(page(report))
    return code


def _told(error: InputError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
