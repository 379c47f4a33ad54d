"""Choices among feature vectors, and TDDS, beside their literal reading.

Where the literal form would take hours it is run on a part, which is named: one class of ten, or
one sample in ten.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from perf.benchmarks.static import features as simulated
from prunebench.bench.perf.memory import peak
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import Settings
from prunebench.methods.d2 import d2_by_class, d2_order
from prunebench.methods.feature_space import choose
from prunebench.methods.herding import herding_order
from prunebench.methods.k_center import k_center_order
from prunebench.methods.tdds import divergence_scores, tdds_scores
from prunebench.rng import Stream

_CPU = torch.device("cpu")
_RNG = Stream(0)
_RATIO = 0.5
#: Of a choice at a ratio of 0.5.
_SECONDS, _MEBIBYTES = Goal(600, False), Goal(3 * 1024, False)
_EPOCHS, _WINDOW = 90, 10


def k_center_literal(x: Tensor, k: int) -> list[int]:
    """One row of distances, by differences, a pick."""
    picks, nearest = [0], (x - x[0]).norm(dim=1)
    while len(picks) < k:
        picks.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (x - x[picks[-1]]).norm(dim=1))
    return picks


def herding_literal(x: Tensor, k: int) -> list[int]:
    """One row of distances to the moving target, by differences, a pick."""
    mean = x.mean(0)
    w, free = mean.clone(), torch.ones(len(x), dtype=torch.bool)
    picks: list[int] = []
    for _ in range(k):
        gap = (x - w).norm(dim=1)
        gap[~free] = torch.inf
        picks.append(int(gap.argmin()))
        free[picks[-1]] = False
        w += mean - x[picks[-1]]
    return picks


def d2_literal(x: Tensor, scores: Tensor, k: int, neighbours: int, gamma: float) -> list[int]:
    """All distances by differences, a matrix of edges, and one row of it a pick."""
    apart = torch.stack([(x - row).norm(dim=1) for row in x])
    apart.fill_diagonal_(torch.inf)
    edges = torch.zeros(len(x), len(x), dtype=torch.bool)
    edges.scatter_(1, apart.argsort(1)[:, :neighbours], True)
    edges |= edges.T.clone()
    messages = torch.where(edges, (-apart).exp(), 0.0) * scores.clamp_min(1e-7)
    density = scores + messages.sum(1)
    picks: list[int] = []
    for _ in range(k):
        pick = int(density.argmax())
        picks.append(pick)
        density -= torch.where(edges[pick], (-gamma * apart[pick]).exp(), 0.0) * density[pick]
        density[pick] = -torch.inf
    return picks


def tdds_literal(probabilities: Tensor, window: int, decay: float) -> Tensor:
    """Every window formed from the stored outputs."""
    total = torch.zeros(probabilities.shape[1], dtype=torch.float64)
    count = len(probabilities) - window + 1
    for first in range(count):
        visits = probabilities[first : first + window]
        steps = [
            (new * ((new + 1e-8).log() - (old + 1e-8).log())).abs().sum(1)
            for old, new in pairwise(visits)
        ]
        d = torch.stack(steps).double()
        age = count - 1 - first
        total += decay * (1 - decay) ** age * (d - d.mean(0)).square().sum(0).sqrt()
    return total


def _greedy(s: Settings, classes: int) -> Result:
    _, x, labels = simulated(s.n, 0.6)
    labels = labels % classes
    scores = torch.rand(s.n, generator=torch.Generator().manual_seed(1)).double()
    k = round(s.n * _RATIO)

    def d2(own: Tensor, h: Tensor, size: int, rng: Stream) -> Tensor:
        return d2_order(own, h, size, 5, 0.1)

    ours: dict[str, Callable[[], object]] = {
        "k-center": lambda: choose(
            x, labels, k, _RNG, lambda h, size, rng: k_center_order(h, size, 0)
        ),
        "herding": lambda: choose(
            x, labels, k, _RNG, lambda h, size, rng: herding_order(h, size)
        ),
        "d2": lambda: d2_by_class(scores, x, labels, k, _RNG, d2),
    }  # fmt: skip
    before = peak()
    for run in ours.values():
        run()
    grown = peak() - before
    parts = classes if classes > 10 else 1
    members = [(labels == cls).nonzero().squeeze(1) for cls in range(parts)]
    own = [(x[m].double(), scores[m], round(len(m) * _RATIO)) for m in members if len(m)]
    literal: dict[str, Callable[[], object]] = {
        "k-center": lambda: [k_center_literal(h, size) for h, _, size in own],
        "herding": lambda: [herding_literal(h, size) for h, _, size in own],
        "d2": lambda: [d2_literal(h, hard, size, 5, 0.1) for h, hard, size in own],
    }
    share = "all" if parts == classes else f"{parts} class of {classes}"
    contenders = {f"{name}, ours": run for name, run in ours.items()}
    contenders |= {f"{name}, literal, {share}": run for name, run in literal.items()}
    times = in_turn(contenders, s.repeats, _CPU)
    figures = [Figure("memory added", grown, "MiB", goal=_MEBIBYTES)]
    for name in ours:
        literally = f"{name}, literal, {share}"
        ratio = times.ratio(literally, f"{name}, ours").times(classes / parts)
        seconds = times.median(f"{name}, ours")
        figures += [
            figure(f"{name}: literal / ours", ratio, goal=Goal(1)),
            Figure(f"{name}: seconds", seconds, "s", goal=_SECONDS),
        ]
    what = f"half of {s.n:,} samples, {x.shape[1]} features, {classes} classes"
    return made("features", what, times, figures, variant=f"{classes} classes")


def _tdds(s: Settings) -> Result:
    g = torch.Generator().manual_seed(0)
    rows = torch.rand(_EPOCHS - 1, s.n, generator=g)
    part = max(1, s.n // 10)
    p = torch.randn(_EPOCHS, part, 100, generator=g).softmax(2)
    before = peak()
    divergence_scores(rows, _WINDOW)
    grown = peak() - before
    torch.testing.assert_close(
        tdds_scores(p, _WINDOW), tdds_literal(p, _WINDOW, 0.9), rtol=1e-4, atol=1e-6
    )
    contenders: dict[str, Callable[[], object]] = {
        "literal, a tenth": lambda: tdds_literal(p, _WINDOW, 0.9),
        "ours, a tenth": lambda: tdds_scores(p, _WINDOW),
        "ours, all recorded divergences": lambda: divergence_scores(rows, _WINDOW),
    }
    times = in_turn(contenders, s.repeats, _CPU)
    seconds = times.median("ours, all recorded divergences") + 10 * times.median("ours, a tenth")
    figures = [
        figure("literal / ours", times.ratio("literal, a tenth", "ours, a tenth"), goal=Goal(1)),
        Figure("seconds of all", seconds, "s", goal=_SECONDS),
        Figure("memory added", grown, "MiB", goal=_MEBIBYTES),
    ]
    what = f"{_EPOCHS} epochs, windows of {_WINDOW}, {s.n:,} samples, 100 classes"
    return made("features", what, times, figures, variant="tdds")


def features(s: Settings) -> list[Result]:
    """k-center, herding and D2 within classes of two sizes, and TDDS."""
    return [_greedy(s, 100), _greedy(s, 10), _tdds(s)]
