"""How fast training is on a card: ``python -m prunebench.bench.perf.cuda --out DIR``.

Contenders take turns (A B C A B C ...), one epoch each, after one epoch that is not counted;
medians and spread of images per second, beside a plain loop of the usual style. Writes
``cuda.json`` and ``cuda.md``. Needs neither mlflow nor optuna. On a CPU it only shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from prunebench.bench.networks.build import build_model
from prunebench.bench.perf.contenders import Laned, Solo, Workload, streams, whole_run
from prunebench.bench.perf.plain import PlainLoop
from prunebench.bench.perf.report import markdown, verdicts
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.task import load_raw
from prunebench.errors import InputError

ALL = ("plain", "eager", "graph", "compiled", "deterministic", "autotuned", "batch-512",
       "lanes-2", "lanes-4", "lanes-6")  # fmt: skip
HALVES = ("random", "random-dynamic", "infobatch", "seta", "infobatch+align")
Epoch = Callable[[], int]
Graph = Literal["auto", "off", "rehearse"]


def machine(device: torch.device) -> dict[str, Any]:
    """Device, versions and, on a card, clocks, power and temperature as nvidia-smi tells them."""
    facts: dict[str, Any] = {
        "platform": platform.platform(), "python": platform.python_version(),
        "torch": torch.__version__, "threads": torch.get_num_threads(), "device": str(device),
    }  # fmt: skip
    if device.type == "cuda":
        facts |= {"card": torch.cuda.get_device_name(device), "cuda": torch.version.cuda,
                  "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call] # fmt: skip
    return facts


def clocks(device: torch.device) -> str:
    """One line of nvidia-smi; empty without it."""
    if device.type != "cuda":
        return ""
    fields = "clocks.sm,clocks.mem,power.draw,temperature.gpu,driver_version"
    number = device.index or 0
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", f"--id={number}"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def timed(epoch: Epoch, device: torch.device) -> tuple[float, int]:
    """Seconds of one call, the device's work included, and the images it trained."""
    sync = torch.cuda.synchronize if device.type == "cuda" else lambda _: None
    sync(device)
    start = time.perf_counter()
    count = epoch()
    sync(device)
    return time.perf_counter() - start, count


def make(name: str, work: Workload, plain_images: int, workers: int, graph: Graph) -> Any:
    """A contender by name; an object with ``epoch()`` and, for ours, ``how``.

    Raises:
        InputError: No contender of that name.
    """
    execution = ExecutionOptions(graph=graph)
    if name == "plain":
        shape = tuple(work.raw.train_x.shape[1:])
        run = work.trainer(replace(execution, graph="off"))
        model = build_model(run.setup.recipe, shape, work.raw.num_classes, streams(0).get("init"))
        return PlainLoop(work.raw, model, work.device, work.batch, plain_images, workers)
    if name.startswith("lanes-"):
        return Laned(work, execution, int(name.removeprefix("lanes-")))
    if name == "autotuned":

        def autotune() -> None:
            torch.backends.cudnn.benchmark = True

        return Solo(work, execution, autotune)
    forms = {
        "eager": replace(execution, graph="off"),
        "graph": execution,
        "compiled": replace(execution, compile=True),
        "deterministic": replace(execution, deterministic=True),
        "batch-512": replace(execution, compile=execution.compile),
    }
    if name not in forms:
        raise InputError(f"{name!r}", where="--contenders", accepted=", ".join(ALL))
    if name == "batch-512":
        work = replace(work, batch=4 * work.batch)
    return Solo(work, forms[name])


def settle(name: str) -> None:
    """Process-wide switches of a contender, set again before each of its turns."""
    torch.backends.cudnn.benchmark = name == "autotuned"
    torch.backends.cudnn.deterministic = name == "deterministic"
    torch.use_deterministic_algorithms(name == "deterministic")


