"""InfoBatch against the official code, and the properties of its weights."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.base import pruning_epochs as shared
from prunebench.methods.infobatch import InfoBatch, keep_share, prunable, pruning_epochs


def started(kit, n, epochs=16, **params):
    pruner = InfoBatch(**params)
    pruner.begin(kit.view(n, epochs))
    return pruner


def test_official_prune_calls(kit, vectors):
    cases, arrays = vectors("infobatch_prune_cases.json"), vectors("infobatch_prune_cases.npz")
    assert len(cases) > 30
    for case in cases:
        key = f"c{case['case']:03d}"
        scores, low = arrays[f"{key}_scores"], arrays[f"{key}_low_mask"]
        assert torch.equal(prunable(scores), low), case
        pruner = started(kit, case["n"], r=case["r"])
        plan = pruner.prune(scores, kit.at(1, 16, case["n"]), kit.stream())
        assert len(plan.indices) == case["n_kept"]
        kept = torch.zeros(case["n"], dtype=torch.bool)
        kept[plan.indices] = True
        assert kept[~low].all()
        assert int((kept & low).sum()) == case["n_low_kept"]
        ours = torch.ones(case["n"])
        if plan.weights is not None:
            ours[plan.indices] = plan.weights
        expected = torch.where(kept & low, case["weight_kept_low"], 1.0)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
        # The recorded weights follow from the recorded kept set by the same rule.
        official = torch.zeros(case["n"], dtype=torch.bool)
        official[arrays[f"{key}_kept_in_order"]] = True
        expected = torch.where(official & low, case["weight_kept_low"], 1.0)
        torch.testing.assert_close(arrays[f"{key}_weights"], expected, rtol=1e-6, atol=0)


def test_official_trace_with_forced_sets(kit, vectors):
    trace = vectors("infobatch_trace_T16.npz")
    total, n, r = int(trace["T"]), int(trace["N"]), float(trace["r"])
    pruner = started(kit, n, total, r=r)
    tables = kit.Replay(trace["losses"])
    pruned = 0
    for epoch in range(total):
        stored = torch.where(tables.loss.isnan(), 3.0, tables.loss)
        assert torch.equal(stored, trace["scores_before_epoch"][epoch])
        plan = pruner.plan(kit.at(epoch, total, n), tables, kit.stream(epoch))
        kept = trace["kept"][epoch]
        assert len(plan.indices) == int(kept.sum())
        pruned += n - len(plan.indices)
        low = prunable(stored) if epoch < 14 else torch.zeros(n, dtype=torch.bool)
        expected = torch.where(kept & low, 1 / (1 - r), 1.0)
        torch.testing.assert_close(trace["weights"][epoch], expected)
        assert (plan.weights is None) == (not low.any())
        tables.visit(kept.nonzero().squeeze(1))
    assert pruned == int(trace["num_pruned"])
    stored = torch.where(tables.loss.isnan(), 3.0, tables.loss)
    assert torch.equal(stored, trace["scores_final"])


def test_official_update(vectors):
    """The weighted batch loss divides by the batch size; stored scores are unweighted."""
    update = vectors("infobatch_update.npz")
    batch = update["batch_indices"]
    loss = (update["weights"][batch] * update["batch_losses"]).mean()
    torch.testing.assert_close(loss.double(), update["returned_loss"], rtol=1e-6, atol=0)
    scores = update["scores_before"].clone()
    scores[batch] = update["batch_losses"]
    assert torch.equal(scores, update["scores_after"])


def test_undefined_scores_never_count():
    scores = torch.tensor([1.0, torch.nan, 2.0, 3.0, torch.nan])
    assert prunable(scores).tolist() == [True, False, False, False, False]
    assert prunable(torch.full((3,), torch.nan)).tolist() == [False] * 3
    assert prunable(torch.ones(4)).tolist() == [False] * 4
    assert prunable(torch.ones(0)).tolist() == []
    assert prunable(torch.tensor([1.0, 2.0], dtype=torch.float64)).tolist() == [True, False]


def test_pruning_epochs_is_an_exact_floor():
    assert pruning_epochs is shared
    for total in range(1, 301):
        for delta in (0.0, 0.1, 0.5, 0.7, 0.875, 0.9, 1.0):
            exact = Fraction(str(delta)) * total
            stop = pruning_epochs(total, delta)
            assert stop == math.floor(exact)
            # The official test e + 1 > delta T, in exact arithmetic.
            assert all((e + 1 <= exact) == (e < stop) for e in (stop - 1, stop, stop + 1) if e >= 0)
    assert [pruning_epochs(t, 0.875) for t in (10, 100, 140, 200)] == [8, 87, 122, 175]


def test_annealing_epochs_train_on_all_with_weight_one(kit):
    pruner = started(kit, 9, 300)
    scores = torch.arange(9.0)
    for total in range(1, 301):
        stop = pruning_epochs(total, 0.875)
        if stop:
            plan = pruner.prune(scores, kit.at(stop - 1, total, 9), kit.stream())
            assert len(plan.indices) == 7
            assert float(plan.weights.max()) == 2.0
        for epoch in {stop, total - 1}:
            if epoch >= stop:
                plan = pruner.prune(scores, kit.at(epoch, total, 9), kit.stream())
                assert len(plan.indices) == 9
                assert plan.weights is None


def test_r_zero_is_full_training(kit):
    pruner = started(kit, 5, r=0.0)
    plan = pruner.prune(torch.arange(5.0), kit.at(1, 16, 5), kit.stream())
    assert plan.indices.tolist() == list(range(5))
    assert plan.weights is None
    assert pruner.pruned_share(0.5) == 0.0
    assert not InfoBatch.zero_is_full


def test_keep_share_is_exact_and_clipped():
    assert math.floor(keep_share(0.7) * 10) == 3
    assert math.floor(keep_share(0.9) * 10) == 1
    assert math.floor(keep_share(0.8) * 5) == 1
    assert keep_share(1.0) == keep_share(0.95) == Fraction(1, 10)


def weight_sums(kit, draws, **params):
    scores = torch.cat([torch.linspace(0, 1, 43), torch.linspace(3, 4, 17)])
    total, low = torch.zeros(60), prunable(scores)
    pruner = started(kit, 60, **params)
    for seed in range(draws):
        plan = pruner.prune(scores, kit.at(1, 16, 60), kit.stream(seed))
        ones = torch.ones(len(plan.indices)) if plan.weights is None else plan.weights
        total.index_add_(0, plan.indices, ones)
    return total / draws, low


def test_expected_weight_is_floor_over_share(kit):
    mean, low = weight_sums(kit, 1500)
    assert int(low.sum()) == 43
    assert (mean[~low] == 1).all()
    assert float(mean[low].mean()) == pytest.approx(2 * 21 / 43, abs=1e-5)
    # Every low sample alike: standard error of a mean of 1500 draws of 0 or 2 is 0.026.
    assert float((mean[low] - 42 / 43).abs().max()) < 0.13


def test_exact_weights_sum_to_the_full_set(kit):
    scores = torch.cat([torch.linspace(0, 1, 43), torch.linspace(3, 4, 17)])
    pruner = started(kit, 60, exact_weights=True)
    plan = pruner.prune(scores, kit.at(1, 16, 60), kit.stream())
    assert float(plan.weights.double().sum()) == pytest.approx(60, abs=1e-4)
    mean, low = weight_sums(kit, 1500, exact_weights=True)
    assert float(mean[low].mean()) == pytest.approx(1.0, abs=1e-5)
    one_low = torch.tensor([0.0, 5.0, 5.0])
    plan = pruner.prune(one_low, kit.at(1, 16, 60), kit.stream())
    assert sorted(plan.indices.tolist()) == [0, 1, 2]


def test_without_rescaling_all_weights_are_one(kit):
    pruner = started(kit, 9, rescale=False)
    plan = pruner.prune(torch.arange(9.0), kit.at(1, 16, 9), kit.stream())
    assert plan.weights is None
    assert len(plan.indices) == 7


def test_first_epoch_is_full_and_unseen_samples_read_as_three(kit):
    losses = torch.tensor([[5.0, 0.1, 2.0, 9.0]]).expand(4, 4)
    tables = kit.Replay(losses)
    pruner = started(kit, 4, 4, delta=1.0)
    first = pruner.plan(kit.at(0, 4, 4), tables, kit.stream())
    assert sorted(first.indices.tolist()) == [0, 1, 2, 3]
    tables.visit(torch.tensor([0, 1, 3]))
    # Mean of 5, 0.1, 3, 9 is 4.275: samples 1 and 2 are low, one of them stays.
    plan = pruner.plan(kit.at(1, 4, 4), tables, kit.stream())
    assert len(plan.indices) == 3
    keeps = started(kit, 4, 4, delta=1.0, unseen_score=None)
    for seed in range(8):
        plan = keeps.plan(kit.at(1, 4, 4), tables, kit.stream(seed))
        weight = dict(zip(plan.indices.tolist(), plan.weights.tolist(), strict=True))
        assert weight[2] == 1.0


def test_pruned_share_is_the_published_one():
    assert InfoBatch().pruned_share(0.5) == pytest.approx(0.2877)
    assert InfoBatch(r=0.25).pruned_share(0.5) == pytest.approx(0.2877 / 2)


def test_options_are_checked():
    with pytest.raises(InputError, match=r"infobatch\.r"):
        InfoBatch(r=1.5)
    with pytest.raises(InputError, match="unknown option"):
        InfoBatch(ratio=0.5)
