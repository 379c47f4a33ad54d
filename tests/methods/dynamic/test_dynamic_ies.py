"""IES against the official code, and its edge cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prunebench.methods.ies import IES, mastered


def literal(losses, threshold, window, last):
    """Sample by sample, as the paper says it."""
    out = []
    for series in losses.T.tolist():
        d2 = [abs(c - 2 * b + a) for a, b, c in zip(series, series[1:], series[2:], strict=False)]
        if len(d2) < window + last:
            out.append(False)
            continue
        averages = [np.mean(d2[j : j + window]) for j in range(len(d2) - window + 1)]
        out.append(bool(sum(averages[-last:]) < threshold))
    return torch.tensor(out)


@pytest.mark.parametrize(("window", "last"), [(3, 1), (4, 2), (1, 1), (2, 3)])
def test_mastered_equals_the_literal_reading(window, last):
    g = torch.Generator().manual_seed(0)
    for t in (1, 2, 3, 5, 6, 7, 12):
        losses = torch.rand(t, 40, generator=g, dtype=torch.float64) * torch.linspace(0, 0.1, 40)
        expected = literal(losses, 0.05, window, last)
        assert torch.equal(mastered(losses, 0.05, window, last), expected)
        assert bool(expected.any()) == (t >= window + last + 2)


def test_mastered_edge_cases():
    assert mastered(torch.zeros(5, 3), 1.0).tolist() == [False] * 3
    assert mastered(torch.zeros(6, 3), 1.0).tolist() == [True] * 3
    assert mastered(torch.zeros(6, 3), 0.0).tolist() == [False] * 3
    assert mastered(torch.full((6, 2), torch.nan), 1.0).tolist() == [False] * 2
    high_and_flat = torch.full((6, 1), 7.0)
    assert mastered(high_and_flat, 1e-3).tolist() == [True]
    assert mastered(torch.zeros(6, 0), 1.0).tolist() == []


def test_official_trace(kit, vectors):
    """Training, forward-only and excluded sets of every epoch."""
    trace = vectors("ies_traces.npz")
    losses = trace["c10_losses"]
    pruner = IES()
    pruner.begin(kit.view(60, 16, classes=10))
    tables = kit.Replay(losses, window=pruner.window)
    for epoch, plan in enumerate(kit.run(pruner, tables, 16)):
        trained = trace["c10_trained"][epoch].nonzero().squeeze(1)
        forward = trace["c10_evaluated_excluded"][epoch].nonzero().squeeze(1)
        assert torch.equal(plan.indices.sort().values, trained), epoch
        ours = torch.zeros(0, dtype=torch.int64) if plan.forward_only is None else plan.forward_only
        assert torch.equal(ours.sort().values, forward), epoch
        assert plan.weights is None
    for epoch in range(6, 16):
        excluded = mastered(losses[: epoch + 1], 1e-3)
        assert torch.equal(excluded, trace["c10_excluded_after_epoch"][epoch])
    assert not trace["c10_evaluated_excluded"][:6].any()
    assert trace["c10_evaluated_excluded"].any()


def bouncing(epochs=20, n=8):
    losses = torch.zeros(epochs, n)
    losses[:, 4:] = torch.rand(epochs, n - 4, generator=torch.Generator().manual_seed(0)) * 5
    losses[10:, :4] = torch.rand(epochs - 10, 4, generator=torch.Generator().manual_seed(1)) * 5
    return losses


@pytest.mark.parametrize("sticky", [False, True])
def test_samples_return_when_their_loss_moves(kit, sticky):
    pruner = IES(sticky_empty=sticky)
    pruner.begin(kit.view(8, 20))
    plans = kit.run(pruner, kit.Replay(bouncing(), window=pruner.window), 20)
    out = [0 if p.forward_only is None else len(p.forward_only) for p in plans]
    assert out[:12] == [0] * 6 + [4] * 5 + [4 if sticky else 0]
    assert set(out[12:]) == {4 if sticky else 0}


def test_everything_mastered_leaves_only_forward_passes(kit):
    pruner = IES()
    pruner.begin(kit.view(5, 10))
    plans = kit.run(pruner, kit.Replay(torch.ones(10, 5), window=pruner.window), 10)
    assert len(plans[5].indices) == 5
    assert len(plans[6].indices) == 0
    assert plans[6].forward_only.tolist() == [0, 1, 2, 3, 4]


def test_samples_with_fewer_visits_are_kept(kit):
    pruner = IES()
    pruner.begin(kit.view(4, 12))
    tables = kit.Replay(torch.ones(12, 4), window=pruner.window)
    for _ in range(2):
        tables.visit(torch.tensor([0, 1]))
    for _ in range(4):
        tables.visit(torch.arange(4))
    plan = pruner.plan(kit.at(6, 12, 4), tables, kit.stream())
    assert plan.forward_only.tolist() == [0, 1]
    assert sorted(plan.indices.tolist()) == [2, 3]


def test_ring_order_does_not_matter(kit):
    """A ring of another length, out of step between samples, gives the same sets."""
    g = torch.Generator().manual_seed(4)
    losses = torch.rand(30, 50, generator=g, dtype=torch.float64) * torch.linspace(0, 2e-3, 50)
    pruner = IES()
    pruner.begin(kit.view(50, 30))
    tables = kit.Replay(losses, window=9)
    tables.visit(torch.arange(25))
    for _ in range(20):
        tables.visit(torch.arange(50))
    plan = pruner.plan(kit.at(21, 30, 50), tables, kit.stream())
    expected = mastered(losses[:21], 1e-3).nonzero().squeeze(1)
    assert 0 < len(expected) < 50
    assert torch.equal(plan.forward_only, expected)


def test_threshold(kit):
    for classes, cut in ((10, 1e-3), (11, 2e-3), (100, 2e-3)):
        pruner = IES()
        pruner.begin(kit.view(5, 10, classes=classes))
        assert pruner.cut == cut
    zero = IES(threshold=0.0)
    zero.begin(kit.view(5, 10))
    plans = kit.run(zero, kit.Replay(torch.ones(10, 5), window=6), 10)
    assert all(len(p.indices) == 5 and p.forward_only is None for p in plans)
    assert zero.pruned_share(0.5) == 0.0
    assert 0.1 <= IES().pruned_share(0.5) <= 0.5


def test_state_round_trip(kit):
    pruner = IES(sticky_empty=True)
    pruner.begin(kit.view(8, 20))
    tables = kit.Replay(bouncing(), window=pruner.window)
    kit.run(pruner, tables, 11, 20)
    again = IES(sticky_empty=True)
    again.begin(kit.view(8, 20))
    again.load_state_dict(pruner.state_dict())
    where = kit.at(11, 20, 8)
    first, second = (p.plan(where, tables, kit.stream()) for p in (pruner, again))
    assert torch.equal(first.indices, second.indices)
    assert torch.equal(first.forward_only, second.forward_only)
