"""Static scoring beside its literal reading."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.bench.perf.memory import peak
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import Settings
from prunebench.methods.aum import aum_scores
from prunebench.methods.dual import dual_scores
from prunebench.methods.dyn_unc import dyn_unc_scores
from prunebench.methods.prune4rel import prune4rel_order
from prunebench.methods.strata import stratified
from prunebench.rng import Stream

_CPU = torch.device("cpu")
_EPOCHS, _WINDOW = 200, 10
_WIDTH, _CLASSES = 512, 100


def windows_literal(p: Tensor, window: int, difficulty: bool) -> Tensor:
    """One standard deviation per window of p [E, N]."""
    total = torch.zeros(p.shape[1])
    for start in range(len(p) - window + 1):
        rows = p[start : start + window]
        spread = 10 * rows.std(0)
        total += spread * (1 - rows.mean(0)) if difficulty else spread
    return total / (len(p) - window + 1)


def windows(s: Settings) -> Result:
    """Dyn-Unc and DUAL over a whole run's trajectories."""
    p = torch.rand(_EPOCHS, s.n, generator=torch.Generator().manual_seed(0))
    contenders = {
        "dyn-unc, literal": lambda: windows_literal(p, _WINDOW, False),
        "dyn-unc, ours": lambda: dyn_unc_scores(p, _WINDOW),
        "dual, literal": lambda: windows_literal(p, _WINDOW, True),
        "dual, ours": lambda: dual_scores(p, _EPOCHS, _WINDOW),
    }
    for name in ("dyn-unc", "dual"):
        ours, literal = (contenders[f"{name}, {whose}"]() for whose in ("ours", "literal"))
        torch.testing.assert_close(ours, literal, rtol=1e-4, atol=1e-5)
    times = in_turn(contenders, s.repeats, _CPU)
    figures = [
        figure(
            f"{name}: literal / ours", times.ratio(f"{name}, literal", f"{name}, ours"),
            goal=Goal(5),
        )
        for name in ("dyn-unc", "dual")
    ]  # fmt: skip
    what = f"windows of {_WINDOW} over {_EPOCHS} epochs of {s.n:,} samples"
    return made("windows", what, times, figures)


def aum_literal(target: Tensor, runner_up: Tensor) -> Tensor:
    """The margins of one epoch after the other, added up."""
    total = torch.zeros(target.shape[1])
    for own, other in zip(target, runner_up, strict=True):
        total += own - other
    return total / len(target)