def measure(
    names: Sequence[str],
    work: Workload,
    repeats: int,
    plain_images: int,
    workers: int = 0,
    graph: Graph = "auto",
) -> dict[str, dict[str, Any]]:
    """Times contenders in turn; see the module.

    Returns:
        By name: ``images_s`` of every repeat, ``median``, ``low``, ``high``, ``warm_s`` of the
        epoch before, ``how`` steps were run and ``peak_gib`` of memory; or ``error``.
    """
    made: dict[str, Any] = {}
    found: dict[str, dict[str, Any]] = {}
    cuda = work.device.type == "cuda"
    for name in names:
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(work.device)
        base = torch.cuda.memory_allocated(work.device) if cuda else 0
        try:
            settle(name)
            made[name] = make(name, work, plain_images, workers, graph)
            warm, _ = timed(made[name].epoch, work.device)
        except (RuntimeError, ImportError) as error:  # others can still be measured
            made.pop(name, None)
            found[name] = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
            continue
        peak = torch.cuda.max_memory_allocated(work.device) - base if cuda else 0
        found[name] = {"images_s": [], "warm_s": warm, "peak_gib": peak / 2**30,
                       "how": getattr(made[name], "how", "a loop of the usual style")}  # fmt: skip
    for _ in range(repeats):
        for name, contender in made.items():
            settle(name)
            seconds, count = timed(contender.epoch, work.device)
            found[name]["images_s"].append(count / seconds)
    for row in found.values():
        if speeds := row.get("images_s"):
            row |= {"median": median(speeds), "low": min(speeds), "high": max(speeds)}
    return found


def passes(work: Workload, repeats: int, graph: Graph) -> dict[str, float]:
    """Median seconds of the passes beside training: reference of 1,000 and 10,000, test split."""
    found: dict[str, float] = {}
    n = len(work.raw.train_x)
    for size in {min(1000, n // 4), min(10_000, n // 4)}:
        run = replace(work, reference=size).trainer(
            ExecutionOptions(graph=graph),
            "infobatch+align",
        )

        def reference(run: Any = run, size: int = size) -> int:
            run._measure_reference()
            return size

        timed(reference, work.device)
        found[f"reference {size}"] = median(
            timed(reference, work.device)[0] for _ in range(repeats)
        )

    def test(run: Any = run) -> int:
        return len(run.test_logits())

    timed(test, work.device)
    found[f"test {len(run.test_sample_ids)}"] = median(
        timed(test, work.device)[0] for _ in range(repeats)
    )
    return found


def halves(work: Workload, repeats: int, epochs: int, graph: Graph) -> dict[str, float]:
    """Wall time of whole runs at half the samples over that of full training, medians."""
    short, execution = replace(work, epochs=epochs), ExecutionOptions(graph=graph)
    names = ("full", *HALVES)
    times: dict[str, list[float]] = {name: [] for name in names if name != "random"}
    for repeat in range(repeats + 1):
        for name, seconds in times.items():
            ratio = 0.0 if name == "full" else 0.5
            took, _ = timed(lambda n=name, r=ratio: whole_run(short, n, r, execution), work.device)  # type: ignore[misc]
            if repeat:
                seconds.append(took)
    full = median(times["full"])
    return {name: median(seconds) / full for name, seconds in times.items() if name != "full"}


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
        report = measured(given, device)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "cuda.json").write_text(json.dumps(report, indent=1) + "\n")
    text = markdown(report)
    (given.out / "cuda.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def measured(given: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Everything that ``main`` reports."""
    name, params = "synthetic", {
        "n": given.images, "test": max(100, given.images // 5), "classes": 10, "superclasses": 1,
        "size": given.side,
    }  # fmt: skip
    if given.data:
        name, params = "packed", {"path": given.data}
    raw = load_raw(name, params)
    work = Workload(
        raw, device, model_params={"width": given.width}, batch=given.batch,
        precision=given.precision, reference=min(1000, len(raw.train_x) // 10),
    )  # fmt: skip
    names = [part.strip() for part in given.contenders.split(",")]
    before = clocks(device)
    found = measure(names, work, given.repeats, given.plain_images, given.workers, given.graph)
    settle("")
    report: dict[str, Any] = {
        "machine": machine(device),
        "clocks": [before, clocks(device)],
        "workload": {"data": given.data or "synthetic", "images": len(work.task(0).train),
                     "model": f"resnet18 width {given.width}", "batch": given.batch,
                     "precision": given.precision, "repeats": given.repeats},
        "contenders": found,
        "passes_s": passes(work, given.repeats, given.graph),
        "halves": halves(work, given.repeats, given.half_epochs, given.graph)
        if given.half_epochs else {},
    }  # fmt: skip
    return {**report, "goals": verdicts(report)}


if __name__ == "__main__":
    sys.exit(main())
