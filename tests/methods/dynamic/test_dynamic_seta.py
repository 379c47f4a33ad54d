"""SeTa against the official code and scikit-learn, and Dynamic Random."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from prunebench.errors import InputError
from prunebench.methods.controls import RandomDynamic
from prunebench.methods.seta import SeTa, group_by_score, window_groups


def test_official_windows(vectors):
    rows = vectors("seta_windows.json")
    assert len(rows) > 500
    for row in rows:
        call = (row["k"], row["alpha"], row["iteration"])
        if row["groups"] is None:
            with pytest.raises(ValueError, match="empty"):
                window_groups(*call)
        else:
            assert window_groups(*call) == row["groups"], row


def test_window_sequence():
    for k, step in itertools.product(range(1, 11), range(1, 15)):
        alpha = step / 14
        size = round(k * alpha)
        for c in range(1, 25):
            if size == 0:
                with pytest.raises(ValueError, match="empty"):
                    window_groups(k, alpha, c)
                continue
            window = window_groups(k, alpha, c)
            assert window == list(range(window[0], window[0] + size))
            assert window[0] == c % (k - size + 1)
        assert window_groups(k, alpha, 0) == list(range(k))
    assert [window_groups(5, 0.9, c)[0] for c in (1, 2, 3)] == [1, 0, 1]


def library_groups(x: np.ndarray, k: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = KMeans(k, random_state=0, n_init=1).fit(x[:, None]).labels_
    present = np.unique(labels)
    means = [x[labels == j].astype(np.float64).mean() for j in present]
    rank = np.empty(k, dtype=np.int64)
    rank[present[np.argsort(means)]] = np.arange(len(present))
    return rank[labels]


DRAWS = {
    "lognormal": lambda g, n: g.lognormal(size=n),
    "normal": lambda g, n: g.normal(size=n),
    "ties": lambda g, n: g.integers(0, 12, n).astype(np.float64),
    "two_scales": lambda g, n: np.concatenate(
        [g.normal(0, 0.01, n // 2), g.normal(5, 2, n - n // 2)]
    ),
    "far_from_zero": lambda g, n: g.random(n) * 1e-3 + 5,
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_groups_equal_scikit_learn(kind, dtype):
    generator = np.random.default_rng(7)
    for _ in range(40):
        k = int(generator.integers(2, 11))
        n = int(generator.choice([k + 1, k + 5, 30, 100, 300, 2000]))
        x = DRAWS[kind](generator, n).astype(dtype)
        if len(np.unique(x)) < 2:
            continue
        ours = group_by_score(torch.from_numpy(x), k).numpy()
        assert np.array_equal(ours, library_groups(x, k)), (kind, n, k)


def inertia(x: np.ndarray, groups: np.ndarray) -> float:
    return float(sum(((x[groups == g] - x[groups == g].mean()) ** 2).sum() for g in set(groups)))


def test_exact_grouping_is_optimal():
    generator = np.random.default_rng(3)
    for _ in range(40):
        n, k = int(generator.integers(4, 12)), int(generator.integers(2, 5))
        x = np.sort(generator.normal(size=n).round(1))
        ours = inertia(x, group_by_score(torch.from_numpy(x), k, "exact").numpy())
        least = min(
            inertia(x, np.searchsorted(np.array(cuts), np.arange(n), "right"))
            for cuts in itertools.combinations(range(1, n), min(k, n) - 1)
        )
        assert ours == pytest.approx(least, abs=1e-9)
    x = generator.lognormal(size=3000)
    exact = group_by_score(torch.from_numpy(x), 6, "exact").numpy()
    assert inertia(x, exact) <= inertia(x, library_groups(x, 6)) + 1e-9


def test_grouping_edge_cases():
    assert group_by_score(torch.ones(12), 5).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert group_by_score(torch.tensor([2.0]), 3).tolist() == [0]
    assert group_by_score(torch.zeros(0), 3).tolist() == []
    assert group_by_score(torch.tensor([3.0, 1.0, 2.0]), 1).tolist() == [0, 0, 0]
    two = torch.tensor([1.0, 5.0, 1.0, 5.0, 1.0, 5.0])
    assert group_by_score(two, 5).tolist() == [0, 1, 0, 1, 0, 1]
    assert group_by_score(torch.tensor([2.0, 1.0]), 3).tolist() == [1, 0]
    assert group_by_score(torch.tensor([1.0, 9.0, 1.1]).half(), 2).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="finite"):
        group_by_score(torch.tensor([1.0, torch.nan, 2.0]), 2)
    with pytest.raises(ValueError, match="0 groups"):
        group_by_score(torch.ones(3), 0)


def test_grouping_leaves_global_generators_alone():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    group_by_score(torch.rand(100, generator=torch.Generator().manual_seed(0)), 5)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


class Forced:
    """A stream that draws the recorded sub-samples."""

    def __init__(self, drawn: torch.Tensor) -> None:
        self.drawn = drawn

    def sample(self, n: int, k: int, device: object = "cpu") -> torch.Tensor:
        assert len(self.drawn) == k
        return self.drawn


def test_official_trace(kit, vectors):
    """Every kept set of the official run, given its sub-samples (torch generator, seed 6)."""
    trace = vectors("seta_trace_T16.npz")
    total, n = int(trace["T"]), int(trace["N"])
    generator = torch.Generator().manual_seed(int(trace["torch_seed"]))
    pruner = SeTa(r=float(trace["r"]), k=int(trace["k"]), alpha=float(trace["alpha"]))
    pruner.begin(kit.view(n, total))
    tables = kit.Replay(trace["losses"])
    pruned = 0
    for epoch in range(total):
        stored = torch.where(tables.loss.isnan(), 3.0, tables.loss)
        assert torch.equal(stored, trace["scores_before_epoch"][epoch])
        drawn = torch.randperm(n, generator=generator)[:108]
        plan = pruner.plan(kit.at(epoch, total, n), tables, Forced(drawn))
        kept = trace["kept"][epoch].nonzero().squeeze(1)
        assert len(plan.indices) == len(kept)
        if epoch < 14:  # the annealing draw is numpy's
            assert torch.equal(plan.indices.sort().values, kept), epoch
        assert plan.weights is None
        pruned += n - len(kept)
        tables.visit(kept)
    assert pruned == int(trace["num_pruned"])
    assert pruner.calls == 14
    assert (trace["weights"] == 1).all()


def test_annealing_stays_partial_and_counts_are_exact(kit):
    losses = torch.rand(10, 101, generator=torch.Generator().manual_seed(1))
    pruner = SeTa(r=0.3)
    pruner.begin(kit.view(101, 10))
    plans = kit.run(pruner, kit.Replay(losses), 10)
    assert [len(p.indices) for p in plans[8:]] == [70, 70]
    assert len(plans[0].indices) == 70
    assert all(0 < len(p.indices) <= 70 for p in plans)


def test_fewer_distinct_scores_than_groups(kit):
    pruner = SeTa(r=0.0, delta=1.0)
    pruner.begin(kit.view(20, 10))
    scores = (torch.arange(20) % 2).float()
    sizes = [len(pruner.prune(scores, kit.at(e, 10, 20), kit.stream(e)).indices) for e in range(4)]
    assert sizes == [20, 20, 20, 20]  # a window of min(4, 2) groups holds both
    few = SeTa(k=30)
    few.begin(kit.view(20, 10))
    assert len(few.prune(scores, kit.at(3, 10, 20), kit.stream()).indices) == 20


def test_orientation(kit):
    scores = torch.cat([torch.zeros(50), torch.full((10,), 9.0)]) + torch.linspace(0, 0.5, 60)
    lows = {}
    for orientation in ("literal", "negated", "fixed_high"):
        pruner = SeTa(r=0.0, k=2, alpha=0.5, delta=1.0, orientation=orientation)
        pruner.begin(kit.view(60, 10))
        plans = [pruner.prune(scores, kit.at(e, 10, 60), kit.stream()) for e in range(4)]
        lows[orientation] = [len(p.indices) for p in plans]
    assert lows == {
        "literal": [60, 10, 50, 10], "negated": [60, 50, 10, 50], "fixed_high": [60, 10, 10, 10],
    }  # fmt: skip


def test_state_round_trip(kit):
    losses = torch.rand(12, 60, generator=torch.Generator().manual_seed(2))
    whole = SeTa()
    whole.begin(kit.view(60, 12))
    tables = kit.Replay(losses)
    kit.run(whole, tables, 5, 12)
    state = whole.state_dict()
    rest = [p.indices for p in kit.run(whole, tables, 7, 12)]
    again = SeTa()
    again.begin(kit.view(60, 12))
    copy = kit.Replay(losses)
    fresh = SeTa()
    fresh.begin(kit.view(60, 12))
    kit.run(fresh, copy, 5, 12)
    again.load_state_dict(state)
    assert all(
        torch.equal(a, b.indices) for a, b in zip(rest, kit.run(again, copy, 7, 12), strict=True)
    )


def test_empty_window_is_refused():
    with pytest.raises(InputError, match=r"seta\.alpha"):
        SeTa(k=5, alpha=0.05)
    assert SeTa(r=0.0, alpha=1.0).pruned_share(0.5) == 0.0
    assert SeTa(r=0.1, k=1, alpha=1.0).pruned_share(0.5) == pytest.approx(0.1)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.7])
def test_dynamic_random_keeps_an_exact_share_of_fresh_samples(kit, ratio):
    pruner = RandomDynamic()
    pruner.begin(kit.view(101, 10, ratio))
    plans = kit.run(pruner, kit.Replay(torch.zeros(10, 101)), 10)
    wanted = round((1 - ratio) * 101) if ratio else 101
    assert {len(p.indices) for p in plans} == {wanted}
    assert all(p.weights is None for p in plans)
    if ratio == 0:
        assert plans[3].indices.tolist() == list(range(101))
        return
    assert not torch.equal(plans[0].indices, plans[1].indices)
    counts = torch.zeros(101)
    for seed in range(2000):
        plan = pruner.plan(kit.at(0, 10, 101), kit.Replay(torch.zeros(1, 101)), kit.stream(seed))
        counts[plan.indices] += 1
    share = wanted / 101
    error = math.sqrt(share * (1 - share) / 2000)
    assert float((counts / 2000 - share).abs().max()) < 5 * error
    assert pruner.pruned_share(ratio) == ratio


def test_fewer_values_than_groups_are_grouped_as_scikit_learn_does():
    generator = np.random.default_rng(0)
    for _ in range(60):
        k, n = int(generator.integers(4, 8)), int(generator.choice([12, 40, 300]))
        x = generator.integers(0, 3, n).astype(np.float64)
        if len(np.unique(x)) == 3:
            ours = group_by_score(torch.from_numpy(x), k).numpy()
            assert np.array_equal(ours, library_groups(x, k)), (n, k)
