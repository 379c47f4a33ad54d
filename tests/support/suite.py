"""Benchmarks as tests: their figures, and which of their goals are met here."""

from __future__ import annotations

from typing import Any

import torch

from prunebench.bench.perf.page import figure_rows, where
from prunebench.bench.perf.suite import Benchmark, report
from prunebench.bench.perf.workload import Settings

#: Sizes that only show that a benchmark runs.
TINY = Settings(repeats=1, n=300, batch=32, width=2, side=8, steps=2, epochs=1)


def goals(benchmark: Benchmark, **settings: Any) -> dict[str, bool]:
    """Runs one benchmark and prints its figures.

    Args:
        benchmark: Takes settings and gives results.
        settings: As in ``Settings``.

    Returns:
        By figure with a goal: whether it is met, each time it occurs.
    """
    made = report({"": benchmark}, Settings(threads=torch.get_num_threads(), **settings))
    print()
    for row in figure_rows(made):
        print("  ".join(part for part in row if part))
    print(where(made))
    met: dict[str, bool] = {}
    for result in made["results"]:
        for figure in result["figures"]:
            if figure["goal"] is not None:
                met[figure["what"]] = met.get(figure["what"], True) and figure["met"]
    return met
