"""How fast training is on a card: ``python -m prunebench.bench.perf.cuda --out DIR``.

The harness of ``prunebench perf`` with the contenders of a card: a plain loop of the usual style,
and our step launched, captured, compiled, deterministic, autotuned, at batch 512 and in lanes.
Writes ``cuda.json`` and ``cuda.md``. Needs neither mlflow nor optuna. On a CPU it only shows that
it runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from prunebench.bench.perf.contenders import Laned, PlainLoop, Solo, whole_run
from prunebench.bench.perf.page import markdown
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.suite import report
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import HALVES, Settings, Workload
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError

ALL = ("plain", "eager", "graph", "compiled", "deterministic", "autotuned", "batch-512",
       "lanes-2", "lanes-4", "lanes-6")  # fmt: skip


@dataclass
class Card:
    """What is timed on a card beside the sizes of ``Settings``.

    Attributes:
        precision: Of our steps; the plain loop is fp32.
        contenders: Of ``ALL``.
        graph: As in ``ExecutionOptions``; ``rehearse`` takes the captured form on any device.
        plain_images: Images of one epoch of the plain loop.
        workers: Of its loader.
        speeds: Images per second of the contenders, once they are known.
    """

    precision: str = "bf16"
    contenders: tuple[str, ...] = ALL
    graph: Literal["auto", "off", "rehearse"] = "auto"
    plain_images: int = 12_800
    workers: int = 0
    speeds: dict[str, float] = field(default_factory=dict)

    def training(self, s: Settings) -> Result:
        """Epochs of the contenders in turn; one that fails is named in a note."""
        work, cuda = s.work(precision=self.precision), s.device.type == "cuda"
        made_by_name: dict[str, Any] = {}
        images: dict[str, int] = {}
        beside: list[Figure] = []
        notes: list[str] = []
        for name in self.contenders:
            if cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(s.device)
            base, begin = torch.cuda.memory_allocated(s.device) if cuda else 0, time.perf_counter()
            try:
                contender = self.make(name, work)
                set_switches(name)
                images[name] = contender.epoch()
                if cuda:
                    torch.cuda.synchronize(s.device)
            except (RuntimeError, ImportError) as error:  # others can still be timed
                notes.append(f"no {name}: {type(error).__name__}: {str(error)[:200]}")
                continue
            made_by_name[name] = contender
            beside.append(Figure(f"{name}: made and warm", time.perf_counter() - begin, "s"))
            if cuda:
                peak = torch.cuda.max_memory_allocated(s.device) - base
                beside.append(Figure(f"{name}: peak memory", peak / 2**20, "MiB"))
            notes.append(f"steps of {name}: {contender.how}")
        epochs = {name: contender.epoch for name, contender in made_by_name.items()}
        times = in_turn(epochs, s.repeats, s.device, before=set_switches)
        set_switches("")
        figures = []
        for name, count in images.items():
            if name in times.taken:
                self.speeds[name] = count / times.median(name)
                seconds = times.seconds(name)
                low, high = count / max(seconds), count / min(seconds)
                figures.append(Figure(name, self.speeds[name], "img/s", low, high))
        what = (
            f"epochs of {s.n:,} images, ResNet-18 of width {s.width}, batch {s.batch}, "
            f"{self.precision}; {self.plain_images:,} images of the plain loop, fp32"
        )
        return made("training", what, times, [*figures, *goals(self.speeds), *beside], notes)

    def make(self, name: str, work: Workload) -> Any:
        """A contender by name: an object with ``epoch()`` and ``how``.

        Raises:
            InputError: No contender of that name.
        """
        execution = ExecutionOptions(graph=self.graph)
        kind, _, number = name.partition("-")
        if name == "plain":
            return PlainLoop(work, self.plain_images, self.workers)
        if kind == "lanes" and number.isdecimal():
            return Laned(work, execution, int(number))
        forms = {
            "eager": ExecutionOptions(graph="off"),
            "graph": execution,
            "compiled": replace(execution, compile=True),
            "deterministic": replace(execution, deterministic=True),
            "autotuned": execution,
            "batch-512": execution,
        }
        if name not in forms:
            raise InputError(f"{name!r}", where="--contenders", accepted=", ".join(ALL))
        if name == "batch-512":
            work = replace(work, batch=4 * work.batch)
        return Solo(work.trainer(forms[name]))

    def passes(self, s: Settings) -> Result:
        """Reference passes of 1,000 and 10,000 images, and the test pass."""
        work = s.work(precision=self.precision)
        passes: dict[str, Callable[[], object]] = {}
        shares: dict[str, float] = {}
        for size, bound in ((1000, 0.01), (10_000, 0.07)):
            size = min(size, s.n // 4)
            run = replace(work, reference=size).trainer(
                ExecutionOptions(graph=self.graph), "infobatch+align"
            )
            passes[f"reference {size}"], shares[f"reference {size}"] = run._measure_reference, bound
        passes[f"test {len(run.test_sample_ids)}"] = run.test_logits
        times = in_turn(passes, s.repeats, s.device)
        solo = fastest(self.speeds)
        figures = [
            Figure(f"{name} / epoch", times.median(name) * solo / s.n, "share",
                   goal=Goal(bound, False))
            for name, bound in shares.items() if solo
        ]  # fmt: skip
        return made("passes", "passes in eval mode beside an epoch, solo", times, figures)

    def halves(self, s: Settings) -> Result:
        """Whole runs at half the samples beside full training; a static subset needs evidence,
        which a run in memory has none of."""
        work = replace(s.work(precision=self.precision), epochs=s.epochs)

        def run(method: str, ratio: float) -> Callable[[], int]:
            return lambda: whole_run(work, method, ratio, ExecutionOptions(graph=self.graph))

        names = [name for name in HALVES if name != "random"]
        contenders = {"full": run("full", 0.0)} | {name: run(name, 0.5) for name in names}
        times = in_turn(contenders, s.repeats, s.device)
        figures = [
            figure(f"{name} / full", times.ratio(name, "full"), "share", Goal(0.53, False))
            for name in names
        ]
        return made("halves", f"runs of {s.epochs} epochs of {s.n:,} images", times, figures)


def set_switches(name: str) -> None:
    """Process-wide switches of a contender, set again before each of its turns."""
    torch.backends.cudnn.benchmark = name == "autotuned"
    torch.backends.cudnn.deterministic = name == "deterministic"
    torch.use_deterministic_algorithms(name == "deterministic")


def fastest(speeds: Mapping[str, float]) -> float | None:
    """Images per second of the fastest single run at the usual batch size."""
    solo = [speeds[name] for name in ("graph", "compiled", "autotuned") if name in speeds]
    return max(solo, default=None)


def goals(speeds: Mapping[str, float]) -> list[Figure]:
    """What is aimed at on a card, as far as it was timed.

    Args:
        speeds: Images per second by contender.
    """
    solo, plain = fastest(speeds), speeds.get("plain")
    laned = max((v for name, v in speeds.items() if name.startswith("lanes-")), default=None)
    wanted = [
        ("solo, batch 128", solo, "img/s", Goal(60_000)),
        ("lanes, aggregate", laned, "img/s", Goal(85_000)),
        ("batch 512", speeds.get("batch-512"), "img/s", Goal(95_000)),
        ("solo / plain loop", solo and plain and solo / plain, "x", Goal(15)),
        ("lanes / plain loop", laned and plain and laned / plain, "x", Goal(22)),
        ("200 epochs of 50,000, solo", solo and 1e7 / solo / 60, "min", Goal(2.8, False)),
        ("200 epochs of 50,000, per run in lanes", laned and 1e7 / laned / 60, "min",
         Goal(2.0, False)),
    ]  # fmt: skip
    return [Figure(what, value, unit, goal=goal) for what, value, unit, goal in wanted if value]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="prunebench.bench.perf.cuda", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for cuda.json and cuda.md")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", default="", help="a packed data set; default: synthetic images")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--width", type=int, default=64, help="of the ResNet-18's first stage")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plain-images", type=int, default=12_800)
    parser.add_argument("--workers", type=int, default=0, help="of the plain loop's loader")
    parser.add_argument("--contenders", default=",".join(ALL))
    parser.add_argument("--graph", choices=("auto", "off", "rehearse"), default="auto")
    parser.add_argument("--half-epochs", type=int, default=10, help="0 leaves whole runs out")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"error: --device: no device {given.device!r} here (accepted: cpu)", file=sys.stderr)
        return 2
    try:
        settings = Settings(
            given.repeats, device, given.images, given.batch, given.width, given.side,
            threads=torch.get_num_threads(), epochs=given.half_epochs, packed=given.data,
        )  # fmt: skip
        if given.data:
            held = len(settings.raw.train_y)
            settings = replace(settings, n=held - min(1000, held // 10))
        card = Card(
            given.precision, tuple(name.strip() for name in given.contenders.split(",")),
            given.graph, given.plain_images, given.workers,
        )  # fmt: skip
        suite = {"training": card.training, "passes": card.passes}
        found = report(suite | ({"halves": card.halves} if given.half_epochs else {}), settings)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "cuda.json").write_text(json.dumps(found, indent=1) + "\n")
    text = markdown(found)
    (given.out / "cuda.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
