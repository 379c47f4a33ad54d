"""Selective Backprop against the released forms, and the law of its draws by counts."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from prunebench.errors import InputError
from prunebench.methods.base import Batch
from prunebench.methods.selective_backprop import (
    SelectiveBackprop,
    histogram_probabilities,
    history_probabilities,
    rank_probabilities,
    select_by_rank,
    selects,
)

FOLDER = "dynamic-2"


def test_composer_probabilities_and_choices(vectors):
    arrays = vectors("sb_composer.npz", FOLDER)
    for case in vectors("sb_composer.json", FOLDER):
        key = f"c{case['case']}"
        size, keep = case["B"], case["keep"]
        ours, theirs = (
            rank_probabilities(size, keep),
            arrays[f"{key}_probability_by_ascending_rank"],
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        losses, picks = arrays[f"{key}_losses"], arrays[f"{key}_selected"]
        assert len(picks) == int(keep * size + 1e-9) == case["selected"]
        in_order = losses.sort().values
        assert torch.equal(losses[picks], in_order[arrays[f"{key}_selected_rank"]])


def test_composer_schedule(vectors):
    rows = vectors("sb_active.npz", FOLDER)
    given = ("progress", "batch", "start", "end", "interrupt")
    for *row, active in zip(*(rows[name].tolist() for name in (*given, "active")), strict=True):
        assert selects(*row) == active, row
    assert [selects(0.6, batch, interrupt=2) for batch in range(4)] == [True, False] * 2
    assert not any(selects(0.6, batch, interrupt=1) for batch in range(4))


def test_authors_history(vectors):
    arrays = vectors("sb_history_official.npz", FOLDER)
    for case in vectors("sb_history_official.json", FOLDER):
        key = f"c{case['case']}"
        history = torch.zeros(0, dtype=torch.float64)
        for batch in range(case["batches"]):
            official = arrays[f"{key}_probability"][batch]
            if arrays[f"{key}_primed"][batch]:  # everything selected, nothing remembered
                assert (official == 1).all()
                continue
            ours, history = history_probabilities(
                arrays[f"{key}_losses"][batch], history, case["beta"], case["history"],
                case["sampling_min"],
            )  # fmt: skip
            torch.testing.assert_close(ours, official, rtol=1e-9, atol=1e-12)
        remembered = case["B"] * int((~arrays[f"{key}_primed"]).sum())
        assert len(history) == min(remembered, case["history"])
    ours, _ = history_probabilities(torch.zeros(3), torch.zeros(0), 2.0, floor=0.1)
    assert ours.tolist() == pytest.approx([0.1] * 3)


def test_histogram_of_kakurenbos_baseline(vectors):
    """Official probabilities are float32 inside."""
    arrays = vectors("sb_histogram_official.npz", FOLDER)
    for case in vectors("sb_histogram_official.json", FOLDER):
        key = f"c{case['case']}"
        ours = histogram_probabilities(arrays[f"{key}_losses"], case["beta"])
        torch.testing.assert_close(ours, arrays[f"{key}_probability"], rtol=1e-6, atol=1e-7)
    assert histogram_probabilities(torch.full((5,), 2.0), 4.0).tolist() == [1.0] * 5


def test_draws_follow_the_rank_law(kit):
    """Every ordered pair of three ranks, by counts over seeds."""
    p = rank_probabilities(3, 0.4).tolist()
    losses = torch.tensor([2.0, 0.5, 1.0])  # ranks 2, 0, 1
    rank, draws, count = [2, 0, 1], 1500, {}
    for seed in range(draws):
        pair = tuple(rank[i] for i in select_by_rank(losses, 2, 0.4, kit.stream(seed)).tolist())
        count[pair] = count.get(pair, 0) + 1
    for first, second in permutations(range(3), 2):
        chance = p[first] * p[second] / (1 - p[first])
        error = (draws * chance * (1 - chance)) ** 0.5
        assert abs(count.get((first, second), 0) - draws * chance) < 5 * error + 1


def test_only_the_order_of_the_losses_counts(kit):
    losses = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for seed in range(5):
        picks = select_by_rank(losses, 20, 0.3, kit.stream(seed))
        assert torch.equal(picks, select_by_rank(losses.exp(), 20, 0.3, kit.stream(seed)))
        assert len(set(picks.tolist())) == 20


def test_equal_losses_share_their_ranks(kit):
    losses, times = torch.tensor([1.0, 1.0, 1.0, 1.0, 9.0]), np.zeros(5)
    for seed in range(1000):
        times[select_by_rank(losses, 1, 0.2, kit.stream(seed)).numpy()] += 1
    chance = (1 - float(rank_probabilities(5, 0.2)[4])) / 4
    assert np.abs(times[:4] - 1000 * chance).max() < 5 * (1000 * chance) ** 0.5


@pytest.mark.parametrize("keep", [1.0, 0.5, 1e-3, 1e-6])
def test_every_k_is_distinct_even_where_weights_underflow(kit, keep):
    losses = torch.arange(40.0)
    for k in (0, 1, 17, 40):
        assert len(set(select_by_rank(losses, k, keep, kit.stream()).tolist())) == k
    assert float(rank_probabilities(40, keep).sum()) == pytest.approx(1)


def test_bad_arguments(kit):
    with pytest.raises(ValueError, match="cannot select 4 of 3"):
        select_by_rank(torch.zeros(3), 4, 0.5, kit.stream())
    for keep in (0.0, 1.5):
        with pytest.raises(ValueError, match="keep"):
            rank_probabilities(3, keep)
        with pytest.raises(ValueError, match="keep"):
            select_by_rank(torch.zeros(3), 1, keep, kit.stream())


def test_class_selects_by_cross_entropy_and_the_runs_ratio(kit):
    g = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(30, 5, generator=g), torch.randint(5, (30,), generator=g)
    batch = Batch(logits, torch.zeros(30, 0), labels, torch.arange(30))
    pruner = SelectiveBackprop()
    pruner.begin(kit.view(30, 10, ratio=0.7))
    losses = F.cross_entropy(logits, labels, reduction="none")
    expected = select_by_rank(losses, 9, 0.3, kit.stream())
    assert torch.equal(pruner.select(batch, 9, kit.stream()), expected)
    assert sorted(pruner.select(batch, 30, kit.stream()).tolist()) == list(range(30))


def test_schedule_of_the_class(kit):
    always = SelectiveBackprop()
    assert {
        always.share(kit.at(epoch, 10, 5), step) for epoch in range(10) for step in range(3)
    } == {None}
    assert always.pruned_share(0.5) == 0.5
    published = SelectiveBackprop(start=0.5, end=0.9, interrupt=2)
    shares = [
        [published.share(kit.at(epoch, 10, 5), step) for step in range(3)] for epoch in (4, 5, 9)
    ]
    assert shares == [[1.0] * 3, [None, 1.0, None], [1.0] * 3]
    assert published.pruned_share(0.5) == pytest.approx(0.1)
    for never in ({"start": 0.5, "end": 0.5}, {"interrupt": 1}):
        with pytest.raises(InputError, match="select from no batch"):
            SelectiveBackprop(**never)
