"""How long static methods take to choose: by records of the same choice, or timed on samples that
are simulated with the classes and the features of the data, fewer of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from prunebench.bench.checks.guard import seeded_generators
from prunebench.bench.checks.population import EPOCHS, SimulatedEvidence, simulate_population
from prunebench.bench.checks.simulate import warmup_of
from prunebench.bench.estimates.costs import split_sizes
from prunebench.bench.networks.build import build_model
from prunebench.bench.runs.cell import Cell
from prunebench.datasets.source import Outline
from prunebench.methods.base import StaticPruner, kept_count
from prunebench.record import Record, canonical
from prunebench.rng import Stream

#: Samples that are simulated first; twice as many follow. And those of a choice before them, which
#: is not timed.
_FIRST, _WARM = 400, 120
#: Numbers that simulated samples may hold: outputs and features of every epoch.
_NUMBERS = 4_000_000
#: A choice that takes so long is timed well enough; and seconds for all sizes of a method.
_ENOUGH_S, _ALL_S = 0.2, 0.5
#: Below this, times of two sizes say nothing about their growth.
_CLEAR_S = 0.01


@dataclass(frozen=True)
class ChoiceTime:
    """Seconds of one choice, and what they rest on, in words."""

    seconds: float
    basis: str


def choice_times(
    cells: Mapping[str, tuple[Cell, Outline]], records: Iterable[Record], threads: int
) -> dict[str, ChoiceTime]:
    """The choice of each cell of a static method that can be timed.

    Args:
        cells: By key, with the outlines of their data.
        records: Of the results folder.
        threads: Of a worker.
    """
    known: dict[str, list[float]] = {}
    for record in records:
        spent = record.timing.get("choice_s")
        if spent is not None and record.status == "done":
            known.setdefault(_choice_of(record.spec), []).append(spent)
    groups: dict[str, list[str]] = {}
    for key, (cell, _) in cells.items():
        if isinstance(cell.pruner(), StaticPruner):
            groups.setdefault(_choice_of(cell.spec.content), []).append(key)
    found: dict[str, ChoiceTime] = {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name, keys in groups.items():
            if name in known:
                count = len(known[name])
                text = f"{count} record{'s' * (count > 1)}"
                chosen: ChoiceTime | None = ChoiceTime(median(known[name]), text)
            else:
                first = min(keys, key=lambda key: cells[key][0].spec.ratio)  # it keeps most
                chosen = _timed(*cells[first])
            if chosen is not None:
                found |= dict.fromkeys(keys, chosen)
    finally:
        torch.set_num_threads(before)
    return found


def _choice_of(content: Mapping[str, Any]) -> str:
    """Cells whose choices take as long, ratios aside."""
    parts = ("method", "dataset", "imbalance", "recipe", "scoring_recipe")
    return canonical([content.get(name) for name in parts])


def _timed(cell: Cell, outline: Outline) -> ChoiceTime | None:
    """None for a method that does not choose among simulated samples, such as one that reads a
    file."""
    n, _ = split_sizes(cell.spec, outline)
    taken: dict[int, float] = {}
    try:
        width = _width(cell, outline)
        most = min(n, max(_FIRST, _NUMBERS // (EPOCHS * (outline.classes + width))))
        size = min(_FIRST, most)
        _seconds(cell, min(_WARM, size), outline.classes, width)  # it imports what it needs
        while True:
            taken[size] = _seconds(cell, size, outline.classes, width)
            if size == most or taken[size] > _ENOUGH_S or sum(taken.values()) > _ALL_S:
                break
            size = min(2 * size, most)
    except Exception:  # a method of anybody's; its cell says what is wrong
        return None
    first, last = min(taken), max(taken)
    basis, power = f"timed now on {last:,} simulated samples", 1.0
    if last == n:
        return ChoiceTime(taken[last], basis)
    if last > first and taken[last] > _CLEAR_S:
        growth = math.log(taken[last] / taken[first]) / math.log(last / first)
        power = min(2.0, max(1.0, growth))
    return ChoiceTime(taken[last] * (n / last) ** power, f"{basis}, N^{power:.1f} from there")


def _seconds(cell: Cell, n: int, classes: int, width: int) -> float:
    pruner = cell.pruner()
    assert isinstance(pruner, StaticPruner)
    evidence = SimulatedEvidence(
        simulate_population(n, classes=classes, width=width), warmup_of(EPOCHS)
    )
    k = kept_count(n, cell.spec.ratio)
    with seeded_generators():
        start = time.perf_counter()
        pruner.keep(evidence, k, Stream(0))
        return time.perf_counter() - start


def _width(cell: Cell, outline: Outline) -> int:
    """D of a cell's network."""
    network: Any = build_model(cell.spec.evidence_recipe, outline.shape, outline.classes, Stream(0))
    kind = torch.int32 if outline.vocabulary else torch.float32
    with torch.no_grad():
        features = network.eval().features(torch.zeros((2, *outline.stored), dtype=kind))
        return int(features.shape[1])


def told(times: Sequence[tuple[str, ChoiceTime]]) -> list[dict[str, object]]:
    """Choices by method for ``--dry-run``: cells, seconds of all, and what they rest on.

    Args:
        times: The name of the method and the choice of every cell.
    """
    rows: dict[tuple[str, str], list[float]] = {}
    for name, choice in times:
        rows.setdefault((name, choice.basis), []).append(choice.seconds)
    return [
        {"method": name, "cells": len(spent), "seconds": round(sum(spent), 3), "basis": basis}
        for (name, basis), spent in sorted(rows.items(), key=lambda row: -sum(row[1]))
    ]
