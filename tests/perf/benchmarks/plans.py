"""Planning an epoch and choosing within a batch, beside the literal forms."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from perf.benchmarks import literal
from prunebench.bench.perf.result import Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import Settings
from prunebench.methods.base import Progress, TrainView
from prunebench.methods.divbs import select_diverse
from prunebench.methods.ies import IES
from prunebench.methods.seta import SeTa

_CPU = torch.device("cpu")
_CALLS = 10
#: Bytes of one layer's activations.
_LAYER = 16 << 20


def _view(n: int) -> TrainView:
    return TrainView(n, 10, torch.zeros(n, dtype=torch.int64), 200, 0.5, _CPU)


def _result(
    s: Settings, name: str, what: str, ours: Any, theirs: Any, goal: float, notes: Any = ()
) -> Result:
    # Any training step frees blocks of this size; only then does the C library keep memory at hand
    # instead of asking the system for every array anew.
    torch.zeros(_LAYER // 4)
    times = in_turn({"literal": theirs, "ours": ours}, s.repeats, _CPU, {"ours": _CALLS})
    ratio = figure("literal / ours", times.ratio("literal", "ours"), goal=Goal(goal))
    return made(name, what, times, [ratio], notes)


def seta(s: Settings) -> Result:
    """A plan of SeTa in mid-run."""
    n = s.n
    scores = torch.randn(n, generator=torch.Generator().manual_seed(0)).exp()
    pruner, stream = SeTa(), s.stream("seta")
    pruner.begin(_view(n))
    where = Progress(0.1, 20, 20 * n, 200 * n, 180, 200)

    def ours() -> object:
        pruner.calls = 1
        return pruner.prune(scores, where, stream)

    what = f"SeTa's plan of an epoch, N = {n:,}, 5 groups"
    return _result(s, "seta", what, ours, lambda: literal.seta_plan(scores, 5), 100)


def ies(s: Settings) -> Result:
    """A plan of IES after six visits."""
    n, visits = s.n, 6
    ring = torch.rand(visits, n, generator=torch.Generator().manual_seed(0)) * 0.01
    history = dict(enumerate(ring.T.tolist()))
    tables: Any = SimpleNamespace(
        num_samples=n, losses=ring, seen=torch.full((n,), visits), loss=ring[-1]
    )
    pruner, stream = IES(), s.stream("ies")
    pruner.begin(_view(n))
    where = Progress(0.1, visits, visits * n, 200 * n, 194, 200)
    what = f"IES's plan of an epoch, N = {n:,}, {visits} visits"
    return _result(
        s, "ies", what, lambda: pruner.plan(where, tables, stream),
        lambda: literal.ies_mastered(history, 1e-3), 200,
    )  # fmt: skip


def divbs(s: Settings) -> Result:
    """A choice of DivBS: half of a batch, 512 features, 100 classes."""
    size, width, classes = s.batch, 512, 100
    g = torch.Generator().manual_seed(0)
    features, logits = (torch.randn(size, d, generator=g) for d in (width, classes))
    labels = torch.randint(classes, (size,), generator=g)
    k, stream = size // 2, s.stream("divbs")
    what = f"DivBS's choice of {k} of {size}, gradients of {width * classes:,} numbers"
    return _result(
        s, "divbs", what,
        lambda: select_diverse(features, logits, labels, k, "multinomial", stream),
        lambda: literal.divbs_picks(features, logits, labels, k), 50,
    )  # fmt: skip
