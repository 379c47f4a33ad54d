"""The batch-loss score against the official code, and as a scorer over other methods."""

from __future__ import annotations

import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.base import Plan, ScoreBasedPruner
from prunebench.methods.bls import ema, joint_loss
from prunebench.methods.compose import list_methods, resolve_method
from prunebench.methods.infobatch import prunable
from prunebench.methods.suffixes import SUFFIXES
from prunebench.registry import SUFFIXES as RESERVED

N, EPOCHS = 64, 12


def begun(kit, name, n=N, total=EPOCHS, **params):
    pruner = resolve_method(name).build(params)
    pruner.begin(kit.view(n, total))
    return pruner


class Batches:
    """Tables that replay losses, with the mean of random batches of those trained."""

    def __init__(self, kit, losses):
        self.tables = kit.Replay(losses)
        self.tables.signals["batch_loss"] = torch.full((losses.shape[1],), torch.nan)
        self.kit = kit

    def train(self, plan, size=8):
        """An epoch of batches over the plan; the re-scored are visited without one."""
        order = plan.indices[self.kit.stream(self.tables.epoch).permutation(len(plan.indices))]
        for part in order.split(size):
            mean = self.tables.script[self.tables.epoch, part].mean()
            self.tables.signals["batch_loss"][part] = mean
        extra = [] if plan.forward_only is None else [plan.forward_only]
        self.tables.visit(torch.cat([plan.indices, *extra]))

    def plan(self, pruner, total=EPOCHS):
        epoch = self.tables.epoch
        return pruner.plan(
            self.kit.at(epoch, total, self.tables.num_samples), self.tables, self.kit.stream(epoch)
        )


def test_official_traces(kit, vectors):
    arrays = vectors("bls_trace.npz", "dynamic-2")
    for case in vectors("bls_trace.json", "dynamic-2"):
        mine = {
            k.partition("_")[2]: v for k, v in arrays.items() if k.startswith(f"c{case['case']}_")
        }
        total, n, name = case["T"], case["n"], case["base"].lower()
        own = {k: case[k] for k in ("r", "k", "alpha", "delta") if k in case}
        pruner = begun(kit, f"{name}+bls", n, total, **own, **{"bls.alpha": case["bls_alpha"]})
        tables = kit.Replay(mine["losses"])
        tables.signals["batch_loss"] = torch.full((n,), torch.nan)
        for epoch in range(total):
            plan = pruner.plan(kit.at(epoch, total, n), tables, kit.stream(epoch))
            before, kept = mine["scores_before_epoch"][epoch], mine["kept"][epoch]
            torch.testing.assert_close(pruner.last_scores, before, rtol=2e-5, atol=2e-6)
            if name == "infobatch":
                assert len(plan.indices) == int(kept.sum()) == case["sizes"][epoch]
                assert plan.batch_weights == (plan.weights is not None)
                assert plan.batch_weights == bool(prunable(before).any() and epoch < 14)
            weights, numbers = mine["weights"][epoch], mine["batch_id"][epoch]
            for batch in range(mine["returned_loss"].shape[1]):
                of = (kept & (numbers == batch)).nonzero().squeeze(1)
                if len(of):
                    ours = joint_loss(mine["losses"][epoch, of].double(), weights[of].double())
                    theirs = mine["returned_loss"][epoch, batch].double()
                    torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-6)
            tables.signals["batch_loss"][kept] = mine["batch_mean"][epoch, kept]
            tables.visit(kept.nonzero().squeeze(1))
        pruner.plan(kit.at(total, total + 1, n), tables, kit.stream(total))
        torch.testing.assert_close(pruner.last_scores, mine["scores_final"], rtol=2e-5, atol=2e-6)


def test_both_starts(vectors):
    found = vectors("bls_start_reference_not_official.npz", "dynamic-2")
    for start, value in (("zero", 0.0), ("first", torch.nan)):
        score = torch.full((40,), value, dtype=torch.float64)
        for epoch, visited in enumerate(found["visited"]):
            score = ema(score, found["batch_loss"][epoch], visited, float(found["alpha"]))
            # What was never visited has no score in the first form; the file holds 0 there.
            ours = score.nan_to_num(0.0)
            torch.testing.assert_close(ours, found[start][epoch], rtol=1e-9, atol=1e-12)
    assert score.isnan().any()


def test_alpha_zero_is_the_last_batch_loss(kit, toy):
    pruner = begun(kit, "infobatch+bls", **{"bls.alpha": 0.0})
    run = Batches(kit, toy(N, EPOCHS)[0])
    seen = torch.zeros(N, dtype=torch.bool)
    for _ in range(EPOCHS):
        plan = run.plan(pruner)
        expected = torch.where(seen, run.tables.signal("batch_loss"), 0.0)
        assert torch.equal(pruner.last_scores, expected)
        run.train(plan)
        seen[plan.indices] = True
    assert len(plan.indices) == N  # annealing
    assert seen.all()


def test_a_constant_loss_reads_a_growing_share_of_itself():
    score, visited = torch.zeros(3), torch.tensor([True, True, False])
    for visit in range(1, 6):
        score = ema(score, torch.full((3,), 2.0), visited, 0.9)
        torch.testing.assert_close(score[:2], torch.full((2,), 2 * (1 - 0.9**visit)))
    assert score[2] == 0
    assert ema(score.double(), torch.ones(3), visited, 0.5).dtype == torch.float64


