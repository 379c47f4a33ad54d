"""Goals of the dynamic methods beside their literal forms and beside an epoch of training; see
``perf.benchmarks``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from perf.benchmarks import BENCHMARKS
from prunebench.bench.perf.timing import in_turn
from prunebench.methods.align import alignment, trajectory_scores
from support.suite import goals
from support.timing import machine

pytestmark = pytest.mark.perf


@pytest.mark.parametrize("method", ["seta", "ies", "divbs"])
def test_plans_against_literal_forms(method: str) -> None:
    assert goals(BENCHMARKS[method]) == {"literal / ours": True}


def test_plans_at_the_size_of_imagenet() -> None:
    met = goals(BENCHMARKS["plan-costs"], n=1_281_167, repeats=3)
    assert len(met) >= 5
    assert all(met.values()), met


def test_choices_within_batches_over_an_epoch_of_imagenet() -> None:
    met = goals(BENCHMARKS["batch-choices"])
    assert len(met) == 2
    assert all(met.values()), met


def test_bookkeeping_beside_an_epoch() -> None:
    met = goals(BENCHMARKS["bookkeeping"])
    assert len(met) == 4
    assert all(met.values()), met


@pytest.mark.parametrize("n", [50_000, 1_281_167])
def test_alignment_bookkeeping(n: int) -> None:
    """Rings, epochs and masks against the form in which nothing is missing."""
    window = 25
    g = torch.Generator().manual_seed(0)
    losses = torch.rand(window, n, generator=g)
    reference = torch.linspace(2, 1, 40, dtype=torch.float64) ** 2
    epochs = torch.arange(window)[:, None].expand(window, n).contiguous()
    epochs[torch.rand(window, n, generator=g) < 0.3] = -1
    seen = torch.full((n,), window)
    contenders: dict[str, Callable[[], object]] = {
        "with missing epochs": lambda: trajectory_scores(losses, epochs, seen, reference, window),
        "dense": lambda: alignment(losses, reference[:window]),
    }
    times = in_turn(contenders, 7, torch.device("cpu"))
    ratio = times.ratio("with missing epochs", "dense")
    print(f"\nDAS, N = {n:,}: {ratio}, {machine()}")
    assert ratio.value <= 8
