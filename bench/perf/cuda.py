"""How fast training is on a card: ``python -m prunebench.bench.perf.cuda --out DIR``.

The harness of ``prunebench perf`` with the contenders of a card: a plain loop of the usual style,
and our step launched, captured, compiled, deterministic, in fp32, at batch 512 and in lanes; then
passes in eval mode and whole runs at half the samples. ``cuda.json`` and ``cuda.md`` are written
anew after every turn of a contender, and a further call with the same folder takes the turns that
are missing. Needs neither mlflow nor optuna. On a CPU it only shows that it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from prunebench.bench.perf.contenders import Laned, Pass, PlainLoop, Solo, WholeRun
from prunebench.bench.perf.page import figure_rows
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.rounds import Contender, Limit, Tally, Turns, take_turns
from prunebench.bench.perf.sheet import Sheet
from prunebench.bench.perf.timing import Times, clock_of
from prunebench.bench.perf.workload import HALVES, Settings, Workload
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError, nearest

#: Contenders of an epoch, most telling first: seconds to make one with its first turn, which are
#: mostly warm-up, capture and compilation, and images per second, both estimates for an H100.
EXPECTED = {
    "graph": (6.0, 45_000), "plain": (8.0, 2_500), "lanes-4": (16.0, 80_000),
    "batch-512": (6.0, 80_000), "compiled": (80.0, 50_000), "eager": (7.0, 14_000),
    "fp32": (8.0, 25_000), "deterministic": (8.0, 30_000), "lanes-6": (22.0, 85_000),
    "lanes-2": (10.0, 65_000), "autotuned": (16.0, 47_000),
}  # fmt: skip
#: What is timed by default. Autotuned convolutions are timed only where ``--contenders`` names
#: them: cuDNN then chooses its algorithms by a measurement, another one in every process, so a
#: record could not be repeated. No option offers that, and no goal counts it.
ALL = tuple(name for name in EXPECTED if name != "autotuned")
#: Epochs that tell less than passes and whole runs.
_LESS_TELLING = tuple(EXPECTED)[6:]
#: Turns of whole runs that count, at most: one takes as long as ten epochs.
HALF_TURNS = 2
#: Seconds to build a short run and to evaluate it.
_RUN_S = 1.5


@dataclass(frozen=True)
class Section:
    """A result of the report, and what takes turns for it.

    Attributes:
        title: As ``page.title`` gives it.
        contenders: In the order in which they are made.
        repeats: Turns of each that count.
        result: Made of what is known of the contenders.
    """

    title: str
    contenders: Sequence[Contender]
    repeats: int
    result: Callable[[Mapping[str, Tally]], Result]


@dataclass
class Card:
    """What is timed on a card.

    Attributes:
        settings: Sizes.
        precision: Of our steps; the plain loop and ``fp32`` are fp32.
        contenders: Of ``EXPECTED``.
        graph: As in ``ExecutionOptions``; ``rehearse`` takes the captured form on any device.
        plain_images: Images of one epoch of the plain loop.
        workers: Of its loader.
    """

    settings: Settings
    precision: str = "bf16"
    contenders: tuple[str, ...] = ALL
    graph: Literal["auto", "off", "rehearse"] = "auto"
    plain_images: int = 12_800
    workers: int = 0

    @property
    def work(self) -> Workload:
        """What is trained."""
        return self.settings.work(precision=self.precision)

    @property
    def execution(self) -> ExecutionOptions:
        """How steps are run."""
        return ExecutionOptions(graph=self.graph)

    def sections(self) -> list[Section]:
        """All results, in the order in which they are measured."""
        s, found = self.settings, []
        names = [name for name in EXPECTED if name in self.contenders]
        epochs = [self._epoch(name) for name in names]
        if epochs:
            found.append(Section("training", epochs, s.repeats, self.training))
        found.append(Section("passes", self._passes(), s.repeats, self.passes))
        if s.epochs:
            runs, turns = self._runs(), min(s.repeats, HALF_TURNS)
            found.append(Section(f"halves, {s.epochs} epochs", runs, turns, self.halves))
        return found

    def _epoch(self, name: str) -> Contender:
        making, speed = EXPECTED[name]
        kind, _, number = name.partition("-")
        images = self.plain_images if name == "plain" else self.settings.n
        images *= int(number) if kind == "lanes" else 1
        return Contender(name, partial(self.make, name), making, images / speed)

    def make(self, name: str) -> Turns:
        """A contender by name."""
        work, execution = self.work, self.execution
        kind, _, number = name.partition("-")
        if name == "plain":
            return PlainLoop(work, self.plain_images, self.workers)
        if kind == "lanes":
            return Laned(work, execution, int(number))
        forms = {
            "eager": ExecutionOptions(graph="off"),
            "compiled": replace(execution, compile=True),
            "deterministic": replace(execution, deterministic=True),
        }
        if name == "batch-512":
            work = replace(work, batch=4 * work.batch)
        if name == "fp32":
            work = replace(work, precision="fp32")
        return Solo(work.trainer(forms.get(name, execution)))

    def training(self, tallies: Mapping[str, Tally]) -> Result:
        """Epochs of the contenders in turn."""
        s, times = self.settings, self._times(tallies)
        figures, beside, notes, speeds = [], [], [], {}
        for name, tally in tallies.items():
            if tally.turns:
                seconds = times.seconds(name)
                speeds[name] = tally.images / times.median(name)
                low, high = tally.images / max(seconds), tally.images / min(seconds)
                figures.append(Figure(name, speeds[name], "img/s", low, high))
                beside.append(Figure(f"{name}: made and warm", tally.made_s or 0.0, "s"))
                notes.append(f"steps of {name}: {tally.how}")
            if tally.peak_mib is not None:
                beside.append(Figure(f"{name}: peak memory", tally.peak_mib, "MiB"))
        what = (
            f"epochs of {s.n:,} images, ResNet-18 of width {s.width}, batch {s.batch}, "
            f"{self.precision}; {self.plain_images:,} images of the plain loop, fp32"
        )
        notes += _missing(tallies)
        return made("training", what, times, [*figures, *goals(speeds), *beside], notes)

    def _passes(self) -> list[Contender]:
        s = self.settings
        sizes = [(min(size, s.n // 4), False) for size in (1000, 10_000)]
        sizes.append((len(s.raw.test_y) if s.packed else s.data["test"], True))
        return [
            Contender(f"{'test' if test else 'reference'} {size}",
                      partial(self._pass, size, test), 4.0, size / 100_000)
            for size, test in dict.fromkeys(sizes)
        ]  # fmt: skip

    def _pass(self, size: int, test: bool) -> Turns:
        work = self.work if test else replace(self.work, reference=size)
        return Pass(work.trainer(self.execution, "infobatch+align"), test)

    def passes(self, tallies: Mapping[str, Tally], solo: float | None = None) -> Result:
        """Reference passes of 1,000 and 10,000 images, and the test pass.

        Args:
            tallies: Of the passes.
            solo: Images per second of the fastest single run; without it no share of an epoch is
                given.
        """
        times = self._times(tallies)
        figures = [
            Figure(f"{name} / epoch", times.median(name) * solo / self.settings.n, "share",
                   goal=Goal(0.01 if tallies[name].images <= 1000 else 0.07, False))
            for name in times.taken if solo and name.startswith("reference")
        ]  # fmt: skip
        what = "passes in eval mode beside an epoch, solo"
        return made("passes", what, times, figures, _missing(tallies))

    def _runs(self) -> list[Contender]:
        s, epoch = self.settings, self.settings.n / EXPECTED["graph"][1]

        def contender(method: str, ratio: float) -> Contender:
            seconds = s.epochs * epoch * (1 - ratio) + _RUN_S
            return Contender(method, partial(self._run, method, ratio), 4.0 + epoch, seconds)

        # A static subset needs evidence, which a run in memory has none of.
        names = [name for name in HALVES if name != "random"]
        return [contender("full", 0.0), *(contender(name, 0.5) for name in names)]

    def _run(self, method: str, ratio: float) -> Turns:
        work = replace(self.work, epochs=self.settings.epochs)
        return WholeRun(work, method, ratio, self.execution)

    def halves(self, tallies: Mapping[str, Tally]) -> Result:
        """Whole runs at half the samples beside full training."""
        s, times = self.settings, self._times(tallies)
        figures = [
            figure(f"{name} / full", times.ratio(name, "full"), "share", Goal(0.53, False))
            for name in times.taken if name != "full" and "full" in times.taken
        ]  # fmt: skip
        what = f"runs of {s.epochs} epochs of {s.n:,} images, {min(s.repeats, HALF_TURNS)} turns"
        return made("halves", what, times, figures, _missing(tallies), variant=f"{s.epochs} epochs")

    def _times(self, tallies: Mapping[str, Tally]) -> Times:
        taken = {name: tally.turns for name, tally in tallies.items() if tally.turns}
        return Times(taken, clock_of(taken, self.settings.device) if taken else "wall")


def _missing(tallies: Mapping[str, Tally]) -> list[str]:
    return [
        f"no {name}: {tally.note}" if not tally.turns
        else f"{name}: {len(tally.turns)} turns, then {tally.note}"
        for name, tally in tallies.items() if tally.note
    ]  # fmt: skip


def set_switches(name: str) -> None:
    """Process-wide switches of a contender, set again before each of its turns."""
    torch.backends.cudnn.benchmark = name == "autotuned"
    torch.backends.cudnn.deterministic = name == "deterministic"
    torch.use_deterministic_algorithms(name == "deterministic")


def fastest(speeds: Mapping[str, float]) -> float | None:
    """Images per second of the fastest single run at the usual batch size, of those that a user
    can ask for."""
    solo = [speeds[name] for name in ("graph", "compiled") if name in speeds]
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


def measure(card: Card, sheet: Sheet, limit: Limit) -> None:
    """Takes the turns that are missing, as far as the time allows, and stores each."""
    sections = fitting(card.sections(), sheet, limit)

    def told(section: Section, name: str) -> None:
        tallies = sheet.turns(section.title)
        result = section.result(tallies)
        if section.title == "passes":
            result = card.passes(tallies, _solo(sheet))
        sheet.write(result)
        print(_line(name, tallies[name], section.repeats), flush=True)

    for section in sections:
        take_turns(
            section.contenders, sheet.turns(section.title), section.repeats, card.settings.device,
            limit, partial(told, section), set_switches,
        )  # fmt: skip
    set_switches("")


def _solo(sheet: Sheet) -> float | None:
    figures = sheet.results.get("training", {}).get("figures", [])
    return fastest({f["what"]: f["value"] for f in figures if f["unit"] == "img/s"})


def fitting(sections: Sequence[Section], sheet: Sheet, limit: Limit) -> list[Section]:
    """The sections with the contenders that are expected to fit, and prints what each may take.

    Where the time is too short for all, those are left out whose place is taken by more telling
    ones: the first epochs of ``EXPECTED``, then passes and whole runs, then the other epochs.
    """

    def expected(section: Section, one: Contender) -> float:
        tally = sheet.turns(section.title).get(one.name, Tally())
        return one.seconds(section.repeats - len(tally.turns))

    every = [(section, one) for section in sections for one in section.contenders]
    every.sort(key=lambda pair: pair[1].name in _LESS_TELLING)
    left, kept = limit.left, dict[str, list[Contender]]()
    print("expected on an H100:")
    for section, one in every:
        seconds = expected(section, one)
        if not seconds:
            continue
        words = f"  {section.title:<20} {one.name:<18} {seconds:4.0f} s"
        if seconds <= left:
            left -= seconds
            kept.setdefault(section.title, []).append(one)
            print(words)
        else:
            print(f"{words}  left out: {left:.0f} s are left")
            note = f"about {seconds:.0f} s did not fit into the time limit"
            sheet.turns(section.title).setdefault(one.name, Tally()).note = note
    print(f"  together about {limit.left - left:.0f} of {limit.left:.0f} s", flush=True)
    return [replace(section, contenders=kept.get(section.title, [])) for section in sections]


def _line(name: str, tally: Tally, repeats: int) -> str:
    if tally.note:
        return f"{name:<18} {tally.note}"[:79]
    last = tally.turns[-1].wall
    speed = f"{tally.images / last:>10,.0f} img/s" if tally.images else ""
    return f"{name:<18} turn {len(tally.turns)} of {repeats}: {last:8.3f} s {speed}"


def _summary(report: Mapping[str, Any]) -> str:
    rows = [row for row in figure_rows(report) if ": " not in row[1]]
    return "\n".join(f"{what:<40} {value:>14}  {goal}".rstrip() for _, what, value, _, goal in rows)


def _arguments() -> argparse.ArgumentParser:
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
    parser.add_argument("--contenders", default=",".join(ALL), help="none: passes and runs alone")
    parser.add_argument("--graph", choices=("auto", "off", "rehearse"), default="auto")
    parser.add_argument("--half-epochs", type=int, default=10, help="0 leaves whole runs out")
    parser.add_argument("--minutes", type=float, default=8.0,
                        help="the least telling contenders are left out that do not fit; a further "
                        "call with the same --out goes on")  # fmt: skip
    return parser


def _chosen(text: str) -> tuple[str, ...]:
    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in EXPECTED:
            raise InputError(f"{name!r}", where="--contenders", accepted=nearest(name, EXPECTED))
    return tuple(names)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; returns the exit code."""
    given = _arguments().parse_args(arguments)
    limit, device = Limit(60 * given.minutes), torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"error: --device: no device {given.device!r} here (accepted: cpu)", file=sys.stderr)
        return 2
    try:
        names = _chosen(given.contenders)
        settings = Settings(
            given.repeats, device, given.images, given.batch, given.width, given.side,
            threads=torch.get_num_threads(), epochs=given.half_epochs, packed=given.data,
        )  # fmt: skip
        if given.data:
            held = len(settings.raw.train_y)
            settings = replace(settings, n=held - min(1000, held // 10))
        card = Card(
            settings, given.precision, names, given.graph, given.plain_images, given.workers
        )
        given.out.mkdir(parents=True, exist_ok=True)
        sizes = {name: getattr(card, name)
                 for name in ("precision", "graph", "plain_images", "workers")}  # fmt: skip
        sheet = Sheet(given.out, settings, sizes)
        measure(card, sheet, limit)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sheet.write()
    print(f"\n{_summary(sheet.report)}\n\nwrote {sheet.path} and {sheet.path.with_suffix('.md')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
