"""Literal readings of the dynamic methods beside ours, in one run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from prunebench.methods.align import alignment
from prunebench.methods.align_scorer import trajectory_scores
from prunebench.methods.base import Progress, TrainView
from prunebench.methods.divbs import select_diverse
from prunebench.methods.ies import IES
from prunebench.methods.seta import SeTa
from prunebench.rng import Streams

pytestmark = pytest.mark.perf

STREAM = Streams(0, "perf", "clean").get("test")


def compare(
    what: str,
    slow: Callable[[], object],
    fast: Callable[[], object],
    repeats: int = 7,
    calls: int = 10,
) -> float:
    """Ratio of the medians of interleaved repeats; prints both.

    A repeat of the fast side is the mean of ``calls`` calls in a row.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for run in (slow, fast):
        run()
    for _ in range(repeats):
        for run, count, seconds in ((slow, 1, times[0]), (fast, calls, times[1])):
            start = time.perf_counter()
            for _ in range(count):
                run()
            seconds.append((time.perf_counter() - start) / count)
    a, b = (median(seconds) for seconds in times)
    print(f"\n{what}: {a * 1e3:.2f} ms against {b * 1e3:.3f} ms = {a / b:.1f}x")
    return a / b


def test_seta_plan_of_50000_samples() -> None:
    n, k = 50_000, 5
    scores = torch.from_numpy(np.random.default_rng(0).lognormal(size=n).astype(np.float32))

    def literal() -> list[int]:
        drawn = torch.randperm(n)[: int(0.9 * n)]
        values = [scores[i].item() for i in drawn]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            labels = KMeans(k, random_state=0).fit(np.array(values, np.float32)[:, None]).labels_
        groups: list[list[int]] = [[] for _ in range(k)]
        means: list[list[float]] = [[] for _ in range(k)]
        for i, label in zip(drawn, labels, strict=True):
            groups[label].append(int(i))
            means[label].append(scores[i].item())
        order = sorted(range(k), key=lambda j: float(np.mean(means[j])))
        kept = [i for j in order[1:] for i in groups[j]]
        np.random.default_rng(0).shuffle(kept)
        return kept

    pruner = SeTa()
    pruner.begin(TrainView(n, 10, scores, 200, 0.5, torch.device("cpu")))
    where = Progress(0.1, 20, 20 * n, 200 * n, 180, 200)

    def ours() -> object:
        pruner.calls = 1
        return pruner.prune(scores, where, STREAM)

    assert compare("SeTa plan, N = 50,000", literal, ours) >= 50


def test_ies_plan_of_50000_samples() -> None:
    n, visits = 50_000, 6
    ring = torch.rand(visits, n, generator=torch.Generator().manual_seed(0)) * 0.01
    history = {i: [ring[e, i].item() for e in range(visits)] for i in range(n)}

    def literal() -> list[int]:
        mastered = []
        for i in range(n):
            bends: list[float] = []
            for t in range(2, visits):
                series = history[i][: t + 1]
                bends.append(series[-1] - 2 * series[-2] + series[-3])
            averages = [np.mean(np.abs(bends[j : j + 3])) for j in range(len(bends) - 2)]
            if sum(averages[-1:]) < 1e-3:
                mastered.append(i)
        return mastered

    tables = SimpleNamespace(
        num_samples=n, losses=ring, seen=torch.full((n,), visits), loss=ring[-1]
    )
    pruner = IES()
    pruner.begin(TrainView(n, 10, tables.seen, 200, 0.5, torch.device("cpu")))
    where = Progress(0.1, visits, visits * n, 200 * n, 194, 200)
    assert (
        compare("IES plan, N = 50,000", literal, lambda: pruner.plan(where, tables, STREAM)) >= 200
    )  # type: ignore[arg-type]


def test_divbs_selection_of_64_of_128() -> None:
    size, width, classes, k = 128, 512, 100, 64
    g = torch.Generator().manual_seed(0)
    features, logits = (
        torch.randn(size, width, generator=g),
        torch.randn(size, classes, generator=g),
    )
    labels = torch.randint(classes, (size,), generator=g)

    def literal() -> list[int]:
        p = (logits.softmax(1) - torch.nn.functional.one_hot(labels, classes)) / size
        grads = (p[:, :, None] * features[:, None, :]).flatten(1)
        residual = grads.mean(0)
        basis = torch.empty(0, grads.shape[1])
        picks: list[int] = []
        for _ in range(k):
            chance = (grads @ residual).abs()
            pick = int(torch.multinomial(chance, 1).item())
            picks.append(pick)
            u = grads[pick] - basis.T @ (basis @ grads[pick])
            u = u / u.norm()
            basis = torch.cat([basis, u[None]])
            residual = residual - u * (u @ residual)
        return picks

    def ours() -> object:
        return select_diverse(features, logits, labels, k, "multinomial", STREAM)

    assert compare("DivBS, 64 of 128, d = 51,200", literal, ours) >= 50


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

    def bookkeeping() -> object:
        return trajectory_scores(losses, epochs, seen, reference, window)

    def dense() -> object:
        return alignment(losses, reference[:window])

    assert compare(f"DAS with missing epochs, N = {n:,}", bookkeeping, dense, calls=1) <= 8
