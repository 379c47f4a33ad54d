"""Scores and kept sets against numbers of the official implementations."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.methods.dual import beta_weights, dual_scores
from prunebench.methods.dyn_unc import dyn_unc_scores
from prunebench.methods.forgetting import forgetting_counts
from prunebench.methods.grand import el2n_scores, grand_scores
from prunebench.methods.keep_k import take
from prunebench.methods.margin import margin_scores
from prunebench.methods.moderate import moderate_distances, moderate_window
from prunebench.methods.prune4rel import prune4rel_order
from prunebench.methods.prune4rel_graph import similarity, unit_rows
from prunebench.methods.small_loss import loss_scores
from prunebench.methods.ssp import prototype_distances
from prunebench.rng import Stream
from support.vectors import Reference

RNG = Stream(5)


def close(ours: Tensor, theirs: NDArray[np.generic], rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=rtol, atol=1e-6)


def kept(scores: Tensor, k: int, side: str) -> list[int]:
    indices, tied = take(scores, k, side, RNG)
    assert tied == 0
    return indices.tolist()


def half_even(fraction: str, total: int) -> int:
    return round(Fraction(fraction) * total)


def test_small_loss() -> None:
    ref = Reference("smallloss_prune4rel")
    scores = loss_scores(ref.t("logits"), ref.t("labels"))
    close(scores, ref["scores"])
    assert kept(scores, half_even("0.5", 240), "low") == sorted(ref["selected_keep0.5"].tolist())


def test_margin() -> None:
    ref = Reference("margin_prune4rel")
    scores = margin_scores(ref.t("logits"))
    close(scores, ref["margin_scores"])
    assert kept(scores, 120, "low") == sorted(ref["margin_selected_keep0.5"].tolist())


def test_forgetting() -> None:
    ref = Reference("forgetting_all")
    correct = ref.t("logits").argmax(2) == ref.t("labels")
    counts = forgetting_counts(correct)
    assert counts.tolist() == ref["dualrepo_counts"].tolist()
    assert forgetting_counts(correct, "max").tolist() == ref["toneva_counts"].tolist()
    never = np.isnan(ref["toneva_first_learned"].astype(float))
    assert never.sum() == 24
    assert (~correct.any(0)).numpy().tolist() == never.tolist()


def test_forgetting_ties_at_the_cut() -> None:
    ref = Reference("forgetting_all")
    counts = ref.t("dualrepo_counts")
    indices, tied = take(counts, 168, "high", RNG)
    cut = counts.sort(descending=True).values[167]
    inside = set((counts > cut).nonzero().flatten().tolist())
    at_most = set((counts >= cut).nonzero().flatten().tolist())
    assert inside <= set(indices.tolist()) <= at_most
    assert tied == int((counts == cut).sum()) == 110


def test_grand_closed_form() -> None:
    ref = Reference("grand_deepcore")
    for run in range(3):
        scores = grand_scores(
            ref.t("logits")[:, run], ref.t("labels"), ref.t("hidden")[:, run].contiguous()
        )
        close(scores, ref["lastlayer_norm_matrix"][:, run])


def test_grand_closed_form_is_the_gradient() -> None:
    ref = Reference("grand_deepcore")
    x, y = ref.t("x"), ref.t("labels")
    first, bias_1 = ref.t("run0_fc1_weight"), ref.t("run0_fc1_bias")
    weight, bias = ref.t("run0_fc2_weight"), ref.t("run0_fc2_bias")
    hidden = (x @ first.T + bias_1).relu().double()
    weight, bias = (p.double().requires_grad_() for p in (weight, bias))
    for i in range(0, 150, 29):
        loss = torch.nn.functional.cross_entropy(hidden[i : i + 1] @ weight.T + bias, y[i : i + 1])
        norm = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [weight, bias])]).norm()
        logits = (hidden[i : i + 1] @ weight.T + bias).detach()
        ours = grand_scores(logits, y[i : i + 1], hidden[i : i + 1])
        assert ours.item() == pytest.approx(norm.item(), rel=1e-9)


def test_el2n() -> None:
    ref = Reference("el2n_dual_ccs")
    logits, labels = ref.t("logits"), ref.t("labels")
    close(el2n_scores(logits[int(ref["dualrepo_epoch_index"])], labels), ref["dualrepo_scores"])
    window = torch.stack([el2n_scores(epoch, labels) for epoch in logits[:10]])
    close(window.sum(0), ref["ccs_sum_first10"])


def test_moderate() -> None:
    ref = Reference("moderate_official")
    distances = moderate_distances(ref.t("features"), ref.t("labels"))
    close(distances, ref["distances"])
    total = len(distances)
    size = round(total * 0.75) - round(total * 0.25)
    assert size == 75
    window = moderate_window(distances, size).tolist()
    assert window == sorted(ref["selected_keep0.5"].tolist())
    assert kept(distances, size, "window") == window


def test_moderate_centres_are_the_class_medians() -> None:
    ref = Reference("moderate_official")
    features, labels = ref.t("features").double(), ref.t("labels")
    centres = ref.t("class_medians").double()
    expected = (features - centres[labels]).norm(dim=1)
    close(moderate_distances(features, labels), expected.numpy(), 1e-6)


def test_ssp() -> None:
    ref = Reference("ssp_reference_not_official")
    assignment = ref.t("assignment_euclidean")
    scores = prototype_distances(
        ref.t("features").double(), ref.t("centroids").double(), assignment
    )
    close(scores, ref["score_cosine_to_assigned"])
    single = prototype_distances(ref.t("features"), ref.t("centroids"), assignment)
    assert single.dtype == torch.float32
    close(single, ref["score_cosine_to_assigned"])
    for share in ("0.7", "0.5", "0.3"):
        k = half_even(share, 200)
        assert kept(scores, k, "high") == sorted(ref[f"selected_hard_keep{share}"].tolist())
        assert kept(scores, k, "low") == sorted(ref[f"selected_easy_keep{share}"].tolist())


def prune4rel(tau: float, eta: float, balanced: bool) -> tuple[list[int], int]:
    ref = Reference("prune4rel_official")
    labels = ref.t("labels") if balanced else None
    confidence = ref.t("probs").max(1).values
    order, saturated = prune4rel_order(confidence, ref.t("embeddings"), 84, tau, eta, labels=labels)
    return order.tolist(), saturated


@pytest.mark.parametrize(
    ("key", "tau", "eta", "balanced"),
    [("global_tau95_eta100", 0.95, 100.0, False), ("balanced_tau975_eta1", 0.975, 1.0, True)],
)
def test_prune4rel_order(key: str, tau: float, eta: float, balanced: bool) -> None:
    ref = Reference("prune4rel_official")
    stable = dict(
        zip(ref["stable_prefix_keys"].tolist(), ref["stable_prefix_len"].tolist(), strict=True)
    )
    order, saturated = prune4rel(tau, eta, balanced)
    length = stable[key]
    assert length == 84
    assert order[:length] == ref[f"{key}_pick_order"].tolist()[:length]
    assert saturated == 0


def test_prune4rel_similarity() -> None:
    ref = Reference("prune4rel_official")
    unit = unit_rows(ref["embeddings"].astype(np.float32))
    np.testing.assert_allclose(similarity(unit @ unit.T), ref["similarity"], atol=1e-6)


def test_dyn_unc_all_windows() -> None:
    ref, p = Reference("dynunc_official"), Reference("dual_official").t("target_probs")
    scores = dyn_unc_scores(p, 10)
    close(scores, ref["dualrepo_scores_J10"])
    assert kept(scores, 120, "high") == sorted(ref["dualrepo_selected_keep0.5"].tolist())


def test_dyn_unc_without_the_last_window() -> None:
    ref, p = Reference("dynunc_official"), Reference("dual_official").t("target_probs")
    rows = p[:-1].double()
    assert len(rows) - 10 + 1 == int(ref["baai_num_windows"])
    close(dyn_unc_scores(rows, 10), ref["baai_scores_J10"])


@pytest.mark.parametrize("epochs", [30, 12])
def test_dual_scores(epochs: int) -> None:
    ref = Reference("dual_official")
    scores = dual_scores(ref.t("target_probs"), epochs, 10)
    close(scores, ref[f"dual_scores_T{epochs}_J10"])
    if epochs == 30:
        assert kept(scores, 120, "high") == sorted(ref["dual_selected_top_keep0.5"].tolist())


def test_dual_beta_probabilities() -> None:
    ref = Reference("dual_official")
    p = ref.t("target_probs")
    mean_p = p[:30].double().mean(0)
    close(mean_p, ref["pred_mean_T30"])
    scores, ours_p = ref.t("dual_scores_T30_J10"), ref.t("pred_mean_T30")
    weights = beta_weights(scores, ours_p, 0.5, 4.0)
    np.testing.assert_allclose(weights.numpy(), ref["beta_keep0.5_cd4.0_p"], rtol=1e-4, atol=1e-12)
    a, b = ref["beta_keep0.5_cd4.0_ab"].tolist()
    top = scores.argsort()[-10:]
    assert b == pytest.approx(15 * (1 - float(ours_p[top].mean())) * (1 - 0.5**4), rel=1e-5)
    assert a + b == pytest.approx(16)
    assert int(ref["beta_keep0.5_cd4.0_size"]) == 120
