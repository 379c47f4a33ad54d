"""Top-k loss against the official choices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from prunebench.methods.base import Batch
from prunebench.methods.big_loss import BigLoss, top_losses


def test_official_choices(vectors, kit):
    """Where losses are equal, the losses chosen are the same and the samples need not be."""
    arrays = vectors("rho_selection.npz", "dynamic-2")
    kinds = set()
    for case in vectors("rho_selection.json", "dynamic-2"):
        key = f"c{case['case']:02d}"
        logits, labels = arrays[f"{key}_logits"], arrays[f"{key}_labels"]
        losses = F.cross_entropy(logits, labels, reduction="none")
        torch.testing.assert_close(losses, arrays[f"{key}_losses"], rtol=2e-5, atol=2e-6)
        official = arrays[f"{key}_selected_ce"]
        pruner = BigLoss()
        pruner.begin(kit.view(len(labels), 10, classes=case["C"]))
        batch = Batch(logits, logits, labels, torch.arange(len(labels)))
        ours = pruner.select(batch, case["k"], kit.stream())
        torch.testing.assert_close(losses[ours], losses[official], rtol=1e-6, atol=1e-7)
        if len(losses.unique()) == len(losses):
            assert ours.tolist() == official.tolist()
        kinds.add(case["kind"])
    assert len(kinds) >= 3


def test_ties_by_the_stream_else_by_place(kit):
    losses = torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0, 1.0])
    assert top_losses(losses, 4).tolist() == [4, 1, 0, 2]
    times = torch.zeros(6)
    for seed in range(500):
        picks = top_losses(losses, 3, kit.stream(seed))
        assert picks[:2].tolist() == [4, 1]
        times[picks] += 1
    share = times[[0, 2, 3, 5]] / 500
    assert (share - 0.25).abs().max() < 5 * (0.25 * 0.75 / 500) ** 0.5


def test_edges():
    losses = torch.tensor([1.0, torch.nan, 2.0])
    assert top_losses(losses, 3).tolist() == [1, 2, 0]
    assert top_losses(losses, 0).tolist() == []
    with pytest.raises(ValueError, match="cannot select 4 of 3"):
        top_losses(losses, 4)
