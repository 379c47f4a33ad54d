"""The benchmarks of parts at sizes that only show that they run, and what they compare."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perf.benchmarks import BENCHMARKS
from perf.benchmarks.overhead import overhead, weightless
from prunebench.bench.perf.suite import run
from support.suite import TINY, goals


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_runs_and_gives_figures(name: str) -> None:
    for result in run(BENCHMARKS[name], TINY):
        plain = json.loads(json.dumps(result.as_json()))
        assert plain["name"] == name
        assert plain["rows"]
        assert all(row["median"] > 0 for row in plain["rows"])
        assert all(np.isfinite(f["value"]) for f in plain["figures"])
        for f in plain["figures"]:
            assert f["met"] is None or type(f["met"]) is bool
            assert f["low"] is None or f["low"] <= f["high"]


def test_the_harness_benchmark_trains_what_the_pruner_planned() -> None:
    weighed = weightless(TINY)
    assert weighed.setup.pruner.name == "infobatch+align"
    assert sum(p.numel() for p in weighed.model.parameters()) == 40
    images = overhead(TINY).value("images of an epoch")
    assert TINY.n // 2 < images < TINY.n  # a half of those below the mean is left out


@pytest.mark.perf
@pytest.mark.parametrize("name", ["ladder", "scoring", "limit"])
def test_figures_without_a_goal(name: str) -> None:
    assert goals(BENCHMARKS[name]) == {}
