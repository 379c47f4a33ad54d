"""Static scoring beside its literal reading, in one process, interleaved."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.methods.dual import dual_scores
from prunebench.methods.dyn_unc import dyn_unc_scores
from prunebench.methods.prune4rel import prune4rel_order
from prunebench.rng import Stream

pytestmark = pytest.mark.perf


def beside(
    name: str, ours: Callable[[], object], literal: Callable[[], object], repeats: int
) -> float:
    """Median seconds of both, taken in turn; prints a line and returns literal / ours."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for record, call in zip(times, (ours, literal), strict=True):
            start = time.perf_counter()
            call()
            record.append(time.perf_counter() - start)
    fast, slow = median(times[0]), median(times[1])
    print(
        f"\n{name}: literal {slow:.3f} s, ours {fast:.3f} s, ratio {slow / fast:.1f} "
        f"(median of {repeats})"
    )
    return slow / fast


def windows_literal(p: Tensor, window: int, difficulty: bool) -> Tensor:
    """One standard deviation per window."""
    total = torch.zeros(p.shape[1])
    for start in range(len(p) - window + 1):
        rows = p[start : start + window]
        spread = 10 * rows.std(0)
        total += spread * (1 - rows.mean(0)) if difficulty else spread
    return total / (len(p) - window + 1)


@pytest.mark.parametrize("method", ["dyn-unc", "dual"])
def test_windows(method: str) -> None:
    p = torch.rand(200, 50_000, generator=torch.Generator().manual_seed(0))
    if method == "dual":
        ours, difficulty = (lambda: dual_scores(p, 200, 10)), True
    else:
        ours, difficulty = (lambda: dyn_unc_scores(p, 10)), False
    torch.testing.assert_close(ours(), windows_literal(p, 10, difficulty), rtol=1e-4, atol=1e-5)
    ratio = beside(
        f"{method}, E=200, N=50,000", ours, lambda: windows_literal(p, 10, difficulty), 5
    )
    assert ratio >= 5


N, D, C = 50_000, 512, 100


def features(spread: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rectified features around class centres, 40 % of the labels redrawn."""
    rng = np.random.default_rng(0)
    own = rng.integers(0, C, N)
    centres = rng.standard_normal((C, D), dtype=np.float32)
    h = np.maximum(centres[own] + spread * rng.standard_normal((N, D), dtype=np.float32), 0)
    labels = np.where(rng.random(N) < 0.4, rng.integers(0, C, N), own)
    confidence = rng.uniform(0.2, 1, N).astype(np.float32)
    return torch.from_numpy(confidence), torch.from_numpy(h), torch.from_numpy(labels)


def greedy_literal(c: Tensor, h: Tensor, k: int, tau: float, eta: float, labels: Tensor) -> Tensor:
    """Row by row in float32: normalised once, one row of similarities and all gains per pick."""
    unit = torch.nn.functional.normalize(h, dim=1).numpy()
    confidence, y = c.numpy(), labels.numpy()
    mass = np.zeros(len(c), dtype=np.float32)
    members = [np.flatnonzero(y == cls) for cls in range(C)]
    taken = np.zeros(len(c), dtype=bool)
    picks: list[int] = []
    for step in range(k):
        gain = np.tanh((mass + confidence) / eta) - np.tanh(mass / eta)
        gain[taken] = -1
        pool = members[step % C]
        pick = int(pool[gain[pool].argmax()])
        taken[pick] = True
        picks.append(pick)
        s: NDArray[np.float32] = 0.5 + 0.5 * (unit @ unit[pick])
        s[s <= tau] = 0
        mass += s * confidence[pick]
    return torch.tensor(picks)


def peak() -> int:
    """Peak resident bytes of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(
    ("spread", "repeats"), [(0.6, 3), (0.3, 1)], ids=["few neighbours", "classes are cliques"]
)
def test_prune4rel(spread: float, repeats: int) -> None:
    """All 35,000 picks of ours beside the first third of the literal form's.

    Ours must be done before that third is; the literal form pays the same for every pick, so its
    whole run takes at least three times as long.
    """
    c, h, labels = features(spread)
    picks, third = 35_000, 11_667
    before = peak()
    order, saturated = prune4rel_order(c, h, picks, 0.95, 1.0, labels, Stream(0))
    grown = (peak() - before) / 1e9
    print(f"\nprune4rel, spread {spread}: {saturated} saturated picks, peak +{grown:.2f} GB")
    assert len(set(order.tolist())) == picks
    assert grown < 2
    ratio = beside(
        f"prune4rel, N=50,000, D=512, C=100: literal {third} picks, ours {picks}",
        lambda: prune4rel_order(c, h, picks, 0.95, 1.0, labels, Stream(0)),
        lambda: greedy_literal(c, h, third, 0.95, 1.0, labels),
        repeats,
    )
    assert ratio >= 1
