"""RHO-LOSS beside the official selections, its ties, and the losses that it compares with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.base import Batch, TrainView
from prunebench.methods.big_loss import top_losses
from prunebench.methods.compose import resolve_method
from prunebench.methods.rho_loss import cross_fit, reducible, select_reducible
from prunebench.rng import Stream
from support.vectors import FOLDER, Reference

VECTORS = Reference("rho_selection", "dynamic-2")
CASES = json.loads((FOLDER / "dynamic-2" / "rho_selection.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['case']} {case['kind']}")
def test_selections_are_the_official_ones(case):
    def t(name):
        return VECTORS.t(f"c{case['case']:02d}_{name}")

    logits, labels, held, k = t("logits"), t("labels"), t("irreducible")[t("index")], case["k"]
    values = reducible(logits, labels, held)
    np.testing.assert_allclose(values, t("reducible"), rtol=2e-5, atol=2e-6)
    picks, official = select_reducible(logits, labels, held, k), t("selected_reducible")
    assert torch.allclose(values[picks], values[official], atol=1e-5)  # places differ by ties only
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert torch.allclose(losses[top_losses(losses, k)], losses[t("selected_ce")], atol=1e-5)


def test_cross_fit_takes_the_model_that_did_not_see_the_sample():
    v = Reference("rho_cross_fit_reference_not_official", "dynamic-2")
    found = cross_fit(v.t("in_first_half"), v.t("loss_of_first_model"), v.t("loss_of_second_model"))
    assert torch.equal(found, v.t("irreducible"))


def test_ties_missing_losses_and_nothing_to_compare_with():
    gen = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(8, 3, generator=gen), torch.arange(8) % 3
    held = torch.tensor([torch.nan] * 8)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert torch.equal(select_reducible(logits, labels, held, 3), top_losses(losses, 3))
    flat = torch.zeros(8, 3)
    drawn = {tuple(select_reducible(flat, labels, held, 2, Stream(n)).tolist()) for n in range(9)}
    assert len(drawn) > 4
    with pytest.raises(ValueError, match="cannot select"):
        select_reducible(logits, labels, held, 9)
    pruner = resolve_method("rho-loss").build()
    pruner.begin(TrainView(8, 3, labels, 4, 0.5, torch.device("cpu")))
    batch = Batch(logits, logits, labels, torch.arange(8))
    with pytest.raises(InputError, match="rho-loss"):
        pruner.select(batch, 2, Stream(0))


def test_it_reads_the_losses_at_the_positions_of_the_batch():
    labels, positions = torch.zeros(3, dtype=torch.int64), torch.tensor([5, 1, 7])
    held = torch.zeros(9).index_fill_(0, torch.tensor([5]), 3.0).index_fill_(
        0, torch.tensor([7]), -3.0)  # fmt: skip
    pruner = resolve_method("rho-loss").build()
    pruner.begin(TrainView(9, 2, torch.zeros(9), 4, 0.5, torch.device("cpu"), held))
    batch = Batch(torch.zeros(3, 2), torch.zeros(3, 2), labels, positions)
    assert pruner.select(batch, 3, Stream(0)).tolist() == [2, 1, 0]


def test_only_the_reference_model_uses_clean_labels():
    info = resolve_method("rho-loss")
    assert info.build().clean_data == info.clean_data != ""
    assert info.build({"holdout": "cross"}).clean_data == ""
