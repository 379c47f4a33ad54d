"""RePB against its independent form; the coins by counts."""

from __future__ import annotations

import pytest
import torch

from prunebench.bench.checks import training as checks
from prunebench.bench.checks.training import EVEN, trained
from prunebench.errors import SkipCell
from prunebench.methods.base import kept_count
from prunebench.methods.compose import resolve_method
from prunebench.methods.repb import frequency_weights, next_pool
from support.command import prunebench

N, EPOCHS = 64, 10


def test_reference_traces(vectors):
    arrays = vectors("repb_reference_not_official.npz", "dynamic-2")
    for case in vectors("repb_reference_not_official.json", "dynamic-2"):
        mine = {
            k.partition("_")[2]: v for k, v in arrays.items() if k.startswith(f"c{case['case']}_")
        }
        count, weights = torch.zeros(case["n"], dtype=torch.int64), []
        for t in range(case["T"]):
            pool = mine["pool"][t]
            own = frequency_weights(count, t)
            expected = mine["weights"][t]
            torch.testing.assert_close(own[pool].double(), expected[pool], rtol=1e-6, atol=0)
            assert int(pool.sum()) == case["sizes"][t]
            weights.append(float(own[pool].max()))
            count += pool
            after = mine["pool"][t + 1] if t + 1 < case["T"] else mine["pool_after"]
            found = next_pool(
                mine["losses"][t], mine["window_mean"][t], pool, mine["uniform"][t], case["rho"]
            )
            assert torch.equal(found, after)
        assert max(weights) == pytest.approx(case["largest_weight"])


def test_undefined_losses_stay_and_counts_of_nothing_weigh_one():
    nan = torch.tensor([torch.nan, 1.0, 1.0])
    found = next_pool(
        nan, torch.tensor([2.0, torch.nan, 2.0]), torch.ones(3) > 0, torch.zeros(3), 1
    )
    assert found.tolist() == [True, True, False]
    assert frequency_weights(torch.tensor([0, 1, 4]), 4).tolist() == [1, 4, 1]
    assert frequency_weights(torch.tensor([0, 3]), 0).tolist() == [1, 1]


def begun(kit, **params):
    pruner = resolve_method("repb").build(params)
    pruner.begin(kit.view(N, EPOCHS))
    return pruner


def run(kit, losses, pruner, batch=8, **params):
    """Plans of a run of random batches, each beside that of a fresh pruner."""
    tables = kit.Replay(losses)
    mean = tables.signals["batch_loss"] = torch.full((N,), torch.nan)
    for epoch in range(EPOCHS):
        where = kit.at(epoch, EPOCHS, N)
        plan = pruner.plan(where, tables, kit.stream(epoch))
        fresh = begun(kit, **params)
        fresh.load_state_dict(pruner.state_dict())
        other = fresh.plan(where, tables, kit.stream(epoch))
        assert torch.equal(plan.indices, other.indices)
        yield tables, plan
        order = plan.indices[kit.stream(100 + epoch).permutation(len(plan.indices))]
        for part in order.split(batch):
            mean[part] = losses[epoch, part].mean()
        tables.visit(plan.indices)


def test_rho_zero_is_everything_with_weight_one(kit, toy):
    for _, plan in run(kit, toy(N, EPOCHS)[0], begun(kit, rho=0.0), rho=0.0):
        assert len(plan.indices) == N
        assert plan.weights is None or (plan.weights == 1).all()


def test_a_run_weights_by_frequency_and_keeps_what_lies_at_its_batch_mean(kit, toy):
    trained = torch.zeros(N)
    sizes, used = [], None
    for epoch, (tables, plan) in enumerate(run(kit, toy(N, EPOCHS)[0], begun(kit))):
        kept = torch.zeros(N, dtype=torch.bool)
        kept[plan.indices] = True
        if used is not None:
            high = used & (tables.loss >= tables.signal("batch_loss"))
            assert kept[high].all()
            expected = epoch / trained[plan.indices]
            torch.testing.assert_close(plan.weights, expected)
        trained += kept
        used = kept
        sizes.append(len(plan.indices))
    assert sizes[0] == N
    assert max(sizes[1:]) < N
    assert all(
        plan.weights is None for _, plan in run(kit, toy(N, EPOCHS)[0], begun(kit, rescale=False))
    )


def test_the_coins_are_fair(kit):
    uniform = kit.stream().uniform(40_000)
    low, high = torch.zeros(40_000), torch.ones(40_000)
    used = torch.arange(40_000) < 20_000
    for rho in (0.2, 0.7):
        found = next_pool(low, high, used, uniform, rho)
        for part in (found[:20_000], found[20_000:]):
            spread = 5 * (20_000 * rho * (1 - rho)) ** 0.5
            assert abs(int(part.sum()) - 20_000 * (1 - rho)) < spread


def test_an_empty_pool_keeps_the_used_sample_of_the_largest_loss(kit):
    pruner = begun(kit, rho=1.0)
    tables = kit.Replay(torch.ones(EPOCHS, N))
    tables.signals["batch_loss"] = torch.full((N,), 9.0)
    tables.visit(torch.tensor([3, 5, 8]))
    tables.loss[5] = 2.0
    tables.loss[20] = 7.0  # of an earlier epoch
    plan = pruner.plan(kit.at(1, EPOCHS, N), tables, kit.stream())
    assert plan.indices.tolist() == [5]


def test_a_budget_of_samples_is_met_exactly_or_the_run_is_skipped():
    pruner = resolve_method("repb").build()
    assert trained(pruner, 0.3).ledger.trained == kept_count(EVEN * checks.EPOCHS, 0.3)
    with pytest.raises(SkipCell, match="budget unreachable: "):
        trained(resolve_method("repb").build({"rho": 1.0}), 0.0)  # nothing dropped returns


def test_it_is_marked_as_provisional():
    info = resolve_method("repb")
    assert "no code" in info.card.provisional
    assert any("provisional" in line for line in info.build().cautions())
    said = prunebench("methods", "--kind", "dynamic")
    (line,) = (line for line in said.out.splitlines() if line.split()[:1] == ["repb"])
    assert "provisional" in line
    assert "provisional" in prunebench("methods", "repb").out
    assert prunebench("methods", "repb", "--json").json[0]["provisional"]


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
def test_share_of_a_long_run(rho):
    share = resolve_method("repb").build({"rho": rho}).pruned_share(0.5)
    used, drawn = 1.0, 0.0
    for _ in range(400):
        drawn = used * (1 - rho / 2) + (1 - used) * (1 - rho)
        used = drawn
    assert share == pytest.approx(min(0.9, 1 - used), abs=1e-6)
