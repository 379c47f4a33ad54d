"""RS2 against the official codes, how often samples are visited, and the uniform batch."""

from __future__ import annotations

import pytest
import torch

from prunebench.bench.train.capture.keyed_streams import ParentStream, signed_keys
from prunebench.errors import InputError
from prunebench.methods.base import Batch
from prunebench.methods.random_batch import RandomBatch
from prunebench.methods.rs2 import RS2, draw_balanced, next_subset

RUNS = [
    ("rs2_official", "wrap"),
    ("rs2_datacull", "drop"),
    ("rs2_carry_reference_not_official", "carry"),
]
FIELDS = ("kept", "order_before", "order_after", "position_before", "position_after")


@pytest.mark.parametrize(("name", "tail"), RUNS)
def test_official_runs(vectors, name, tail):
    cases, arrays = vectors(f"{name}.json", "dynamic-2"), vectors(f"{name}.npz", "dynamic-2")
    renewed = 0
    for case in cases:
        key = f"c{case['case']:02d}" if tail == "wrap" else f"c{case['case']}"
        run = {field: arrays[f"{key}_{field}"] for field in FIELDS}
        visits = torch.zeros(case["n"], dtype=torch.int64)
        for epoch in range(case["T"]):
            before, position = run["order_before"][epoch], int(run["position_before"][epoch])
            after = run["order_after"][epoch]
            # Where the official code shuffled, the result is the new permutation.
            fresh = after if tail != "carry" else arrays[f"{key}_fresh"][epoch]
            kept, order, used = next_subset(before, position, case["size"], fresh, tail)
            official = run["kept"][epoch]
            assert torch.equal(kept, official[official >= 0]), (case, epoch)
            assert torch.equal(order, after)
            assert used == int(run["position_after"][epoch])
            renewed += not torch.equal(before, after)
            visits[kept] += 1
        if tail == "carry":
            assert [int(v) for v in visits.aminmax()] == case["visits"]
    assert renewed > len(cases)


def plans(kit, n, ratio, epochs, labels=None, **params):
    pruner = RS2(**params)
    view = kit.view(n, epochs, ratio)
    pruner.begin(view)
    found = []
    for epoch in range(epochs):
        if epoch == epochs // 2:  # a run that is resumed goes on as it would have
            state = {k: v.clone() if torch.is_tensor(v) else v
                     for k, v in pruner.state_dict().items()}  # fmt: skip
            pruner = RS2(**params)
            pruner.begin(view)
            pruner.load_state_dict(state)
        found.append(pruner.plan(kit.at(epoch, epochs, n), None, kit.stream(epoch)).indices)
    return found


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.37, 0.5, 0.7, 0.93, 0.999])
def test_visits_differ_by_at_most_one_after_every_epoch(kit, ratio):
    for n in (1, 2, 97, 100):
        visits = torch.zeros(n, dtype=torch.int64)
        for kept in plans(kit, n, ratio, 23):
            assert len(kept) == len(kept.unique()) == max(1, round((1 - ratio) * n))
            visits[kept] += 1
            least, most = visits.aminmax()
            assert most - least <= 1


def test_resumed_runs_are_equal_and_runs_of_other_streams_are_not(kit):
    pruner = RS2()
    pruner.begin(kit.view(50, 12, 0.6))
    whole = [pruner.plan(kit.at(e, 12, 50), None, kit.stream(e)).indices for e in range(12)]
    for a, b in zip(whole, plans(kit, 50, 0.6, 12), strict=True):
        assert torch.equal(a, b)
    pruner.begin(kit.view(50, 12, 0.6))
    other = pruner.plan(kit.at(0, 12, 50), None, kit.stream(99)).indices
    assert not torch.equal(whole[0], other)


def test_every_sample_is_drawn_alike_in_every_epoch(kit):
    """Also in the epochs that are completed from the next permutation."""
    n, epochs, runs = 20, 5, 400
    counts = torch.zeros(epochs, n)
    for seed in range(runs):
        pruner = RS2()
        pruner.begin(kit.view(n, epochs, 0.3))
        for epoch in range(epochs):
            stream = kit.stream(seed).child("epoch", epoch)
            counts[epoch, pruner.plan(kit.at(epoch, epochs, n), None, stream).indices] += 1
    assert (counts - 0.7 * runs).abs().max() < 5 * (runs * 0.7 * 0.3) ** 0.5


def test_tails_of_the_official_codes(kit):
    wrapped = [len(kept) for kept in plans(kit, 60, 0.7, 8, tail="wrap")]
    assert wrapped == [18, 18, 18, 17] * 2
    dropped = plans(kit, 60, 0.7, 8, tail="drop")
    assert [len(kept) for kept in dropped] == [18] * 8
    assert len(torch.cat(dropped[:3]).unique()) == 54
    with pytest.raises(ValueError, match="tail 'x'"):
        next_subset(torch.arange(4), 0, 2, torch.arange(4), "x")
    with pytest.raises(ValueError, match="no subset of 5"):
        next_subset(torch.arange(4), 0, 5, torch.arange(4))


def test_with_replacement_epochs_are_independent_and_balanced_ones_follow_the_classes(kit, vectors):
    official = vectors("rs2_uniform_official.json", "dynamic-2")
    arrays = vectors("rs2_uniform_official.npz", "dynamic-2")
    for case in official:
        kept, n = arrays[f"c{case['case']}_kept"], case["n"]
        size, labels = round(case["fraction"] * n), arrays[f"c{case['case']}_labels"]
        own = torch.stack(plans(kit, n, 1 - case["fraction"], 8, replacement=True))
        assert own.shape == (8, size)
        drift = 0
        if case["balance"]:
            own = torch.stack([draw_balanced(labels, size, kit.stream(e)) for e in range(8)])
            theirs = arrays[f"c{case['case']}_class_sizes"]
            ours = torch.stack([labels[row].bincount(minlength=4) for row in own])
            assert (ours - theirs).abs().max() <= 1
            assert (ours.sum(1) == size).all()
            drift = int(theirs[0].sum()) - size  # the code rounds every class alone
        assert len(kept[0]) == size + drift
        # Independent subsets of share f: after eight epochs some samples were never drawn.
        for rows in (own, kept):
            share = 1 - (1 - case["fraction"]) ** 8
            assert abs(len(rows.unique()) / n - share) < 5 * (share * (1 - share) / n) ** 0.5
    times = torch.zeros(12)
    for seed in range(400):
        times[draw_balanced(torch.tensor([0] * 9 + [3] * 3), 4, kit.stream(seed))] += 1
    assert times[:9].sum() == 1200
    assert (times - 400 / 3).abs().max() < 5 * (400 * 2 / 9) ** 0.5
    with pytest.raises(InputError, match=r"rs2\.balanced"):
        RS2(balanced=True)


def test_batches_are_drawn_uniformly_and_the_same_in_a_captured_step(kit):
    pruner, names = RandomBatch(), RandomBatch.draws
    assert not pruner.scoring_pass
    batch = Batch(torch.empty(12, 0), torch.empty(12, 0), torch.zeros(12).long(), torch.arange(12))
    counts = torch.zeros(12)
    for seed in range(600):
        picks = pruner.select(batch, 5, kit.stream(seed))
        assert len(picks.unique()) == 5
        counts[picks] += 1
    assert (counts - 250).abs().max() < 5 * (600 * 5 / 12 * 7 / 12) ** 0.5
    keyed = ParentStream(torch.tensor(signed_keys(kit.stream(3), names)), names)
    assert torch.equal(pruner.select(batch, 5, keyed), pruner.select(batch, 5, kit.stream(3)))
