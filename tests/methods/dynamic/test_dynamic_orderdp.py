"""OrderDP against the official code, its surrogate's probabilities, and with other scorers."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.compose import resolve_method
from prunebench.methods.orderdp import OrderDP, inclusion, shares, sizes, top_of_pool


def test_official_prune_calls(vectors, kit):
    cases = vectors("orderdp_prune_cases.json", "dynamic-2")
    arrays = vectors("orderdp_prune_cases.npz", "dynamic-2")
    for case in cases:
        scores, pool, official = (
            arrays[f"c{case['case']:02d}_{key}"] for key in ("scores", "pool", "kept_in_order")
        )
        n, top = case["n"], case["top"]
        assert sizes(n, case["pool_share"], case["top_share"]) == (case["pool"], top)
        for stream in (None, kit.stream()):
            kept = top_of_pool(scores, pool, top, stream)
            assert torch.isin(kept, pool).all()
            assert len(kept.unique()) == top == n - case["num_pruned"]
            assert torch.equal(scores[kept], scores[official].sort(descending=True).values), case
            if len(scores[pool].unique()) == len(pool):
                assert set(kept.tolist()) == set(official.tolist())


def test_official_trace_with_forced_sets(vectors, kit):
    """The option delta of the official code changes nothing: sizes are the same to the end."""
    trace = vectors("orderdp_trace.npz", "dynamic-2")
    (case,) = vectors("orderdp_trace.json", "dynamic-2")
    total, n = case["T"], case["n"]
    pruner = OrderDP(pool=case["pool_share"], top=case["top_share"])
    pruner.begin(kit.view(n, total, 0.7))
    tables = kit.Replay(trace["t0_losses"])
    usage = torch.zeros(n, dtype=torch.int64)
    for epoch in range(total):
        stored = torch.where(tables.loss.isnan(), 3.0, tables.loss)
        assert torch.equal(stored, trace["t0_scores_before_epoch"][epoch])
        plan = pruner.plan(kit.at(epoch, total, n), tables, kit.stream(epoch))
        kept = trace["t0_kept"][epoch].nonzero().squeeze(1)
        assert plan.weights is None
        assert len(plan.indices) == case["sizes"][epoch] == len(kept)
        ours = top_of_pool(stored, trace["t0_pool"][epoch], len(kept))
        assert torch.equal(stored[ours].sort().values, stored[kept].sort().values)
        tables.visit(kept)
        usage[kept] += 1
    stored = torch.where(tables.loss.isnan(), 3.0, tables.loss)
    assert torch.equal(stored, trace["t0_scores_final"])
    assert (trace["t0_sample_usage"] - usage).sum() == case["top"]  # the constructor's own draw


def test_inclusion_is_exact_and_the_draw_follows_it(vectors, kit):
    arrays = vectors("orderdp_inclusion.npz", "dynamic-2")
    for key in (key[:2] for key in arrays if key.endswith("_nsq")):
        n, s, q = arrays[f"{key}_nsq"].tolist()
        assert torch.equal(inclusion(n, s, q), arrays[f"{key}_probability_by_rank_reference"])
    n, s, q = 6, 4, 2
    pools = list(combinations(range(n), s))
    literal = torch.tensor([sum(j in pool[:q] for pool in pools) for j in range(n)])
    assert torch.equal(inclusion(n, s, q), literal.double() / math.comb(n, s))
    assert inclusion(5, 3, 0).tolist() == [0] * 5
    assert inclusion(5, 5, 5).tolist() == [1] * 5

    n, s, q, seeds = (int(arrays[f"d0_{key}"]) for key in ("n", "pool", "top", "seeds"))
    gamma = inclusion(n, s, q)
    torch.testing.assert_close(gamma, arrays["d0_probability_by_rank_reference"])
    rank = torch.argsort(torch.rand(n, generator=torch.Generator().manual_seed(0)))
    scores = -rank.float()
    pruner = OrderDP(pool=s / n, top=q / s)
    pruner.begin(kit.view(n, 9, 0.7))
    runs, ours = 1500, torch.zeros(n)
    for seed in range(runs):
        ours[rank[pruner.prune(scores, kit.at(1, 9, n), kit.stream(seed)).indices]] += 1
    for counts, draws in ((ours, runs), (arrays["d0_count_by_rank"], seeds)):
        error = 5 * (draws * gamma * (1 - gamma)).sqrt() + 1e-9
        assert ((counts - draws * gamma).abs() <= error).all()


def test_shares_follow_the_ratio():
    assert shares(0.7) == pytest.approx((0.5, 0.6), abs=1e-6)
    assert shares(0.36) == pytest.approx((0.7734, 0.8275), abs=1e-4)
    assert shares(0.0) == (1.0, 1.0)
    for ratio in (0.1, 0.5, 0.93):
        pool, top = shares(ratio)
        assert pool * top == pytest.approx(1 - ratio)
        assert 0 < pool < 1
        assert 0 < top < 1
    assert sizes(100, 0.29, 1.0) == (29, 29)  # 0.29 * 100 is 28.999999999999996
    assert sizes(7, 6 / 7, 0.5) == (6, 3)


@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.5, 0.93, 0.999])
def test_sizes_are_those_of_the_ratio(kit, ratio):
    for n in (1, 3, 97):
        pruner = OrderDP()
        pruner.begin(kit.view(n, 4, ratio))
        plan = pruner.prune(torch.rand(n), kit.at(1, 4, n), kit.stream())
        assert len(plan.indices.unique()) == max(1, round((1 - ratio) * n))


def test_the_pool_has_the_size_of_the_ratio(kit, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "prunebench.methods.orderdp.top_of_pool",
        lambda scores, pool, q, rng: seen.append((len(pool), q)) or pool[:q],
    )
    for ratio, options in ((0.5, {}), (0.999, {}), (0.5, {"pool": 0.0, "top": 0.0})):
        pruner = OrderDP(**options)
        pruner.begin(kit.view(13, 4, ratio))
        pruner.prune(torch.rand(13), kit.at(1, 4, 13), kit.stream())
    # 13 * 0.5^0.5757166 = 8.72, 6.5 rounds half to even, and no epoch is empty.
    assert seen == [(9, 6), (1, 1), (1, 1)]


def test_equal_scores_are_kept_alike(kit):
    """So it is in the first epoch, where every sample is unseen."""
    n, runs = 10, 800
    pruner, times = OrderDP(), torch.zeros(n)
    pruner.begin(kit.view(n, 4, 0.7))
    for seed in range(runs):
        times[pruner.prune(torch.full((n,), 3.0), kit.at(0, 4, n), kit.stream(seed)).indices] += 1
    assert (times - runs * 0.3).abs().max() < 5 * (runs * 0.3 * 0.7) ** 0.5


def test_undefined_scores_first_and_ties_by_the_stream(kit):
    scores = torch.tensor([1.0, torch.nan, torch.inf, 1.0, 1.0, 0.0])
    pool = torch.tensor([5, 4, 3, 2, 1, 0])
    assert top_of_pool(scores, pool, 4).tolist() == [1, 2, 4, 3]
    times = torch.zeros(6)
    for seed in range(600):
        kept = top_of_pool(scores, pool, 3, kit.stream(seed))
        assert kept[:2].tolist() == [1, 2]
        times[kept[2]] += 1
    assert (times[[0, 3, 4]] - 200).abs().max() < 5 * (600 * 2 / 9) ** 0.5
    with pytest.raises(ValueError, match="cannot keep 7"):
        top_of_pool(scores, pool, 7)


def test_pool_and_top_go_together():
    with pytest.raises(InputError, match=r"orderdp\.pool.*without top"):
        OrderDP(pool=0.5)
    with pytest.raises(InputError, match=r"orderdp\.top.*without pool"):
        OrderDP(top=0.5)
    assert OrderDP().pruned_share(0.4) == 0.4
    assert OrderDP(pool=0.5, top=0.6).pruned_share(0.4) == pytest.approx(0.7)


def test_under_alignment_the_best_aligned_of_the_pool_are_kept(kit, toy):
    losses, reference = toy()
    epochs, n = losses.shape
    pruner = resolve_method("orderdp+align").build({"pool": 1.0, "top": 0.5, "align.window": 8})
    pruner.begin(kit.view(n, epochs))
    tables = kit.Replay(losses, reference, window=pruner.window)
    for _ in kit.run(pruner, tables, 12, total=epochs):
        pass
    plan = pruner.plan(kit.at(12, epochs, n), tables, kit.stream())
    scores = pruner.last_scores
    assert scores.isfinite().all()
    assert plan.weights is None
    dropped = torch.ones(n, dtype=torch.bool)
    dropped[plan.indices] = False
    assert scores[plan.indices].min() >= scores[dropped].max()
