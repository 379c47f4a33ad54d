"""KAKURENBO against the official code, and its rule under plain cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from prunebench.methods.kakurenbo import Kakurenbo, confidence, hide, lr_factor, stage_fraction

FOLDER = "dynamic-2"
#: Epochs of the official CIFAR run, and where its stages end.
EPOCHS, STEPS = 200, (60, 120, 160)


def test_official_decisions(vectors):
    arrays, kinds = vectors("kakurenbo_decisions.npz", FOLDER), set()
    for case in vectors("kakurenbo_decisions.json", FOLDER):
        losses, correct, sure, official = (
            arrays[f"c{case['case']:02d}_{name}"]
            for name in ("losses", "correct", "confidence", "hidden")
        )
        fraction = stage_fraction(case["fraction"], case["epoch"] / EPOCHS)
        assert fraction == pytest.approx(case["fraction_now"], rel=1e-12)
        # The base rate of the run is divided by 5 at each of its steps.
        base = 0.2 ** sum(case["epoch"] >= step for step in STEPS)
        ours = base * lr_factor(fraction, case["epoch"], case["warmup"])
        assert ours == pytest.approx(case["lr_over_base_lr"], rel=1e-12)
        hidden = hide(losses, correct, sure, fraction)
        assert int(hidden.sum()) <= case["most"] == math.floor(fraction * case["n"] + 1e-9)
        cut = losses.sort().values[case["most"] - 1]
        settled = losses != cut  # which of the samples tied at the cut go is not defined
        if (losses == cut).sum() == 1:
            settled = torch.ones_like(settled)
        assert torch.equal(hidden[settled], official[settled]), case
        kinds.add(case["kind"])
    assert kinds >= {"mixed", "ties", "all_confident", "none_correct", "at_threshold"}


def test_official_confidence(vectors):
    arrays = vectors("kakurenbo_confidence.npz", FOLDER)
    for over, name in (("batch", "over_batch_as_released"), ("classes", "over_classes")):
        ours = confidence(arrays["logits"], over)
        torch.testing.assert_close(ours, arrays[name], rtol=2e-5, atol=2e-6)
    with pytest.raises(ValueError, match="samples"):
        confidence(arrays["logits"], "samples")


class Told:
    """Tables as given."""

    def __init__(self, loss, correct, sure):
        self.loss, self.num_samples = loss, len(loss)
        self._signals = {"correct": correct.float(), "confidence": sure}

    def signal(self, name):
        return self._signals[name]


def begun(kit, n, **options):
    pruner = Kakurenbo(**options)
    pruner.begin(kit.view(n, EPOCHS))
    return pruner


def hidden_of(plan, n):
    out = torch.zeros(n, dtype=torch.bool)
    if plan.forward_only is not None:
        out[plan.forward_only] = True
    assert torch.equal((~out).nonzero().squeeze(1), plan.indices)
    assert plan.weights is None
    return out


def test_official_trace(kit, vectors):
    """Tables, hidden sets and learning rates of a run, with its softmax over the batch."""
    trace = vectors("kakurenbo_trace.npz", FOLDER)
    n = trace["t0_hidden"].shape[1]
    pruner = begun(kit, n)
    for row, epoch in enumerate(trace["t0_epoch"].tolist()):
        told = [trace[f"t0_stored_{name}"][row] for name in ("loss", "correct", "confidence")]
        plan = pruner.plan(kit.at(epoch, EPOCHS, n), Told(*told), kit.stream())
        assert torch.equal(hidden_of(plan, n), trace["t0_hidden"][row])
        assert 0.1 * plan.lr_factor == pytest.approx(float(trace["t0_lr"][row]), rel=1e-12)
    order, logits = trace["t0_order"], trace["t0_logits"]
    for row in range(len(order) - 1):
        trained = n - int(trace["t0_hidden"][row].sum())
        for part in (order[row, :trained], order[row, trained:]):
            for batch in part.split(16):
                stored = trace["t0_stored_confidence"][row + 1, batch].float()
                ours = confidence(logits[row, batch], "batch")
                torch.testing.assert_close(ours, stored, rtol=2e-5, atol=2e-6)


def test_trace_with_the_confidence_of_a_prediction(kit, vectors):
    trace = vectors("kakurenbo_trace.npz", FOLDER)
    logits, labels = trace["t0_logits"], trace["t0_labels"]
    n = len(labels)
    pruner = begun(kit, n)
    unseen = torch.full((n,), torch.nan)
    tables = Told(unseen, unseen, unseen)
    for epoch in range(len(logits)):
        plan = pruner.plan(kit.at(epoch, EPOCHS, n), tables, kit.stream())
        expected = trace["t0_hidden_class_confidence_reference"][epoch]
        assert torch.equal(hidden_of(plan, n), expected), epoch
        now = logits[epoch]
        losses = F.cross_entropy(now, labels, reduction="none")
        torch.testing.assert_close(
            losses.double(), trace["t0_losses_reference"][epoch], rtol=2e-5, atol=2e-6
        )
        tables = Told(losses, now.argmax(1) == labels, confidence(now))


def test_under_plain_cross_entropy_it_is_a_cut_at_minus_ln_tau(kit):
    """Whoever gives the label at least one half is right."""
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(500, 4, generator=g, dtype=torch.float64)
    labels = torch.randint(4, (500,), generator=g)
    losses = F.cross_entropy(logits, labels, reduction="none")
    for fraction, tau in ((0.3, 0.7), (0.9, 0.7), (0.9, 0.5), (0.1, 0.99)):
        ours = hide(losses, logits.argmax(1) == labels, confidence(logits), fraction, tau)
        lowest = torch.zeros(500, dtype=torch.bool)
        lowest[losses.argsort()[: int(fraction * 500)]] = True
        assert torch.equal(ours, lowest & (losses <= -math.log(tau)))
        assert 0 < int(ours.sum()) < 500


def test_ties_at_the_cut_by_the_stream_else_by_index(kit):
    losses = torch.tensor([1.0, 0.0, 1.0, 1.0, 2.0, 1.0])
    right, sure = torch.ones(6, dtype=torch.bool), torch.ones(6)
    assert hide(losses, right, sure, 0.5).nonzero().squeeze(1).tolist() == [0, 1, 2]
    times = torch.zeros(6)
    for seed in range(400):
        times += hide(losses, right, sure, 0.5, rng=kit.stream(seed))
    assert times[[1, 4]].tolist() == [400, 0]
    assert (times[[0, 2, 3, 5]] - 200).abs().max() < 5 * 10


def test_a_tie_that_is_not_confident_takes_its_place_at_the_cut(kit):
    """The cut comes first: who moves back is not replaced."""
    losses, sure = torch.zeros(4), torch.tensor([0.1, 0.9, 0.9, 0.9])
    assert hide(losses, torch.ones(4, dtype=torch.bool), sure, 0.5).tolist() == [0, 1, 0, 0]


def test_size_of_the_cut_has_no_float_error():
    ones = torch.ones(90)
    assert int(0.7 * 90) == 62
    assert int(hide(ones, ones.bool(), ones, 0.7).sum()) == 63
    assert int(hide(ones, ones.bool(), ones, 0.0).sum()) == 0


def test_what_is_not_known_is_never_hidden():
    nan = torch.nan
    losses = torch.tensor([nan, 0.0, 0.0, 0.0, nan])
    right = torch.tensor([True, True, False, True, True])
    sure = torch.tensor([1.0, nan, 1.0, 0.7, 1.0])
    assert hide(losses, right, sure, 0.9).tolist() == [0, 0, 0, 1, 0]


def test_stages_and_factors():
    stages = [stage_fraction(0.5, p) for p in (0, 0.29, 0.3, 0.59, 0.6, 0.79, 0.8, 1)]
    assert stages == pytest.approx([0.5, 0.5, 0.4, 0.4, 0.3, 0.3, 0.2, 0.2])
    assert stage_fraction(0.5, 0.9, (0.5,), (1.0, 0.1)) == pytest.approx(0.05)
    assert [lr_factor(0.2, epoch, 2) for epoch in range(4)] == [1.0, 1.0, 1.25, 1.25]


def test_options(kit):
    n = 40
    tables = Told(torch.zeros(n), torch.ones(n), torch.full((n,), 0.8))
    where = kit.at(5, 10, n)

    def plan(**options):
        made = begun(kit, n, **options).plan(where, tables, kit.stream())
        return len(made.indices), round(made.lr_factor, 9)

    assert plan() == (31, round(1 / 0.76, 9))
    assert plan(lr_factor=False) == (31, 1.0)
    assert plan(warmup=6) == (31, 1.0)
    assert plan(threshold=0.9) == (40, round(1 / 0.76, 9))
    assert plan(fraction=0.0) == (40, 1.0)
    odd = Told(torch.zeros(n), torch.arange(n).remainder(2), torch.full((n,), 0.8))
    hidden = begun(kit, n, fraction=0.99).plan(where, odd, kit.stream()).forward_only
    assert hidden.remainder(2).all()  # the wrong ones of the 31 at the cut move back
    assert len(hidden) >= 11
    assert Kakurenbo(fraction=0.3).pruned_share(0.5) == pytest.approx(0.3 * 0.74)
