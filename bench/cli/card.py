"""The verb for a card: tests, speed, and as many cells of a grid as fit into the time."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import prunebench
from prunebench.bench.cli.options import check_devices, check_lanes, load_plugins, report_cells
from prunebench.errors import FolderError, InputError, spelled

if TYPE_CHECKING:
    from prunebench.bench.grids.telling import Begun
    from prunebench.bench.results.store import Store
    from prunebench.bench.runs.cell import Cell
    from prunebench.record import Record

#: Steps in order, with the share of the time that is left that each may take of those to come.
_SHARES = {"tests": 1.0, "speed": 2.0, "cells": 3.0}
#: Seconds in which a cell saves itself and the records are packed.
_LEAVE_S = 15.0
#: What pytest says of each test.
_RESULT = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.MULTILINE)
#: What a child has to find the package in; beside it lie the tests of a checkout.
_SOURCE = Path(prunebench.__file__).parents[1]
#: Bytes of one packed file at most.
MOST_BYTES = 16 << 20
#: On a CPU the steps only show that they run.
_SMALL = ("--images", "160", "--side", "8", "--width", "2", "--batch", "32", "--repeats", "1",
          "--plain-images", "32", "--precision", "fp32", "--graph", "rehearse", "--half-epochs",
          "0", "--contenders", "graph,eager")  # fmt: skip


@click.command()
@click.option("--out", required=True, metavar="DIR", help="Folder for all that is found.")
@click.option(
    "--data",
    default=None,
    metavar="PACKED",
    help="A packed data set, in the place of the one that the grid names.",
)
@click.option(
    "--grid",
    "source",
    default=None,
    metavar="FILE",
    help="Grid file or shipped grid (default: card with --data, else card-synthetic).",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, 10_000, min_open=True),
    default=25.0,
    show_default=True,
    help="Time for this call; the next one goes on.",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(_SHARES)),
    help="A step; may be repeated (default: all).",
)
@click.option("--device", default="cuda", show_default=True, help="cuda, cuda:N, or cpu to try it.")
@click.option(
    "--lanes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Cells that are interleaved on the card.",
)
@click.pass_context
def card(
    ctx: click.Context, out: str, data: str | None, source: str | None, minutes: float,
    only: tuple[str, ...], device: str, lanes: int,
) -> None:  # fmt: skip
    """Measure a card in one call: tests, speed, then cells of a grid.

    The tests that need a card are run from a checkout; speed is that of prunebench.bench.perf.cuda;
    of the grid the most telling cells come first, seed by seed. Everything is stored as it comes,
    and the same call goes on where the time was over or the process was killed. Needs neither
    MLflow nor Optuna.

    Example: prunebench card --out card/ --data packed/c10n --minutes 25
    """
    begin = time.monotonic()
    load_plugins(ctx)
    check_devices((device,))
    if lanes > 1:
        check_lanes((device,), "local", 1)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{error.strerror}: {out}", where="--out",
                         accepted="a folder that can be made") from None  # fmt: skip
    call = Call(folder, device, begin + 60 * minutes, plugins=tuple(ctx.obj or ()))
    steps = [step for step in _SHARES if not only or step in only]
    cells: list[Cell] = []
    name = ""
    if "cells" in steps:  # bad input is said before anything is measured
        name, cells = _cells(source, data)
    _say(f"{call.facts['device_class']}, torch {call.facts['torch']}; {minutes:g} min, to {out}")
    for number, step in enumerate(steps):
        coming = steps[number:]
        share = _SHARES[step] / sum(_SHARES[one] for one in coming)
        seconds = (call.end - time.monotonic()) * share
        if step == "tests":
            call.tests(seconds)
        elif step == "speed":
            call.speed(seconds, data)
        else:
            call.cells(seconds - _LEAVE_S, name, cells, lanes)
    ctx.exit(call.summary())


@dataclass
class Call:
    """One call of the command.

    Attributes:
        folder: For all files; the results folder is below it.
        device: Of every step.
        end: When it has to be over.
        plugins: Files that workers load.
        bad: What went wrong, said first at the end.
        said: Lines of the summary.
    """

    folder: Path
    device: str
    end: float
    plugins: tuple[str, ...] = ()
    bad: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        import torch

        from prunebench.bench.results.environment import environment

        facts = environment(torch.device(self.device), {})
        self.facts = {name: facts[name] for name in ("device_class", "torch", "python", "code")}

    def tests(self, seconds: float) -> None:
        """Runs the tests that are marked for a card, where there is a checkout, but for those that
        an earlier call has run; their output goes to ``tests.txt``, what became of each to
        ``tests.json``."""
        kept, log = self.folder / "tests.json", self.folder / "tests.txt"
        found: dict[str, Any] = {"facts": self.facts, "code": None, "tests": {}}
        with suppress(OSError, ValueError):
            before = json.loads(kept.read_text(encoding="utf-8"))
            if before["facts"] == self.facts:  # a killed call has left the log alone
                found = before
                found["tests"] |= dict(_RESULT.findall(log.read_text("utf-8", "replace")))
        root = _SOURCE.parent
        files = [
            path for path in sorted((root / "tests").rglob("test_*.py"))
            if "mark.cuda" in path.read_text(encoding="utf-8")
        ]  # fmt: skip
        if not files or find_spec("pytest") is None:
            self.said.append("tests   left out: no checkout, or no pytest")
            return
        if found["code"] is None:
            _say(f"tests: at most {_clock(seconds)}, to tests.txt")
            words = [sys.executable, "-m", "pytest", "-m", "cuda", "-v", "-p", "no:cacheprovider",
                     # It takes prefixes, which other tests without parameters may have too.
                     *(f"--deselect={name}" for name in found["tests"] if name.endswith("]")),
                     *(str(path.relative_to(root)) for path in files)]  # fmt: skip
            _write(kept, json.dumps(found, indent=1))
            with open(log, "wb") as out:
                found["code"] = _child(words, seconds, cwd=root, stdout=out, stderr=out)
            found["tests"] |= dict(_RESULT.findall(log.read_text("utf-8", "replace")))
            _write(kept, json.dumps(found, indent=1))
        counts = Counter(found["tests"].values())
        words = [f"{count} {word.lower()}" for word, count in sorted(counts.items())]
        line = ", ".join(words) or "none"
        self.said.append(f"tests   {line}")
        if found["code"] is None:
            self.bad.append("tests: not all were run in the time; the same call goes on")
        if counts["FAILED"] or counts["ERROR"] or found["code"] not in (None, 0, 5):
            self.bad.append(f"tests: {line}, pytest ended with {found['code']}; see tests.txt")

    def speed(self, seconds: float, data: str | None) -> None:
        """Times the contenders of a card, in a process of their own."""
        minutes = max(0.0, seconds - _LEAVE_S) / 60
        words = [sys.executable, "-m", "prunebench.bench.perf.cuda", "--out", str(self.folder),
                 "--device", self.device, "--minutes", f"{minutes:.3f}"]  # fmt: skip
        words += _SMALL if self.device == "cpu" else ["--data", data] if data else []
        _say(f"speed: at most {_clock(seconds)}")
        code = _child(words, seconds + 30.0)
        speeds = self.speeds()
        if code != 0:
            how = "stopped by the time limit" if code is None else f"ended with code {code}"
            self.bad.append(f"speed: {how}; what was timed before is in cuda.md")
        words = [f"{name} {value:,.0f}" for name, value in speeds.items()]
        self.said.append(f"speed   img/s: {', '.join(words) or 'none'}; see cuda.md")

    def speeds(self) -> dict[str, float]:
        """Images per second by precision, as far as they were measured here."""
        try:
            found = json.loads((self.folder / "cuda.json").read_text(encoding="utf-8"))
            same = found["same"]
            if (same["code"], same["width"], same["side"]) != (self.facts["code"], 64, 32):
                return {}
            (rows,) = [r["figures"] for r in found["results"] if r["name"] == "training"]
            values = {row["what"]: float(row["value"]) for row in rows if row["unit"] == "img/s"}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        named = {"fp32": "fp32", same["precision"]: "graph"}
        return {name: values[row] for name, row in named.items() if row in values}

    def cells(self, seconds: float, name: str, cells: Sequence[Cell], lanes: int) -> None:
        """Runs cells of a grid as far as the time goes, and packs the records after each."""
        import torch

        from prunebench.bench.estimates.fit import expected_seconds
        from prunebench.bench.grids.telling import by_telling, run_while
        from prunebench.bench.results.store import Store, final_record
        from prunebench.bench.spec.execution import ExecutionOptions

        store = Store.open(self.folder / "results")
        taken = unpack_records(self.folder, store)
        if taken:
            _say(f"{taken} records of an earlier call")
        options = ExecutionOptions(
            devices=(self.device,), workers=lanes, slots_per_device=lanes, lanes=lanes,
            mlflow=False, quiet=True, plugins=self.plugins, checkpoint_s=20.0,
        )  # fmt: skip
        device, speeds = torch.device(self.device), self.speeds()
        codes: list[int] = []

        def told(one: Begun) -> None:
            label = _label(one.cell)
            if one.report is None:
                about = "" if one.expected_s is None else f"about {_clock(one.expected_s)}, "
                more = "" if one.fits else ": goes on in the next call"
                _say(f"{label} {about}{_clock(one.left_s)} left{more}")
                return
            codes.append(report_cells(one.report))
            pack_records(self.folder, store)
            _say(_outcome(label, one.record))

        groups = by_telling(cells)
        _say(f"cells: {len(cells)} of the grid {name}, {_clock(max(0.0, seconds))}")
        try:
            if seconds > 0:
                run_while(
                    groups, store, options, seconds,
                    lambda cell: expected_seconds(cell, store, device, options.threads, speeds),
                    told, name,
                )  # fmt: skip
        except (InputError, FolderError) as error:
            self.bad.append(f"cells: {error}")
        finally:
            pack_records(self.folder, store)
        found = [(cell, final_record(store, cell.spec.key)) for group in groups for cell in group]
        done = [(cell, record) for cell, record in found if record is not None]
        more = "" if len(done) == len(found) else "; the same call goes on with the others"
        self.said.append(f"cells   {len(done)} of {len(found)} recorded{more}")
        self.said += [f"  {_outcome(_label(cell), record)}" for cell, record in done]
        failed = sum(record.status in ("failed", "killed") for _, record in done)
        if failed or any(codes):
            self.bad.append(f"cells: {failed} failed; see the records and logs in results/")

    def summary(self) -> int:
        """Prints what was found, failures first; returns the exit code."""
        print(flush=True)
        for line in [*(f"FAILED  {line}" for line in self.bad), *self.said]:
            _say(line)
        names = sorted(path.name for path in self.folder.iterdir() if path.is_file())
        _say(f"files in {self.folder}: {', '.join(names)}")
        return 1 if self.bad else 0


def _cells(source: str | None, data: str | None) -> tuple[str, list[Cell]]:
    """Name and cells of the grid, on the packed data where there are some."""
    from prunebench.bench.grids.grid_file import expand, read_grid

    loaded, path = read_grid(source or ("card" if data else "card-synthetic"))
    if data:
        swap = {"dataset": ["packed"], "dataset_params": {"path": os.path.abspath(data)}}
        blocks = [
            block.model_copy(update=swap) if block.dataset else block for block in loaded.block
        ]
        loaded = loaded.model_copy(update={**swap, "block": blocks})
    return loaded.name, expand(loaded, path)


def pack_records(folder: Path, store: Store) -> list[Path]:
    """Writes all records of a results folder to ``records-N.jsonl.gz``, none above 16 MB."""
    from prunebench.leaderboard.bundle import pack

    records = store.scan().records
    written: list[Path] = []
    rest = [records] if records else []
    while rest:
        part = rest.pop(0)
        packed = pack(part)
        if len(packed) > MOST_BYTES and len(part) > 1:
            rest[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
            continue
        written.append(folder / f"records-{len(written)}.jsonl.gz")
        _write(written[-1], packed)
    for path in set(_packed(folder)) - set(written):
        path.unlink()
    return written


def unpack_records(folder: Path, store: Store) -> int:
    """Puts packed records that the results folder lacks back into it; returns how many."""
    from prunebench.leaderboard.bundle import unpack

    count = 0
    for path in _packed(folder):
        for record in unpack(path):
            if store.get(record.key) is None:
                store.save(record)
                count += 1
    return count


def _packed(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if re.fullmatch(r"records-\d+\.jsonl\.gz", p.name))


def _label(cell: Cell) -> str:
    spec = cell.spec
    name = f"{spec.method.name} {spec.ratio:g}" if spec.ratio else spec.method.name
    return f"seed {spec.seed}  {name:<20}  {spec.noise.name:<14}"


def _outcome(label: str, record: Record | None) -> str:
    """One line of 80 columns at most."""
    if record is None:
        return f"{label}  not recorded"
    accuracy, seconds = record.metrics.get("test_accuracy"), record.timing.get("total_s")
    words = [str(record.status)]
    words += [] if accuracy is None else [f"{100 * accuracy:.2f} %"]
    words += [] if seconds is None else [_clock(seconds)]
    words += [str(record.info.get("steps", "") or record.reason)]
    return spelled(f"{label}  {'  '.join(words)}")[:78].rstrip()


def _child(words: Sequence[str], seconds: float, **how: Any) -> int | None:
    """Runs a process that ends with this one.

    Returns:
        Its exit code, or None where it was killed after ``seconds``.
    """
    paths = [str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    path = os.pathsep.join(paths)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(words, env=environment, preexec_fn=_die_with_parent(), **how)
    try:
        return process.wait(max(1.0, seconds))
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux a child is killed with this process, however that ends."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return lambda: library.prctl(1, signal.SIGKILL)


def _write(path: Path, content: str | bytes) -> None:
    from prunebench.bench.results.atomic import folder_errors
    from prunebench.files import write_atomic

    with folder_errors(path):
        write_atomic(path, content.encode() + b"\n" if isinstance(content, str) else content)


def _clock(seconds: float) -> str:
    from prunebench.bench.grids.progress import clock_text

    return clock_text(max(0.0, seconds))


def _say(line: str) -> None:
    print(line, flush=True)
