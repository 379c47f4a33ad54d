"""Methods on last-layer gradients against numbers of official implementations.

Official outputs of known faults are compared too, to see that they are not ours.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from prunebench.methods import last_layer
from prunebench.methods.craig import craig_order
from prunebench.methods.glister import glister_order, reference_gradient
from prunebench.methods.gradmatch import orthogonal_matching_pursuit
from prunebench.methods.moso import last_layer_moso, moso_scores
from prunebench.methods.submodular import (
    cluster_sizes,
    facility_location_order,
    graph_cut_order,
)
from support.vectors import Reference

EXACT = {"rtol": 1e-9, "atol": 1e-12}
SINGLE = {"rtol": 1e-4, "atol": 1e-5}


class Vectors(Reference):
    """One file of arrays; most hold a linear head's inputs and outputs."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}_a", "static-2")

    @property
    def features(self) -> Tensor:
        return self.t("features")

    @property
    def residuals(self) -> Tensor:
        return last_layer.residuals(self.t("logits"), self.t("labels"))

    def classes(self) -> list[Tensor]:
        labels = self.t("labels")
        return [(labels == c).nonzero().squeeze(1) for c in range(int(labels.max()) + 1)]

    def reference(self) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(self.t(f"reference_{key}") for key in ("logits", "features", "labels"))


def autograd_gradients(vectors: Vectors, count: int) -> Tensor:
    """float64 [count, C (1 + D)], bias first."""
    weight, bias = (vectors.t(key).double().requires_grad_() for key in ("weight", "bias"))
    logits = vectors.features[:count].double() @ weight.T + bias
    found = []
    for z, y in zip(logits, vectors.t("labels"), strict=False):
        loss = torch.nn.functional.cross_entropy(z[None], y[None])
        parts = torch.autograd.grad(loss, [bias, weight], retain_graph=True)
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found)


def test_products_are_those_of_the_gradients() -> None:
    vectors = Vectors("craig")
    g = autograd_gradients(vectors, 40)
    logits = vectors.features[:40].double() @ vectors.t("weight").double().T
    r = last_layer.residuals(logits + vectors.t("bias").double(), vectors.t("labels")[:40])
    h = vectors.features[:40]
    np.testing.assert_allclose(last_layer.gram(r, h), g @ g.T, **EXACT)
    np.testing.assert_allclose(last_layer.gram(r, h, r[:7], h[:7]), g @ g[:7].T, **EXACT)
    apart = (g[:, None] - g).norm(dim=2)
    np.testing.assert_allclose(last_layer.distances(r, h), apart, rtol=1e-9, atol=1e-9)
    unit = g / g.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(last_layer.similarity(r, h), 0.5 + 0.5 * unit @ unit.T, **EXACT)
    bias, weight = last_layer.mean_gradient(r, h)
    np.testing.assert_allclose(torch.cat([bias, weight.flatten()]), g.mean(0), **EXACT)
    np.testing.assert_allclose(last_layer.projections(r, h, bias, weight), g @ g.mean(0), **EXACT)


def coverage(similarity: Tensor, picks: list[int]) -> float:
    return float(similarity[:, picks].amax(1).sum())


def assert_greedy(similarity: Tensor, picks: list[int]) -> None:
    """Every pick attains the greatest gain, to the rounding of a sum."""
    best = torch.zeros(len(similarity), dtype=torch.float64)
    for step, pick in enumerate(picks):
        gains = (similarity - best[:, None]).clamp_min(0).sum(0)
        gains[picks[:step]] = -1
        assert gains[pick] >= gains.max() - 1e-9 * len(similarity)
        best = torch.maximum(best, similarity[:, pick])


def test_craig() -> None:
    vectors = Vectors("craig")
    r, h = vectors.residuals, vectors.features
    order, weights = [], []
    theirs = vectors["reference_keep0.3_order"].tolist()
    for members in vectors.classes():
        k = round(0.3 * len(members))
        picks, sizes = craig_order(r[members], h[members], k)
        assert sizes.sum() == len(members)
        near = last_layer.distances(r[members], h[members])
        near = near.max() - near
        assert_greedy(near, picks.tolist())
        place = {int(member): i for i, member in enumerate(members)}
        official = [place[i] for i in theirs[len(order) : len(order) + k]]
        value = coverage(near, picks.tolist())
        assert value == pytest.approx(coverage(near, official), rel=1e-5)
        order += members[picks].tolist()
        weights += sizes.tolist()
    assert sorted(order) == sorted(vectors["deepcore_keep0.3_indices"].tolist())
    official_sizes = dict(
        zip(
            vectors["deepcore_keep0.3_indices"].tolist(),
            vectors["deepcore_keep0.3_weights_plus_one"].tolist(),
            strict=True,
        )
    )
    assert [official_sizes[i] - 1 for i in order] == weights
    assert weights == vectors["reference_keep0.3_weights"].tolist()
    scaled = vectors["faulty_deepcore_batch16_keep0.3_indices"].tolist()
    assert len(set(order) - set(scaled)) == 12


