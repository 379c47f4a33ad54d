"""AlignPrune over base methods: which score holds when, and what is stale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.align import Alignment, alignment, trajectory_scores, trajectory_window
from prunebench.methods.base import LastLoss, Plan, ScoreBasedPruner, Scorer
from prunebench.methods.compose import resolve_method
from prunebench.methods.infobatch import prunable


def built(kit, name, n, epochs, classes=10, **params):
    pruner = resolve_method(name).build(params)
    pruner.begin(kit.view(n, epochs, classes=classes))
    return pruner


def literal(history, reference, done, window, missing, fewest):
    """One sample, straight from the definitions; ``history`` maps epoch to loss."""
    seen = sorted(e for e in history if e < done)
    if missing == "paired":
        pairs = [(history[e], reference[e]) for e in seen[-window:]]
    elif missing == "mask":
        pairs = [(history[e], reference[e]) for e in seen if e >= done - window]
    elif missing == "carry":
        pairs = []
        for e in range(max(0, done - window), done):
            past = [s for s in seen if s <= e]
            if past:
                pairs.append((history[past[-1]], reference[e]))
    else:
        last = seen[-window:]
        pairs = [(history[e], reference[done - len(last) + j]) for j, e in enumerate(last)]
    if len(pairs) < fewest:
        return float("nan")
    x, y = np.array(pairs, dtype=np.float64).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


@pytest.mark.parametrize("missing", ["paired", "mask", "carry", "unpaired"])
@pytest.mark.parametrize("ring", [6, 9])
def test_policies_for_missing_epochs(kit, missing, ring):
    g = np.random.default_rng(5)
    epochs, n, window = 20, 30, 6
    losses = torch.from_numpy(g.random((epochs, n)))
    reference = torch.from_numpy(g.random(epochs))
    tables = kit.Replay(losses, reference, window=ring)
    histories = [{} for _ in range(n)]
    for epoch in range(epochs):
        visited = torch.from_numpy(np.flatnonzero(g.random(n) < 0.6))
        for i in visited.tolist():
            histories[i][epoch] = float(losses[epoch, i])
        tables.visit(visited)
        ours = trajectory_scores(
            tables.losses, tables.loss_epochs, tables.seen, tables.reference_loss[: epoch + 1],
            window, missing, min_observations=3,
        )  # fmt: skip
        expected = [literal(h, reference, epoch + 1, window, missing, 3) for h in histories]
        torch.testing.assert_close(
            ours, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9, equal_nan=True
        )


def test_recorded_scores_with_missing_entries(kit, vectors):
    """Paired policy, window 12, at least 3 points, for every sample after every epoch."""
    v = vectors("das_pearson.npz")
    tables = kit.Replay(v["miss_losses"], v["miss_ref"], window=int(v["miss_window"]))
    for epoch in range(40):
        tables.visit(v["miss_observed"][epoch].nonzero().squeeze(1))
        ours = trajectory_scores(
            tables.losses, tables.loss_epochs, tables.seen, tables.reference_loss[: epoch + 1],
            12, "paired", min_observations=3,
        )  # fmt: skip
        torch.testing.assert_close(
            ours, v["miss_das_paired"][epoch], rtol=0, atol=1e-9, equal_nan=True
        )


def test_scores_are_stale_between_visits(kit, toy):
    losses, reference = toy(60, 30)
    pruner = built(kit, "infobatch+align", 60, 30, **{"align.window": 8})
    tables = kit.Replay(losses, reference, window=pruner.window)
    last, visited = torch.zeros(60), torch.zeros(0, dtype=torch.int64)
    for epoch in range(26):
        plan = kit.run(pruner, tables, 1, 30)[0]
        scores = pruner.last_scores
        if epoch > 5:
            skipped = torch.ones(60, dtype=torch.bool)
            skipped[visited] = False
            assert skipped.any()
            assert torch.equal(scores[skipped], last[skipped])
            assert not torch.equal(scores[~skipped], last[~skipped])
        last, visited = scores, plan.indices


def test_base_rule_until_there_are_enough_epochs(kit, toy):
    losses, reference = toy()
    pruner = built(kit, "infobatch+align", 80, 40)
    plain = built(kit, "infobatch", 80, 40)
    assert pruner.window == trajectory_window(40) == 5
    one, two = (kit.Replay(losses, reference, window=5) for _ in range(2))
    for a, b in zip(kit.run(pruner, one, 4, 40), kit.run(plain, two, 4, 40), strict=True):
        assert torch.equal(a.indices, b.indices)
    plan = kit.run(pruner, one, 1, 40)[0]
    scores = pruner.last_scores
    assert float(scores.nan_to_num(0).abs().max()) <= 1.0
    low = torch.zeros(80, dtype=torch.bool)
    low[scores.isfinite().nonzero().squeeze(1)[prunable(scores[scores.isfinite()])]] = True
    heavy = plan.indices[plan.weights > 1]
    assert len(heavy) == int(low.sum()) // 2
    assert low[heavy].all()
    kept = torch.zeros(80, dtype=torch.bool)
    kept[plan.indices] = True
    assert kept[~low].all()  # those without a score among them


def test_clean_looking_samples_are_kept(kit, toy):
    losses, reference = toy(200, 40)
    pruner = built(kit, "infobatch+align", 200, 40, r=0.9, rescale=False)
    tables = kit.Replay(losses, reference, window=25)
    plans = kit.run(pruner, tables, 20, 40)
    falling = plans[-1].indices % 2 == 0
    assert int(falling.sum()) > 80
    assert int((~falling).sum()) < 60


def test_flat_or_broken_reference_falls_back_to_the_base_rule(kit, toy):
    losses, reference = toy()
    plain = built(kit, "infobatch", 80, 40)
    expected = [p.indices for p in kit.run(plain, kit.Replay(losses, window=5), 12, 40)]
    for curve in (torch.ones_like(reference), torch.full_like(reference, float("inf")), None):
        pruner = built(kit, "infobatch+align", 80, 40)
        plans = kit.run(pruner, kit.Replay(losses, curve, window=5), 12, 40)
        assert all(torch.equal(a.indices, b) for a, b in zip(plans, expected, strict=True))


def test_a_constant_loss_row_is_kept_and_leaves_the_mean_alone(kit, toy):
    losses, reference = toy()
    losses[:, 7] = 0.0
    for undefined, value in (("keep", None), ("zero", 0.0), ("minus_one", -1.0)):
        pruner = built(kit, "infobatch+align", 80, 40, **{"align.undefined": undefined})
        tables = kit.Replay(losses, reference, window=5)
        for _ in range(6):
            tables.visit(torch.arange(80))
        kept = 0
        for seed in range(30):
            plan = pruner.plan(kit.at(6, 40, 80), tables, kit.stream(seed))
            assert plan.weights.isfinite().all()
            kept += int((plan.indices == 7).sum())
        assert pruner.last_scores[7].isnan()
        assert pruner.scorer.undefined == value
        assert (kept == 30) == (undefined == "keep")


def test_warmup_choices(kit, toy):
    losses, reference = toy()

    def kinds(warmup):
        pruner = built(
            kit, "infobatch+align", 80, 40, **{"align.warmup": warmup, "align.window": 10}
        )
        return kit.run(pruner, kit.Replay(losses, reference, window=10), 12, 40)

    plain = built(kit, "infobatch", 80, 40)
    base = kit.run(plain, kit.Replay(losses, window=10), 12, 40)
    plans = kinds("base_until_N")
    same = [torch.equal(a.indices, b.indices) for a, b in zip(plans, base, strict=True)]
    assert same[:10] == [True] * 10
    assert not all(same)
    plans = kinds("none")
    assert all(len(p.indices) == 80 for p in plans[:10])
    assert len(plans[10].indices) < 80
    plans = kinds("grow")
    assert len(plans[5].indices) < 80


def test_state_round_trip(kit, toy):
    losses, reference = toy()
    for name in ("infobatch+align", "seta+align", "ies+align"):
        pruner = built(kit, name, 80, 40)
        tables = kit.Replay(losses, reference, window=25)
        kit.run(pruner, tables, 15, 40)
        again = built(kit, name, 80, 40)
        again.load_state_dict(pruner.state_dict())
        first = pruner.plan(kit.at(15, 40, 80), tables, kit.stream())
        second = again.plan(kit.at(15, 40, 80), tables, kit.stream())
        assert torch.equal(first.indices, second.indices)
        assert torch.equal(first.indices.unique(), first.indices.sort().values)


def test_ies_has_a_fixed_threshold_and_lets_scores_recover(kit, toy):
    losses, reference = toy()
    losses[20:, 1] = reference[20:].float()
    pruner = built(kit, "ies+align", 80, 40, **{"align.threshold": 0.5, "align.window": 6})
    tables = kit.Replay(losses, reference, window=pruner.window)
    out = []
    for _ in range(36):
        plan = kit.run(pruner, tables, 1, 40)[0]
        excluded = set() if plan.forward_only is None else set(plan.forward_only.tolist())
        if pruner.scorer.threshold is not None:
            low = pruner.last_scores < 0.5
            assert excluded == set(low.nonzero().squeeze(1).tolist())
        out.append(1 in excluded)
    assert any(out[4:20])
    assert not any(out[30:])
    assert all(t == 0 for t in out[:4])


class Softest(ScoreBasedPruner):
    """A third party's: keeps the upper half, by a score of its own."""

    name = "softest"

    class Squared(Scorer):
        window = 30

        def scores(self, tables, progress):
            return tables.loss.square()

    def own_scorer(self):
        return self.Squared()

    def prune(self, scores, progress, rng):
        return Plan(scores.argsort(descending=True)[: max(1, len(scores) // 2)])


def test_third_party_pruner_gets_the_scorer_without_code(kit, toy):
    losses, reference = toy()
    pruner = Softest()
    pruner.use(Alignment(pruner.scorer))
    pruner.begin(kit.view(80, 40))
    assert pruner.window == 30
    assert pruner.reference
    plans = kit.run(pruner, kit.Replay(losses, reference, window=30), 10, 40)
    assert len(plans[0].indices) == 80
    assert len(plans[1].indices) == 40
    assert len(plans[9].indices) < 80


def test_unmeasured_reference_epochs_are_left_out(kit):
    losses = torch.rand(10, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    curve = torch.linspace(2, 1, 10, dtype=torch.float64) ** 2
    curve[::2] = torch.nan
    tables = kit.Replay(losses, curve, window=10)
    for _ in range(10):
        tables.visit(torch.arange(5))
    ours = trajectory_scores(
        tables.losses, tables.loss_epochs, tables.seen, tables.reference_loss[:10], 10
    )
    expected = alignment(losses[1::2], curve[1::2])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_options(kit):
    assert [trajectory_window(e) for e in (10, 30, 84, 200, 400)] == [4, 4, 10, 25, 25]
    scorer = Alignment(LastLoss(), **{"align.reference_at": "epoch_start"})
    assert scorer.reference_at == "epoch_start"
    assert scorer.params["align.reference"] == "clean"
    with pytest.raises(InputError, match=r"align\.window"):
        Alignment(LastLoss(), **{"align.window": 1})
    with pytest.raises(InputError, match="unknown option"):
        Alignment(LastLoss(), window=5)