@pytest.mark.parametrize("name", ["infobatch+bls", "seta+bls", "ies+bls"])
@pytest.mark.parametrize("start", ["zero", "first"])
def test_a_resumed_run_plans_the_same(kit, toy, name, start):
    params = {"bls.start": start, **({"threshold": 1.8} if name == "ies+bls" else {})}
    run = Batches(kit, toy(N, EPOCHS)[0])
    pruner, sizes = begun(kit, name, **params), []
    for epoch in range(EPOCHS):
        fresh = begun(kit, name, **params)
        if epoch:
            fresh.load_state_dict(pruner.state_dict())
        plan, other = run.plan(pruner), run.plan(fresh)
        for field in ("indices", "weights", "forward_only"):
            mine, theirs = getattr(plan, field), getattr(other, field)
            assert (mine is None) == (theirs is None)
            assert mine is None or torch.equal(mine, theirs), (epoch, field)
        again = run.plan(pruner)  # asking twice takes nothing in twice
        if name != "seta+bls":  # which counts its calls
            assert torch.equal(again.indices, plan.indices)
        run.train(plan)
        sizes.append(len(plan.indices))
    assert min(sizes) < N


def test_what_is_only_rescored_keeps_its_score(kit, toy):
    """Re-scoring updates the last visit, and leaves an old batch loss in the tables."""
    pruner = begun(kit, "ies+bls", threshold=1.0)
    run = Batches(kit, toy(N, EPOCHS)[0])
    for epoch in range(EPOCHS):
        before = None if epoch == 0 else pruner.scorer.score.clone()
        out = pruner.scorer.forwarded
        plan = run.plan(pruner)
        assert (epoch == 0) <= (plan.forward_only is None)  # zeros of no visit exclude nothing
        if before is not None and out is not None:
            assert torch.equal(pruner.scorer.score[out], before[out])
        run.train(plan)
    assert out is not None
    assert len(out)


def test_ies_waits_for_samples_that_no_batch_has_held(kit, toy):
    pruner = begun(kit, "ies+bls", threshold=0.1)
    run = Batches(kit, toy(N, EPOCHS)[0])
    run.train(Plan(torch.arange(N - 3)))  # a recipe that drops the last batch
    plan = run.plan(pruner)
    assert (len(plan.indices), plan.forward_only) == (N, None)
    run.train(plan)
    assert pruner.scorer.threshold is not None
    run.plan(pruner)
    assert pruner.scorer.threshold is None


def test_weights_of_third_parties_apply_to_batches_and_other_fields_stay(kit):
    class Heavy(ScoreBasedPruner):
        def prune(self, scores, progress, rng):
            return Plan(torch.arange(len(scores)), torch.full((len(scores),), 2.0), lr_factor=0.5)

    plain, scored = Heavy(), Heavy()
    scored.use(SUFFIXES["+bls"].scorer(scored.scorer, **{"bls.start": "first"}))
    tables = kit.Replay(torch.ones(2, N))
    tables.signals["batch_loss"] = torch.full((N,), torch.nan)
    plans = []
    for pruner in (plain, scored):
        pruner.begin(kit.view(N, 2))
        tables.last_seen[:9], tables.signals["batch_loss"][:9] = 0, 1.5
        plans.append(pruner.plan(kit.at(1, 2, N), tables, kit.stream()))
    assert [plan.batch_weights for plan in plans] == [False, True]
    assert sorted(plans[1].indices.tolist()) == list(range(N))
    assert plans[1].lr_factor == 0.5  # a part of the samples has no score
    assert plans[1].weights.tolist() == [2.0] * 9 + [1.0] * (N - 9)


def test_names():
    assert tuple(SUFFIXES) == tuple(RESERVED)
    info = resolve_method("infobatch+bls")
    assert (info.name, info.version, info.clean_data, info.card.cost) == (
        "infobatch+bls", "1+1", "", "none"
    )  # fmt: skip
    assert info.card.title == "InfoBatch + BLS"
    assert not info.aligned
    assert {"r", "bls.alpha", "bls.start"} <= info.options.keys()
    pruner = info.build({"r": 0.3, "bls.alpha": 0.9})
    assert (pruner.name, pruner.signals, pruner.window) == ("infobatch+bls", {"batch_loss"}, 0)
    assert (pruner.params["r"], pruner.params["bls.alpha"]) == (0.3, 0.9)
    names = [method.name for method in list_methods()]
    at = names.index("seta")
    assert names[at : at + 3] == ["seta", "seta+align", "seta+bls"]
    assert "divbs+bls" not in names


@pytest.mark.parametrize("name", ["infobatch+align+bls", "infobatch+bls+align"])
def test_two_scores_are_refused_in_one_line(name):
    with pytest.raises(InputError) as caught:
        resolve_method(name)
    line = str(caught.value)
    assert f"{name!r} names two scores" in line
    assert "infobatch+align" in line.partition("accepted")[2]
    assert "infobatch+bls" in line.partition("accepted")[2]
    assert "\n" not in line


def test_bad_options_and_bases():
    build = resolve_method("infobatch+bls").build
    for value in (1.0, 1.5, -0.1):
        with pytest.raises(InputError, match=r"^bls\.alpha: "):
            build({"bls.alpha": value})
    with pytest.raises(InputError, match=r"bls\.start"):
        build({"bls.start": "second"})
    with pytest.raises(InputError, match=r"unknown option 'align\.window'"):
        build({"align.window": 5})
    with pytest.raises(InputError, match=r"bls needs .*divbs selects by batch.*infobatch\+bls"):
        resolve_method("divbs+bls")