@pytest.mark.parametrize("label", [1, 2])
def test_craig_beside_apricot_and_its_own_first_code(label: int) -> None:
    vectors = Vectors("craig")
    members = vectors.classes()[label]
    r, h = vectors.residuals[members], vectors.features[members]
    apart = last_layer.distances(r, h)
    near = apart.max() - apart
    place = {int(member): i for i, member in enumerate(members)}
    apricot = [place[i] for i in vectors[f"apricot_class{label}_order"].tolist()]
    ours, _ = craig_order(r, h, len(apricot))
    assert coverage(near, ours.tolist()) == pytest.approx(coverage(near, apricot), rel=1e-5)
    faulty = [place[i] for i in vectors[f"faulty_craigrepo_sample0_class{label}_order"].tolist()]
    sizes = vectors[f"faulty_craigrepo_sample0_class{label}_sizes"].tolist()
    assert cluster_sizes(near, torch.tensor(faulty)).tolist() == sizes
    assert faulty[1] == 0
    assert ours[1] != 0
    with pytest.raises(AssertionError):
        assert_greedy(near, faulty)
    assert_greedy(near, ours.tolist())


def test_graph_cut() -> None:
    vectors = Vectors("submodular")
    r, h = vectors.residuals, vectors.features
    whole = graph_cut_order(last_layer.similarity(r, h), 42).tolist()
    stable = vectors.prefix("reference_graphcut_global_keep0.2")
    assert whole[:stable] == vectors["reference_graphcut_global_keep0.2_order"][:stable].tolist()
    assert sorted(whole) == sorted(vectors["deepcore_graphcut_global_keep0.2"].tolist())
    balanced: list[int] = []
    for members in vectors.classes():
        near = last_layer.similarity(r[members], h[members])
        balanced += members[graph_cut_order(near, round(0.2 * len(members)))].tolist()
    assert balanced == vectors["reference_graphcut_balanced_keep0.2_order"].tolist()
    assert sorted(balanced) == sorted(vectors["deepcore_graphcut_balanced_keep0.2"].tolist())


def test_facility_location() -> None:
    vectors = Vectors("submodular")
    near = last_layer.similarity(vectors.residuals, vectors.features)
    picks = facility_location_order(near, 105).tolist()
    official = vectors["reference_facilitylocation_global_keep0.5_order"].tolist()
    stable = vectors.prefix("reference_facilitylocation_global_keep0.5")
    assert picks[:stable] == official[:stable]
    assert coverage(near, picks) == pytest.approx(coverage(near, official), rel=1e-5)
    assert_greedy(near, picks)


@pytest.mark.parametrize("ridge", ["1.0", "0.1"])
@pytest.mark.parametrize("keep", ["0.3", "0.15"])
def test_gradmatch(keep: str, ridge: str) -> None:
    vectors = Vectors("gradmatch")
    for label, members in enumerate(vectors.classes()[:4]):
        gram = last_layer.gram(vectors.residuals[members], vectors.features[members])
        key = f"class{label}_keep{keep}_ridge{ridge}"
        theirs = vectors[f"reference_{key}_order"].tolist()
        order, weights = orthogonal_matching_pursuit(gram, gram.mean(1), len(theirs), float(ridge))
        assert vectors.prefix(f"reference_{key}") == len(theirs)
        assert order.tolist() == theirs
        np.testing.assert_allclose(weights, vectors[f"reference_{key}_weights"], **EXACT)
        scattered = torch.zeros(len(members), dtype=torch.float64).scatter(0, order, weights)
        np.testing.assert_allclose(scattered, vectors[f"deepcore_{key}_weights"], **SINGLE)


