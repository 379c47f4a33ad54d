"""RCAP against the official code: importances, class sizes, and the draw."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from prunebench.methods.rcap import (
    RCAP,
    ROUNDINGS,
    SATURATIONS,
    class_importance,
    class_sizes,
    weighted_sample,
)


def test_official_class_sizes(vectors):
    cases = vectors("rcap_class_sizes.json", "dynamic-2")
    arrays = vectors("rcap_class_sizes.npz", "dynamic-2")
    longer = 0
    for case in cases:
        mass, counts, official, follow = (
            arrays[f"c{case['case']:03d}_{key}"]
            for key in ("mass", "counts", "official_sizes", "follow_sizes_reference")
        )
        ours = class_sizes(mass, counts, case["size"])
        assert torch.equal(ours, follow), case
        assert ours.sum() == case["size"]
        released = class_sizes(mass, counts, case["size"], "released", "ceil")
        assert torch.equal(released, official), case
        longer += int(released.sum()) > case["size"]
    assert longer > len(cases) / 2


def test_masses_follow_from_importances_and_the_draw_before(vectors):
    arrays = vectors("rcap_class_sizes.npz", "dynamic-2")
    found = [key[:4] for key in arrays if key.endswith("_previous")]
    for key in found:
        labels, importance = arrays[f"{key}_labels"], arrays[f"{key}_importance"]
        drawn = importance.where(arrays[f"{key}_previous"], 0.0)
        mass = torch.zeros_like(arrays[f"{key}_mass"]).index_add_(0, labels, drawn)
        torch.testing.assert_close(mass, arrays[f"{key}_mass"], rtol=1e-12, atol=0)
    assert len(found) > 5


@pytest.mark.parametrize("name", ["rcap_importance", "rcap_trace"])
def test_official_importances(vectors, name):
    arrays = vectors(f"{name}.npz", "dynamic-2")
    for case in vectors(f"{name}.json", "dynamic-2"):
        key = f"{'ct'[name == 'rcap_trace']}{case['case']}"
        labels = arrays[f"{key}_labels"]
        classes = len(case["counts"])
        stored = torch.full((len(labels),), torch.nan, dtype=torch.float64)
        clip = case.get("clipping_threshold")
        trained = arrays[f"{key}_trained" if name == "rcap_importance" else f"{key}_kept"]
        official = arrays[f"{key}_importance{'_before' * (name == 'rcap_importance')}"]
        for epoch, losses in enumerate(arrays[f"{key}_losses"]):
            most = math.log(classes) if clip is None else clip
            held = stored.nan_to_num(most).clamp(0, most)
            torch.testing.assert_close(held, arrays[f"{key}_stored_before"][epoch])
            q = class_importance(stored, labels, case["beta"], classes, clip)
            torch.testing.assert_close(q, official[epoch], rtol=1e-9, atol=1e-15)
            if name == "rcap_trace" and epoch:
                drawn = q.where(trained[epoch - 1], 0.0)
                mass = torch.zeros(classes, dtype=torch.float64).index_add_(0, labels, drawn)
                torch.testing.assert_close(mass, arrays[f"{key}_mass"][epoch], rtol=1e-9, atol=0)
                sizes = class_sizes(mass, labels.bincount(), case["size"], "released", "ceil")
                assert torch.equal(sizes, labels[trained[epoch]].bincount(minlength=classes))
            stored = torch.where(trained[epoch], losses, stored)


def test_sizes_sum_to_the_size_for_any_mass():
    draw = np.random.default_rng(0)
    for _ in range(150):
        classes = int(draw.integers(1, 12))
        counts = torch.from_numpy(draw.integers(0, 30, classes))
        mass = draw.random(classes) ** draw.integers(0, 300) * (draw.random(classes) < 0.8)
        total = int(counts.sum())
        for size in (0, int(draw.integers(0, total + 1)), total):
            for saturation, rounding in itertools.product(SATURATIONS, ROUNDINGS):
                sizes = class_sizes(torch.from_numpy(mass), counts, size, saturation, rounding)
                assert ((sizes >= 0) & (sizes <= counts)).all()
                assert sizes.sum() >= size
                if (saturation, rounding) == ("reduced", "exact"):
                    assert sizes.sum() == size


def test_equal_classes_share_by_number_and_lost_classes_get_none():
    counts = torch.tensor([10, 10, 10])
    assert class_sizes(torch.ones(3), counts, 10).tolist() == [4, 3, 3]
    # A remainder of 1/3 is one, however its last digit came out.
    assert class_sizes(torch.tensor([1 - 1e-12, 1, 1]), counts, 10).tolist() == [4, 3, 3]
    assert class_sizes(torch.tensor([0.0, 1, 1]), counts, 10).tolist() == [0, 5, 5]
    assert class_sizes(torch.tensor([0.0, 0, 1]), counts, 14).tolist() == [2, 2, 10]
    for bad in ({"size": 31}, {"mass": torch.tensor([-1.0, 1, 1])}, {"rounding": "up"}):
        given = {"mass": torch.ones(3), "counts": counts, "size": 3, **bad}
        with pytest.raises(ValueError, match=r"cannot draw|unknown"):
            class_sizes(**given)


def test_successive_draws_in_proportion_to_the_weights_left(kit):
    """Probability of every ordered pair; weights of 0 last, each as often as the other."""
    weights = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.0], dtype=torch.float64)
    runs, first, fourth = 2000, torch.zeros(5, 5), torch.zeros(5)
    for seed in range(runs):
        picks = weighted_sample(weights, 4, kit.stream(seed)).tolist()
        assert len(set(picks)) == 4
        first[picks[0], picks[1]] += 1
        fourth[picks[3]] += 1
    chance = weights[:, None] * weights / (1 - weights[:, None])
    chance.fill_diagonal_(0)
    chance[3:] = 0
    error = 5 * (runs * chance * (1 - chance)).sqrt()
    assert ((first - runs * chance).abs() <= error).all()
    assert fourth[:3].sum() == 0
    assert abs(fourth[3] - runs / 2) < 5 * (runs / 4) ** 0.5


def test_weights_of_any_size_are_drawn(kit):
    tiny = torch.tensor([0.0, 5e-324, 1e-300, 1e300], dtype=torch.float64)
    assert weighted_sample(tiny, 4, kit.stream()).tolist() == [3, 2, 1, 0]
    assert weighted_sample(tiny, 0, kit.stream()).tolist() == []
    with pytest.raises(ValueError, match="cannot draw 5 of 4"):
        weighted_sample(tiny, 5, kit.stream())


def test_plans_draw_large_losses_within_classes_of_the_size_that_is_due(kit):
    n, ratio = 90, 0.6
    losses = torch.rand(6, n, generator=torch.Generator().manual_seed(0)) * 3
    pruner = RCAP(beta=0.25)
    pruner.begin(kit.view(n, 6, ratio, classes=3))
    tables, found = kit.Replay(losses), []
    for epoch in range(6):
        plan = pruner.plan(kit.at(epoch, 6, n), tables, kit.stream(epoch))
        assert plan.weights is None
        assert len(plan.indices) == len(plan.indices.unique()) == 36
        if epoch:
            labels = pruner.view.labels
            q = class_importance(tables.loss, labels, 0.25, 3)
            assert torch.equal(pruner.last_scores, q)
            mass = torch.zeros(3, dtype=torch.float64)
            mass.index_add_(0, labels[found[-1]], q[found[-1]])
            due = class_sizes(mass, torch.tensor([30, 30, 30]), 36)
            assert torch.equal(labels[plan.indices].bincount(minlength=3), due)
        tables.visit(plan.indices)
        found.append(plan.indices)
    largest = []
    for seed in range(40):
        kept = pruner.plan(kit.at(6, 6, n), tables, kit.stream(seed)).indices
        dropped = torch.ones(n, dtype=torch.bool)
        dropped[kept] = False
        largest.append(float(tables.loss[kept].nanmean() - tables.loss[dropped].nanmean()))
    assert min(largest) > 0.3


def test_no_class_is_lost_where_there_are_fewer_draws_than_classes(kit):
    n, classes = 100, 20
    pruner = RCAP()
    pruner.begin(kit.view(n, 6, 0.9, classes=classes))
    tables = kit.Replay(torch.rand(6, n, generator=torch.Generator().manual_seed(0)))
    for plan in kit.run(pruner, tables, 6):
        assert len(plan.indices) == 10
    assert len(pruner.view.labels[tables.seen > 0].unique()) == classes


def test_small_temperatures_and_absent_classes(kit):
    """Importances underflow; numpy's draw of the official code raises there."""
    n = 40
    pruner = RCAP(beta=0.001)
    pruner.begin(kit.view(n, 3, 0.2, classes=4))
    object.__setattr__(pruner.view, "num_classes", 6)
    tables = kit.Replay(torch.rand(3, n, generator=torch.Generator().manual_seed(1)))
    for epoch in range(3):
        plan = pruner.plan(kit.at(epoch, 3, n), tables, kit.stream(epoch))
        assert len(plan.indices.unique()) == 32
        tables.visit(plan.indices)


def test_losses_count_from_zero_to_the_clip():
    labels = torch.zeros(4, dtype=torch.int64)
    ends = class_importance(torch.tensor([-5.0, 9.0, torch.nan, 1.0]), labels, 1.0, 2, 2.0)
    assert torch.equal(
        ends, class_importance(torch.tensor([0.0, 2.0, 2.0, 1.0]), labels, 1.0, 2, 2.0)
    )
    none = class_importance(torch.tensor([0.0, 1.0, 2.0, 3.0]), labels, 1.0, 2, 0.0)
    assert none.tolist() == [0.25] * 4


def test_at_least_one_sample_is_drawn(kit):
    pruner = RCAP()
    pruner.begin(kit.view(20, 3, 0.99, classes=4))
    plan = pruner.plan(kit.at(0, 3, 20), kit.Replay(torch.ones(3, 20)), kit.stream())
    assert len(plan.indices) == 1