def strata_literal(scores: Tensor, k: int, strata: int, dropped: int) -> Tensor:
    """A mask over all survivors for every stratum, as CCS: core/data/Coreset.py has it."""
    survivors = scores.argsort()[dropped:]
    own = scores[survivors]
    low, high = float(own.min()), float(own.max()) * 1.0001
    width = (high - low) / strata
    parts = [
        survivors[(own >= low + j * width) & (own < low + (j + 1) * width)] for j in range(strata)
    ]
    chosen, left = [], k
    for done, members in enumerate(sorted(parts, key=len)):
        budget = min(len(members), left // (strata - done))
        chosen.append(members[torch.randperm(len(members))[:budget]])
        left -= budget
    return torch.cat(chosen)


def strata(s: Settings) -> Result:
    """The area under the margin over a whole run, and a stratified draw by it."""
    g = torch.Generator().manual_seed(0)
    target, runner_up = torch.rand(2, _EPOCHS, s.n, generator=g)
    scores, k, cutoff = aum_scores(target, runner_up) + 1, s.n // 2, 0.1
    contenders = {
        "aum, literal": lambda: aum_literal(target, runner_up),
        "aum, ours": lambda: aum_scores(target, runner_up),
        "strata, literal": lambda: strata_literal(scores, k, 50, int(cutoff * s.n)),
        "strata, ours": lambda: stratified(scores, k, 50, cutoff, Stream(0)),
    }
    torch.testing.assert_close(
        contenders["aum, ours"](), contenders["aum, literal"](), rtol=1e-4, atol=1e-5
    )
    assert len(contenders["strata, ours"]()) == len(contenders["strata, literal"]()) == k
    before = peak()
    for name in ("aum, ours", "strata, ours"):
        contenders[name]()
    grown = peak() - before
    times = in_turn(contenders, s.repeats, _CPU)
    figures = [Figure("memory added", grown, "MiB", goal=Goal(3 * 1024, False))]
    for name in ("aum", "strata"):
        ratio = times.ratio(f"{name}, literal", f"{name}, ours")
        figures += [
            figure(f"{name}: literal / ours", ratio),
            Figure(f"{name}: seconds", times.median(f"{name}, ours"), "s", goal=Goal(600, False)),
        ]
    what = f"half of {s.n:,} samples by {_EPOCHS} epochs, 50 strata"
    return made("strata", what, times, figures)


def features(n: int, spread: float) -> tuple[Tensor, Tensor, Tensor]:
    """Confidence, rectified features around class centres, and labels of which 40 % are redrawn."""
    rng = np.random.default_rng(0)
    own = rng.integers(0, _CLASSES, n)
    centres = rng.standard_normal((_CLASSES, _WIDTH), dtype=np.float32)
    h = np.maximum(centres[own] + spread * rng.standard_normal((n, _WIDTH), dtype=np.float32), 0)
    labels = np.where(rng.random(n) < 0.4, rng.integers(0, _CLASSES, n), own)
    confidence = rng.uniform(0.2, 1, n).astype(np.float32)
    return torch.from_numpy(confidence), torch.from_numpy(h), torch.from_numpy(labels)


def greedy_literal(c: Tensor, h: Tensor, k: int, tau: float, eta: float, labels: Tensor) -> Tensor:
    """Row by row in float32: normalised once, one row of similarities and all gains per pick."""
    unit = torch.nn.functional.normalize(h, dim=1).numpy()
    confidence, y = c.numpy(), labels.numpy()
    mass = np.zeros(len(c), dtype=np.float32)
    members = [np.flatnonzero(y == cls) for cls in range(_CLASSES)]
    taken = np.zeros(len(c), dtype=bool)
    picks: list[int] = []
    for step in range(k):
        gain = np.tanh((mass + confidence) / eta) - np.tanh(mass / eta)
        gain[taken] = -1
        pool = members[step % _CLASSES]
        if len(pool) == 0:
            continue
        pick = int(pool[gain[pool].argmax()])
        taken[pick] = True
        picks.append(pick)
        s: NDArray[np.float32] = 0.5 + 0.5 * (unit @ unit[pick])
        s[s <= tau] = 0
        mass += s * confidence[pick]
    return torch.tensor(picks)


def prune4rel(s: Settings) -> list[Result]:
    """All picks of ours beside the first third of the literal form's, which pays the same for
    every pick: its whole run takes three times as long."""
    found = []
    picks = s.n * 7 // 10
    third = picks // 3
    for spread, repeats in ((0.6, s.repeats), (0.3, 1)):
        c, h, labels = features(s.n, spread)
        before = peak()
        saturated: list[int] = []

        def ours(
            c: Tensor = c, h: Tensor = h, y: Tensor = labels, out: list[int] = saturated
        ) -> None:
            order, count = prune4rel_order(c, h, picks, 0.95, 1.0, y, Stream(0))
            assert len(set(order.tolist())) == picks
            out.append(count)

        def literal(c: Tensor = c, h: Tensor = h, y: Tensor = labels) -> None:
            greedy_literal(c, h, third, 0.95, 1.0, y)

        ours()
        grown = peak() - before
        times = in_turn({"a third, literal": literal, "all, ours": ours}, repeats, _CPU)
        ratio = times.ratio("a third, literal", "all, ours")
        figures = [
            figure("a third, literal / all, ours", ratio, goal=Goal(1)),
            Figure("memory added", grown, "MiB", goal=Goal(2048, False)),
        ]
        kind = "few neighbours" if spread > 0.5 else "classes are cliques"
        what = f"{picks:,} picks of {s.n:,}, {_WIDTH} features, {_CLASSES} classes, {kind}"
        found.append(made("prune4rel", what, times, figures, [f"{saturated[0]:,} saturated picks"]))
    return found
