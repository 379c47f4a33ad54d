"""The benchmarks by name, and a run of some of them as one report."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from prunebench.bench.perf.result import SCHEMA, Result
from prunebench.bench.perf.settings import Settings, threads
from prunebench.bench.perf.surroundings import clocks, load, surroundings
from prunebench.errors import InputError, nearest

#: Name -> where it is, what it times. Cells per hour and the command line's own speed need whole
#: processes: ``tests/perf`` has them.
BENCHMARKS = {
    "data-path": ("images:data_path", "crop, flip and normalise beside PIL and a DataLoader"),
    "step": ("epochs:step", "a tiny network's epoch beside the barest loop"),
    "epoch": ("epochs:epoch", "a ResNet-18 epoch beside a plain loop, bf16 where there are units"),
    "ladder": ("epochs:ladder", "from the plain loop to ours, one change at a time"),
    "lars": ("optimisers:lars", "one update beside unfused SGD's, and its share of a step"),
    "seta": ("plans:seta", "SeTa's plan beside its literal form"),
    "ies": ("plans:ies", "IES's plan beside its literal form"),
    "divbs": ("plans:divbs", "DivBS's choice beside its literal form"),
    "windows": ("static:windows", "Dyn-Unc and DUAL beside their literal forms"),
    "prune4rel": ("static:prune4rel", "Prune4ReL's picks beside a literal greedy loop; minutes"),
    "scoring": ("passes:scoring", "scores of static methods as shares of an epoch"),
    "passes": ("passes:passes", "evaluation and reference passes as shares of an epoch"),
    "bookkeeping": ("books:bookkeeping", "loss, DAS, SeTa and IES as shares of an epoch"),
    "overhead": ("harness:overhead", "all but forward, backward, optimiser and reference pass"),
    "halves": ("halves:halves", "whole cells at half the samples beside full training; minutes"),
    "memory": ("limits:memory", "what a run adds to the process"),
    "limit": ("limits:limit", "FLOP/s of training beside those of a matrix product"),
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


def run(name: str, settings: Settings) -> list[Result]:
    """One benchmark."""
    module, _, function = BENCHMARKS[name][0].partition(":")
    loaded = importlib.import_module(f"prunebench.bench.perf.{module}")
    with threads(settings.threads):
        found = getattr(loaded, function)(settings)
    return found if isinstance(found, list) else [found]


def report(
    names: Sequence[str],
    settings: Settings,
    note: Callable[[str, Sequence[Result]], None] = lambda name, found: None,
) -> dict[str, Any]:
    """Runs benchmarks.

    Args:
        names: Of ``BENCHMARKS``.
        settings: Sizes and repeats.
        note: Called when one is done.

    Returns:
        ``schema``, ``machine``, ``settings``, ``results`` and ``after`` (clocks and load then);
        plain values.
    """
    machine = surroundings(settings.device)
    results: list[dict[str, Any]] = []
    for name in names:
        begin = time.perf_counter()
        found = run(name, settings)
        spent = time.perf_counter() - begin
        results += [{**result.as_json(), "spent_s": round(spent, 1)} for result in found]
        note(name, found)
    given = {k: v for k, v in asdict(settings).items() if isinstance(v, int | float | str)}
    return {
        "schema": SCHEMA,
        "machine": {**machine, "threads": settings.threads},
        "settings": {
            **given, "device": str(settings.device),
            "official": None if settings.official is None else settings.official.name,
        },
        "results": results,
        "after": {"clocks": clocks(settings.device), "load": load()},
        "taken": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cuda": torch.cuda.is_available(),
    }  # fmt: skip
