"""UCB and epsilon-greedy against a third party's classes; draws by counts."""

from __future__ import annotations

import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.bandit import ema_score, greedy_random, ucb_score, ucb_update
from prunebench.methods.base import kept_count
from prunebench.methods.compose import resolve_method

N, EPOCHS = 60, 12


def test_third_party_scores_and_choices(kit, vectors):
    arrays = vectors("bandit_third_party.npz", "dynamic-2")
    for case in vectors("bandit_third_party.json", "dynamic-2"):
        mine = {
            k.partition("_")[2]: v for k, v in arrays.items() if k.startswith(f"c{case['case']}_")
        }
        mean = variance = torch.zeros(case["n"], dtype=torch.float64)
        score = torch.ones_like(mean)
        for t in range(case["T"]):
            values, updated = mine["losses"][t], mine["updated"][t]
            mean, variance = ucb_update(mean, variance, values, updated, case["alpha"])
            score = ema_score(score, values, updated, case["alpha"])
            bound = ucb_score(mean, variance, case["confidence"])
            for name, ours in (("mean", mean), ("variance", variance), ("ucb_score", bound),
                               ("ema_score", score)):  # fmt: skip
                torch.testing.assert_close(ours, mine[name][t], rtol=1e-9, atol=1e-12)
            greedy, drawn = greedy_random(bound, case["kept"], 0.0, kit.stream(t))
            same_but_for_ties(greedy, mine["ucb_kept"][t], bound)
            assert len(drawn) == 0
            greedy, drawn = greedy_random(score, case["kept"], case["epsilon"], kit.stream(t))
            same_but_for_ties(greedy, mine["greedy_kept"][t], score)
            assert len(drawn) == case["random"]


def same_but_for_ties(ours, theirs, scores):
    assert len(ours.unique()) == len(theirs)
    torch.testing.assert_close(scores[ours], scores[theirs], rtol=1e-9, atol=1e-12)


def test_the_random_part_is_uniform_over_the_rest(kit):
    scores = torch.arange(20.0)
    count, draws = torch.zeros(20), 3000
    for seed in range(draws):
        greedy, drawn = greedy_random(scores, 10, 0.3, kit.stream(seed))
        assert greedy.tolist() == [19, 18, 17, 16, 15, 14, 13]
        count[drawn] += 1
    assert count[13:].sum() == 0
    p = 3 / 13
    assert ((count[:13] - draws * p).abs() < 5 * (draws * p * (1 - p)) ** 0.5).all()


def test_ties_are_broken_by_the_stream_and_undefined_scores_kept(kit):
    scores = torch.tensor([1.0, 1.0, 1.0, 1.0, torch.nan, 0.0])
    kept = {tuple(greedy_random(scores, 3, 0.0, kit.stream(s))[0].tolist()) for s in range(40)}
    assert all(picks[0] == 4 and 5 not in picks for picks in kept)
    assert len(kept) > 6
    assert [len(part) for part in greedy_random(scores, 6, 1.0, kit.stream())] == [0, 6]
    # 0.1 * 30 is above 3 in floats, 0.29 * 100 below 29
    assert len(greedy_random(torch.rand(100), 100, 0.29, kit.stream())[1]) == 29


def begun(kit, name, **params):
    pruner = resolve_method(name).build(params)
    pruner.begin(kit.view(N, EPOCHS, ratio=0.3))
    return pruner


@pytest.mark.parametrize(
    ("name", "params"),
    [("ucb", {}), ("ucb", {"period": 3}), ("eps-greedy", {}), ("eps-greedy", {"period": 4})],
)
def test_runs_keep_the_share_and_resume(kit, toy, name, params):
    pruner, tables = begun(kit, name, **params), kit.Replay(toy(N, EPOCHS)[0])
    plans = []
    for epoch in range(EPOCHS):
        fresh = begun(kit, name, **params)
        if epoch:
            fresh.load_state_dict(pruner.state_dict())
        where = kit.at(epoch, EPOCHS, N)
        plan = pruner.plan(where, tables, kit.stream(epoch))
        assert torch.equal(fresh.plan(where, tables, kit.stream(epoch)).indices, plan.indices)
        assert torch.equal(pruner.plan(where, tables, kit.stream(epoch)).indices, plan.indices)
        assert plan.weights is None
        plans.append(plan.indices)
        tables.visit(plan.indices)
    assert [len(p) for p in plans] == [N] + [kept_count(N, 0.3)] * (EPOCHS - 1)
    period = params.get("period", 1)
    for first in range(1, EPOCHS, period):
        assert all(torch.equal(p, plans[first]) for p in plans[first : first + period])
    assert any(not torch.equal(p, plans[1]) for p in plans[1 + period :])


def test_ucb_keeps_the_largest_bounds_of_its_own_losses(kit, toy):
    pruner, tables = begun(kit, "ucb", alpha=0.5, confidence=2.0), kit.Replay(toy(N, EPOCHS)[0])
    mean, variance = [0.0] * N, [0.0] * N
    for epoch in range(EPOCHS):
        plan = pruner.plan(kit.at(epoch, EPOCHS, N), tables, kit.stream(epoch))
        if epoch:
            bound = [m + 2 * v for m, v in zip(mean, variance, strict=True)]
            cut = sorted(bound)[-len(plan.indices)]
            assert min(bound[i] for i in plan.indices.tolist()) >= cut - 1e-9
        tables.visit(plan.indices)
        for i in plan.indices.tolist():
            loss = float(tables.loss[i])
            variance[i] = 0.5 * variance[i] + 0.5 * (loss - mean[i]) ** 2
            mean[i] = 0.5 * mean[i] + 0.5 * loss


def test_everything_is_trained_until_each_sample_has_a_loss(kit, toy):
    pruner, tables = begun(kit, "ucb"), kit.Replay(toy(N, EPOCHS)[0])
    tables.visit(torch.arange(N - 1))
    assert len(pruner.plan(kit.at(1, EPOCHS, N), tables, kit.stream()).indices) == N


def test_a_loss_is_taken_in_once_and_averages_start_where_they_should(kit):
    losses = torch.linspace(2.0, 3.0, N).repeat(EPOCHS, 1)
    for name, start in (("ucb", 0.0), ("eps-greedy", 1.0)):
        pruner, tables = begun(kit, name, alpha=0.25), kit.Replay(losses)
        tables.visit(torch.arange(N))
        for _ in range(2):  # a plan that is asked for twice
            pruner.plan(kit.at(1, EPOCHS, N), tables, kit.stream())
            state = pruner.state_dict()
            average = state["score"] if name == "eps-greedy" else state["mean"]
            torch.testing.assert_close(average, 0.75 * start + 0.25 * losses[0].double())


def test_at_least_one_sample_is_kept(kit):
    pruner, tables = resolve_method("ucb").build(), kit.Replay(torch.rand(EPOCHS, 20))
    pruner.begin(kit.view(20, EPOCHS, ratio=0.99))
    tables.visit(torch.arange(20))
    assert len(pruner.plan(kit.at(1, EPOCHS, 20), tables, kit.stream()).indices) == 1


def test_options():
    for name, params in (("ucb", {"epsilon": 0.1}), ("eps-greedy", {"epsilon": 1.1}),
                         ("ucb", {"period": 0}), ("ucb", {"confidence": -1})):  # fmt: skip
        with pytest.raises(InputError, match=next(iter(params))):
            resolve_method(name).build(params)
