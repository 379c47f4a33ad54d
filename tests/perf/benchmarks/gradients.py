"""Choices by last-layer gradients beside literal forms.

Sizes are those of N samples in 10 classes, of which one class is timed: half of it is picked. The
literal forms of greedy choices pay for every pick; they are timed at a few picks, evenly spaced
over the choice, and their mean is that of a pick.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from prunebench.bench.perf.memory import peak
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import Settings
from prunebench.methods import last_layer
from prunebench.methods.craig import craig_order
from prunebench.methods.glister import glister_order, reference_gradient
from prunebench.methods.gradmatch import orthogonal_matching_pursuit
from prunebench.methods.moso import last_layer_term, moso_scores
from prunebench.methods.submodular import facility_location_order, graph_cut_order

_CPU = torch.device("cpu")
_WIDTH = 512
_TIMED = 5  # picks of a literal form


def one_class(n: int, classes: int, label: int = 0) -> tuple[Tensor, Tensor]:
    """Residuals and features of samples labelled alike, of which four in ten are of others."""
    rng = np.random.default_rng(label)
    own = np.where(rng.random(n) < 0.6, label, rng.integers(0, classes, n))
    centres = rng.standard_normal((classes, _WIDTH))
    h = np.maximum(centres[own] + 0.6 * rng.standard_normal((n, _WIDTH)), 0).astype(np.float32)
    z = rng.standard_normal((n, classes)).astype(np.float32)
    z[np.arange(n), own] += 4
    r = last_layer.residuals(torch.from_numpy(z), torch.full((n,), label))
    return r, torch.from_numpy(h)


def mean_pick(pick: Callable[[int], object], k: int) -> float:
    """Seconds of a literal pick, its cost given by how many were made before."""
    made_before = [(2 * i + 1) * k // (2 * _TIMED) for i in range(_TIMED)]
    seconds = []
    for count in made_before:
        begin = time.perf_counter()
        pick(count)
        seconds.append(time.perf_counter() - begin)
    return float(np.mean(seconds))


def gradmatch(s: Settings) -> Result:
    """The pursuit by a growing factor beside a solve per pick."""
    n = s.n // 10
    k = n // 2
    r, h = one_class(n, 10)
    before = peak()
    gram = last_layer.gram(r, h)
    inner = gram.mean(1)
    order, _ = orthogonal_matching_pursuit(gram, inner, k)
    grown = peak() - before

    def solve(count: int) -> Tensor:
        picks = order[: max(1, count)]
        system = gram[picks][:, picks] + torch.eye(len(picks), dtype=gram.dtype)
        return inner - gram[:, picks] @ torch.linalg.solve(system, inner[picks])

    def official(count: int) -> Tensor:
        picks = order[: max(1, count)]
        system = gram[picks][:, picks] + torch.eye(len(picks), dtype=gram.dtype)
        x, *_ = np.linalg.lstsq(system.numpy(), inner[picks].numpy(), rcond=None)
        return inner - gram[:, picks] @ torch.from_numpy(x)

    times = in_turn(
        {"ours": lambda: orthogonal_matching_pursuit(gram, inner, k)}, s.repeats, _CPU
    )  # fmt: skip
    ours = times.median("ours")
    figures = [
        Figure("least squares per pick, as DeepCore / ours", mean_pick(official, k) * k / ours,
               goal=Goal(50)),
        Figure("solve per pick / ours", mean_pick(solve, k) * k / ours),
        Figure("10 classes, ours", ours * 10, "s", goal=Goal(600, False)),
        Figure("memory added", grown, "MiB", goal=Goal(2048, False)),
    ]  # fmt: skip
    notes = [f"literal forms: {_TIMED} picks of {k:,}"]
    return made("gradmatch", f"{k:,} picks of {n:,}", times, figures, notes)


def submodular(s: Settings) -> Result:
    """CRAIG, facility location and graph cut beside all gains anew for every pick."""
    n = s.n // 10
    k = n // 2
    r, h = one_class(n, 10)
    before = peak()
    near = last_layer.similarity(r, h)
    picks = facility_location_order(near, k)

    def covering(count: int) -> Tensor:
        best = near[:, picks[: max(1, count)]].amax(1)
        return (near - best[:, None]).clamp_min_(0).sum(0).argmax()

    def cutting(count: int) -> Tensor:
        return (near.sum(0) - 2 * near[picks[: max(1, count)]].sum(0)).argmax()

    times = in_turn(
        {
            "facility location, ours": lambda: facility_location_order(near, k),
            "graph cut, ours": lambda: graph_cut_order(near, k),
            "craig with its distances, ours": lambda: craig_order(r, h, k),
        },
        s.repeats, _CPU,
    )  # fmt: skip
    figures = [
        Figure("facility location: literal / ours",
               mean_pick(covering, k) * k / times.median("facility location, ours"), goal=Goal(5)),
        Figure("graph cut: literal / ours",
               mean_pick(cutting, k) * k / times.median("graph cut, ours"), goal=Goal(5)),
        Figure("craig, 10 classes, ours", 10 * times.median("craig with its distances, ours"), "s",
               goal=Goal(600, False)),
        Figure("memory added", peak() - before, "MiB", goal=Goal(2048, False)),
    ]  # fmt: skip
    notes = [f"literal forms: {_TIMED} picks of {k:,}"]
    return made("submodular", f"{k:,} picks of {n:,}", times, figures, notes)


def gradients(s: Settings) -> Result:
    """GLISTER and MoSo beside forms that hold the gradients."""
    n = s.n // 10
    k = n // 2
    r, h = one_class(n, 10)
    z = torch.log_softmax(r.clamp_min(1e-6).log(), dim=1)
    labels = torch.zeros(n, dtype=torch.int64)
    reference = z[: min(1000, n)], h[: min(1000, n)], labels[: min(1000, n)]

    def formed() -> Tensor:
        return torch.cat([r, (r[:, :, None] * h.double()[:, None]).flatten(1)], dim=1)

    def glister_literal() -> list[int]:
        g, moved, picks, free = formed(), reference[0].double(), list[int](), torch.ones(n)
        block = max(1, k // 15)
        while len(picks) < k:
            bias, weight = reference_gradient(moved, *reference[1:])
            gains = g @ torch.cat([bias, weight.flatten()])
            gains[free == 0] = -torch.inf
            new = gains.topk(min(block, k - len(picks))).indices
            picks += new.tolist()
            free[new] = 0
            mean = g[picks].mean(0)
            step = mean[:10] + reference[1].double() @ mean[10:].reshape(10, -1).T
            moved = reference[0].double() - 0.1 * step
        return picks

    contenders = {
        "glister, literal": glister_literal,
        "glister, ours": lambda: glister_order(r, h, *reference, k, 0.1),
        "a snapshot of moso, literal": lambda: moso_scores(formed()[None], torch.ones(1)),
        "a snapshot of moso, ours": lambda: last_layer_term(z, h, labels),
    }
    assert set(glister_literal()) == set(contenders["glister, ours"]().tolist())  # type: ignore
    times = in_turn(contenders, s.repeats, _CPU)
    figures = [
        figure(f"{name}: literal / ours", times.ratio(f"{name}, literal", f"{name}, ours"),
               goal=Goal(1))
        for name in ("glister", "a snapshot of moso")
    ]  # fmt: skip
    return made("gradients", f"{k:,} of {n:,}, 10 classes", times, figures)


def many_classes(s: Settings) -> Result:
    """All of N samples in 100 classes, half of each: the whole choice of every method."""
    n = max(4, s.n // 100)
    k = n // 2
    groups = [one_class(n, 100, label) for label in range(100)]
    reference = [(torch.randn(10, 100), h[:1].repeat(10, 1), torch.full((10,), label))
                 for label, (_, h) in enumerate(groups)]  # fmt: skip

    def pursuits() -> None:
        for r, h in groups:
            gram = last_layer.gram(r, h)
            orthogonal_matching_pursuit(gram, gram.mean(1), k)

    contenders = {
        "craig": lambda: [craig_order(r, h, k) for r, h in groups],
        "gradmatch": pursuits,
        "graph cut": lambda: [
            graph_cut_order(last_layer.similarity(r, h), k) for r, h in groups
        ],
        "facility location": lambda: [
            facility_location_order(last_layer.similarity(r, h), k) for r, h in groups
        ],
        "glister": lambda: [
            glister_order(r, h, *known, k, 0.1)
            for (r, h), known in zip(groups, reference, strict=True)
        ],
    }  # fmt: skip
    times = in_turn(contenders, s.repeats, _CPU)
    figures = [Figure(name, times.median(name), "s", goal=Goal(600, False)) for name in contenders]
    return made("many_classes", f"{k:,} of {n:,}, in each of 100 classes", times, figures)