def test_gradmatch_over_all_samples_and_with_the_sum_as_target() -> None:
    vectors = Vectors("gradmatch")
    gram = last_layer.gram(vectors.residuals, vectors.features)
    order, weights = orthogonal_matching_pursuit(gram, gram.mean(1), 40)
    assert order.tolist() == vectors["reference_global_k40_order"].tolist()
    np.testing.assert_allclose(weights, vectors["reference_global_k40_weights"], **EXACT)
    for label in (0, 2):  # in the others cords throws out negative coefficients on its way
        gram = last_layer.gram(
            *(x[vectors.classes()[label]] for x in (vectors.residuals, vectors.features))
        )
        theirs = vectors[f"cords_sum_target_class{label}_weights"]
        order, weights = orthogonal_matching_pursuit(gram, gram.sum(1), int((theirs > 0).sum()), 0)
        scattered = torch.zeros(len(gram), dtype=torch.float64).scatter(0, order, weights)
        np.testing.assert_allclose(scattered, theirs, **EXACT)


def test_gradmatch_on_gradients_divided_by_a_batch_matches_nothing() -> None:
    """DeepCore's scale turns the pursuit into the largest projections: 62 of 62 picks."""
    vectors = Vectors("gradmatch")
    for members in vectors.classes():
        gram = last_layer.gram(vectors.residuals[members], vectors.features[members])
        k = round(0.3 * len(members))
        scale = len(vectors["labels"])
        shipped, _ = orthogonal_matching_pursuit(gram / scale**2, gram.mean(1) / scale**2, k)
        ours, _ = orthogonal_matching_pursuit(gram, gram.mean(1), k)
        largest = set(gram.mean(1).argsort(descending=True)[:k].tolist())
        assert set(shipped.tolist()) == largest
        assert set(ours.tolist()) != largest


def test_glister() -> None:
    vectors = Vectors("glister")
    r, h, reference = vectors.residuals, vectors.features, vectors.reference()
    for rounds, name in ((15, "15"), (63, "all")):
        key = f"reference_mean_eta0.1_rounds{name}"
        order = glister_order(r, h, *reference, 63, 0.1, rounds)
        assert vectors.prefix(f"{key}") == 63
        assert order.tolist() == vectors[f"{key}_order"].tolist()
    for k in (45, 60):
        for eta in ("0.1", "1.0"):
            order = glister_order(r, h, *reference, k, float(eta), 15, "sum")
            assert order.tolist() == vectors[f"cords_rgreedy_eta{eta}_k{k}_order"].tolist()


def test_glister_moves_and_deepcores_does_not() -> None:
    vectors = Vectors("glister")
    r, h, (z, x, y) = vectors.residuals, vectors.features, vectors.reference()
    bias, weight = reference_gradient(z, x, y)
    start = torch.cat([bias, weight.flatten()])
    theirs = vectors["deepcore_reference_gradient_start"] * len(y)
    np.testing.assert_allclose(start, theirs, **SINGLE)
    largest = last_layer.projections(r, h, bias, weight).argsort(descending=True)[:105]
    shipped = vectors["faulty_deepcore_never_updates_global_keep0.5"].tolist()
    assert sorted(largest.tolist()) == sorted(shipped)
    assert sorted(glister_order(r, h, z, x, y, 105, 0.0).tolist()) == sorted(shipped)
    assert sorted(glister_order(r, h, z, x, y, 105, 0.1).tolist()) != sorted(shipped)
    picks = vectors.t("update_selected")
    a_bias, a_weight = last_layer.mean_gradient(r[picks], h[picks])
    for eta in ("0.1", "1.0"):
        moved = z.double() - float(eta) * (x.double() @ a_weight.T + a_bias)
        ours = torch.cat([part.flatten() for part in reference_gradient(moved, x, y)])
        np.testing.assert_allclose(ours, vectors[f"reference_updated_gradient_eta{eta}"], **EXACT)
        theirs = vectors[f"deepcore_updated_gradient_eta{eta}_times_batch"]
        np.testing.assert_allclose(ours, theirs, **SINGLE)


@pytest.mark.parametrize("form", ["exact", "approximate"])
def test_moso(form: str) -> None:
    vectors = Vectors("moso")
    exact, rates = form == "exact", vectors.t("learning_rates")
    scores = moso_scores(vectors.t("gradients"), rates, exact)
    np.testing.assert_allclose(scores, vectors[f"official_{form}_sum"], rtol=1e-9)
    outputs = vectors.t("logits"), vectors.t("hidden"), vectors.t("labels")
    last = last_layer_moso(*outputs, rates, exact)
    np.testing.assert_allclose(last, vectors[f"official_last_layer_{form}_sum"], rtol=1e-9)
    if exact:
        best = scores.argsort(descending=True)[:30].tolist()
        assert sorted(best) == sorted(vectors["official_top_keep0.5"].tolist())
        by_class = vectors["faulty_official_class_topk_keep0.5"].tolist()
        assert len(set(by_class)) < len(by_class) < 30
