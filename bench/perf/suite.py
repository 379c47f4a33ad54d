"""The benchmarks by name, and a run of some of them as one report."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from prunebench.bench.perf.result import SCHEMA, Result
from prunebench.bench.perf.surroundings import clocks, load, surroundings
from prunebench.bench.perf.workload import Settings, threads
from prunebench.errors import InputError, nearest

Benchmark = Callable[[Settings], Result | list[Result]]

#: Name -> where it is, what it times. Benchmarks of parts beside their literal readings, of cells
#: per hour and of the command line are in ``tests/perf``.
BENCHMARKS = {
    "data-path": ("data_path:data_path", "crop, flip and normalise beside PIL and a DataLoader"),
    "step": ("epochs:step", "a tiny network's epoch beside the barest loop"),
    "epoch": ("epochs:epoch", "a ResNet-18 epoch beside a plain loop, bf16 where there are units"),
    "halves": ("halves:halves", "whole cells at half the samples beside full training; minutes"),
    "memory": ("memory:memory", "what a run adds to the process"),
}


def chosen(names: Sequence[str]) -> list[str]:
    """The benchmarks of some names in their usual order; none means all.

    Raises:
        InputError: No benchmark has that name.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise InputError(
                f"no benchmark {name!r}", where="--only", accepted=nearest(name, BENCHMARKS)
            )
    return [name for name in BENCHMARKS if not names or name in names]


def find(name: str) -> Benchmark:
    """The benchmark of a name."""
    module, _, function = BENCHMARKS[name][0].partition(":")
    found: Benchmark = getattr(importlib.import_module(f"prunebench.bench.perf.{module}"), function)
    return found


def run(benchmark: Benchmark, settings: Settings) -> list[Result]:
    """One benchmark."""
    with threads(settings.threads):
        found = benchmark(settings)
    return found if isinstance(found, list) else [found]


def report(
    benchmarks: Mapping[str, Benchmark],
    settings: Settings,
    note: Callable[[str, Sequence[Result]], None] = lambda name, found: None,
) -> dict[str, Any]:
    """Runs benchmarks.

    Args:
        benchmarks: By name.
        settings: Sizes and repeats.
        note: Called when one is done.

    Returns:
        ``schema``, ``machine``, ``settings``, ``results`` and ``after`` (clocks and load then);
        plain values.
    """
    machine = surroundings(settings.device)
    results: list[dict[str, Any]] = []
    for name, benchmark in benchmarks.items():
        begin = time.perf_counter()
        found = run(benchmark, settings)
        spent = time.perf_counter() - begin
        results += [{**result.as_json(), "spent_s": round(spent, 1)} for result in found]
        note(name, found)
    return {**envelope(settings, machine, results), "after": after(settings.device)}


def after(device: torch.device) -> dict[str, Any]:
    """Clocks and load at the end."""
    return {"clocks": clocks(device), "load": load()}


def envelope(
    settings: Settings, machine: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A report but for what was seen after it."""
    given = {k: v for k, v in asdict(settings).items() if isinstance(v, int | float | str)}
    return {
        "schema": SCHEMA,
        "machine": {**machine, "threads": settings.threads},
        "settings": {**given, "device": str(settings.device)},
        "results": list(results),
        "taken": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cuda": torch.cuda.is_available(),
    }  # fmt: skip
