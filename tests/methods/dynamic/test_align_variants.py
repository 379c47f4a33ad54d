"""Variants of AlignPrune and their controls: scrambled scores, the last phase, clamp, weights."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.compose import list_methods, resolve_method
from prunebench.methods.infobatch import prunable

N, T = 80, 40


def built(kit, name="infobatch+align", epochs=T, **params):
    pruner = resolve_method(name).build(params)
    pruner.begin(kit.view(N, epochs))
    return pruner


def begun(kit, toy, done, name="infobatch+align", **params):
    """A pruner after some epochs in which every sample was visited, and its tables."""
    losses, reference = toy(N, T)
    pruner = built(kit, name, **params)
    tables = kit.Replay(losses, reference, window=5)
    for _ in range(done):
        tables.visit(torch.arange(N))
    return pruner, tables


def low_of(pruner):
    scores = pruner.last_scores
    low = torch.zeros(N, dtype=torch.bool)
    known = scores.isfinite()
    low[known] = prunable(scores[known])
    return low


class TestScramble:
    def scores(self, kit, toy, scramble, epochs=4):
        pruner, tables = begun(kit, toy, 8, **{"align.scramble": scramble})
        found = []
        for epoch in range(8, 8 + epochs):
            pruner.plan(kit.at(epoch, T, N), tables, kit.stream(epoch))
            found.append(pruner.last_scores)
        return found

    def test_the_same_scores_go_to_other_samples(self, kit, toy):
        plain = self.scores(kit, toy, "none")
        for scramble in ("each-epoch", "fixed"):
            for dealt, own in zip(self.scores(kit, toy, scramble), plain, strict=True):
                assert torch.equal(dealt.sort().values, own.sort().values)
                assert int((dealt == own).sum()) < N // 10

    def test_anew_each_epoch_or_once_for_the_run(self, kit, toy):
        # Nothing is visited in between, so that own scores stand still.
        anew, fixed = self.scores(kit, toy, "each-epoch"), self.scores(kit, toy, "fixed")
        assert all(torch.equal(s.nan_to_num(), fixed[0].nan_to_num()) for s in fixed)
        assert all(int((a == b).sum()) < N // 10 for a, b in pairwise(anew))

    def test_the_base_rule_is_not_scrambled(self, kit, toy):
        pruner, tables = begun(kit, toy, 2, **{"align.scramble": "fixed"})
        plain, _ = begun(kit, toy, 2)
        for one in (pruner, plain):
            one.plan(kit.at(2, T, N), tables, kit.stream())
        assert torch.equal(pruner.last_scores, plain.last_scores)

    @pytest.mark.parametrize("scramble", ["each-epoch", "fixed"])
    def test_a_resumed_run_deals_as_before(self, kit, toy, scramble):
        params = {"align.scramble": scramble}
        pruner, tables = begun(kit, toy, 0, **params)
        kit.run(pruner, tables, 15, T)
        again = built(kit, **params)
        again.load_state_dict(pruner.state_dict())
        for epoch in (15, 16):
            first, second = (
                p.plan(kit.at(epoch, T, N), tables, kit.stream(epoch)) for p in (pruner, again)
            )
            assert torch.equal(first.indices, second.indices)
            assert torch.equal(first.weights, second.weights)

    def test_another_run_forgets_the_permutation(self, kit, toy):
        pruner, tables = begun(kit, toy, 8, **{"align.scramble": "fixed"})
        pruner.plan(kit.at(8, T, N), tables, kit.stream(1))
        first = pruner.scorer.dealing
        pruner.begin(kit.view(N, T))
        pruner.plan(kit.at(8, T, N), tables, kit.stream(2))
        assert not torch.equal(pruner.scorer.dealing, first)


class TestFinish:
    @pytest.mark.parametrize("name", ["infobatch+align", "seta+align"])
    def test_the_last_phase_leaves_out_what_scores_low(self, kit, toy, name):
        for epoch in (20, 36):
            pruner, tables = begun(kit, toy, epoch, name, **{"align.finish": "high"})
            plan = pruner.plan(kit.at(epoch, T, N), tables, kit.stream())
            low = low_of(pruner)
            assert 0 < int(low.sum()) < N
            if epoch == 36:  # delta T = 35
                share = 1.0 if name == "infobatch+align" else 0.9
                assert not low[plan.indices].any()
                assert len(plan.indices) == math.floor(share * int((~low).sum()))
                assert plan.weights is None
            else:
                assert low[plan.indices].any()

    def test_where_the_base_rule_comes_back_everything_is_trained(self, kit, toy):
        losses, reference = toy(N, T)
        reference[34:] = reference[34]
        pruner = built(kit, **{"align.finish": "high"})
        tables = kit.Replay(losses, reference, window=5)
        trained = {}
        for epoch in range(T):
            if epoch in (36, 39):  # the window of the second holds a flat reference curve
                plan = pruner.plan(kit.at(epoch, T, N), tables, kit.stream())
                trained[epoch] = len(plan.indices)
            tables.visit(torch.arange(N))
        assert trained[36] < N == trained[39]

    def test_samples_without_a_score_stay(self, kit, toy):
        losses, reference = toy(N, T)
        losses[:, 7] = 0.0
        pruner = built(kit, **{"align.finish": "high"})
        tables = kit.Replay(losses, reference, window=5)
        for _ in range(36):
            tables.visit(torch.arange(N))
        plan = pruner.plan(kit.at(36, T, N), tables, kit.stream())
        assert pruner.last_scores[7].isnan()
        assert 7 in plan.indices

    def test_the_base_rule_finishes_with_everything(self, kit, toy):
        losses, _ = toy(N, T)
        pruner = built(kit, **{"align.finish": "high"})
        tables = kit.Replay(losses, None, window=5)  # no reference curve
        for _ in range(36):
            tables.visit(torch.arange(N))
        assert len(pruner.plan(kit.at(36, T, N), tables, kit.stream()).indices) == N

    def test_a_method_without_a_last_phase_refuses_it(self):
        with pytest.raises(
            InputError, match=r"ies\+align: align\.finish: 'high' needs .* last phase"
        ):
            resolve_method("ies+align").build({"align.finish": "high"})


class TestClamp:
    def test_least_share_of_the_low_side_that_stays(self, kit, toy):
        for r, clamp, kept in (
            (1.0, 0.1, 0.1),
            (1.0, 0.0, 0.0),
            (0.95, 0.0, 0.05),
            (0.9, 0.3, 0.3),
        ):
            pruner, tables = begun(kit, toy, 8, r=r, clamp=clamp)
            plan = pruner.plan(kit.at(8, T, N), tables, kit.stream())
            low = low_of(pruner)
            assert int(low[plan.indices].sum()) == math.floor(kept * int(low.sum()))
            if kept:
                torch.testing.assert_close(float(plan.weights.max()), 1 / kept)
            else:
                assert plan.weights is None

    @pytest.mark.parametrize("exact", [False, True])
    def test_dropping_the_low_side_whole_has_no_weights(self, kit, toy, exact):
        pruner, tables = begun(kit, toy, 8, r=1.0, clamp=0.0, exact_weights=exact)
        plan = pruner.plan(kit.at(8, T, N), tables, kit.stream())
        assert len(plan.indices) == N - int(low_of(pruner).sum())
        assert plan.weights is None
        assert "dropped whole" in pruner.cautions()[0]

    def test_scores_that_are_all_equal_drop_nothing(self, kit):
        pruner = resolve_method("infobatch").build({"r": 1.0, "clamp": 0.0})
        pruner.begin(kit.view(3, T))
        scores = torch.full((3,), 0.1)  # their mean can be an ulp above them
        for value in (0.1, 1.7, 2.9, 3.4):
            plan = pruner.prune(scores.fill_(value), kit.at(3, T, 3), kit.stream())
            assert len(plan.indices) == 3

    def test_the_share_of_the_paper_budget_follows(self):
        share = {
            clamp: resolve_method("infobatch").build({"r": 1.0, "clamp": clamp}).pruned_share(0.5)
            for clamp in (0.1, 0.0)
        }
        assert share[0.0] / share[0.1] == pytest.approx(1 / 0.9)


class TestLegacyAnnealWeights:
    def plans(self, kit, toy, epochs, **params):
        losses, reference = toy(N, T)
        pruner = built(kit, "infobatch", epochs, legacy_anneal_weights=True, **params)
        tables = kit.Replay(losses, reference)
        return pruner, tables, kit.run(pruner, tables, epochs)

    def test_the_last_factors_stay_where_delta_t_is_no_integer(self, kit, toy):
        _, _, plans = self.plans(kit, toy, 10)  # delta T = 8.75: epochs 0 to 7 prune
        last = torch.ones(N)
        last[plans[7].indices] = plans[7].weights
        assert set(last.tolist()) == {1.0, 2.0}
        for plan in plans[8:]:
            assert len(plan.indices) == N
            assert torch.equal(plan.weights, last[plan.indices])

    def test_they_weigh_the_mean_loss_of_a_batch_where_the_score_is_one_of_batches(self, kit, toy):
        losses, _ = toy(N, T)
        pruner = built(kit, "infobatch+bls", 10, legacy_anneal_weights=True)
        tables = kit.Replay(losses)
        tables.signals["batch_loss"] = losses[0]
        weighted = [plan for plan in kit.run(pruner, tables, 10) if plan.weights is not None]
        assert len(weighted[-1].indices) == N  # annealing
        assert all(plan.batch_weights for plan in weighted)

    def test_they_are_reset_where_it_is_one(self, kit, toy):
        _, _, plans = self.plans(kit, toy, 16)
        assert all(plan.weights is None for plan in plans[14:])

    def test_they_stay_where_the_number_of_epochs_is_open(self, kit, toy):
        pruner, tables, _ = self.plans(kit, toy, 10)
        where = replace(kit.at(9, 16, N), total_epochs=None, epochs_left=1.0)
        assert float(pruner.plan(where, tables, kit.stream()).weights.max()) == 2.0

    def test_a_resumed_run_has_the_same_weights(self, kit, toy):
        losses, reference = toy(N, T)
        pruner, again = (built(kit, epochs=10, legacy_anneal_weights=True) for _ in range(2))
        tables = kit.Replay(losses, reference, window=5)
        kit.run(pruner, tables, 8, 10)
        again.load_state_dict(pruner.state_dict())
        first, second = (p.plan(kit.at(8, 10, N), tables, kit.stream()) for p in (pruner, again))
        assert torch.equal(first.weights, second.weights)
        assert float(first.weights.max()) == 2.0


class TestAlignHard:
    def test_it_is_infobatch_align_with_the_low_side_dropped(self, kit, toy):
        hard, tables = begun(kit, toy, 0, "align-hard")
        other, theirs = begun(kit, toy, 0, r=1.0, clamp=0.0)
        for mine, plan in zip(kit.run(hard, tables, T), kit.run(other, theirs, T), strict=True):
            assert torch.equal(mine.indices, plan.indices)
            assert mine.weights is None
        assert hard.clean_data == "reference set"
        assert hard.reference
        assert built(kit, "align-hard", **{"align.reference": "train"}).clean_data == ""
        assert any("dropped whole" in line for line in hard.cautions())

    def test_its_card_says_whose_it_is_and_it_takes_no_other_scorer(self):
        info = resolve_method("align-hard")
        assert "ours" in info.card.side
        assert "not the published method" in info.card.side
        assert info.card.published is None
        assert info.clean_data == "reference set"
        assert "align-hard+align" not in [m.name for m in list_methods()]
        with pytest.raises(InputError, match="align-hard has its scorer"):
            resolve_method("align-hard+align")
