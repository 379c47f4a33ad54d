"""Scores and orders from outputs and features beside those of the official implementations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.d2 import d2_densities, d2_order, nearest_neighbours
from prunebench.methods.gm_matching import geometric_median, gm_matching_order
from prunebench.methods.herding import herding_order
from prunebench.methods.k_center import k_center_order
from prunebench.methods.tdds import divergence, divergence_scores, tdds_scores
from prunebench.methods.uncertainty import entropy_scores, least_confidence_scores
from prunebench.methods.zcore import zcore_scores
from prunebench.rng import Stream
from support.vectors import Reference

FAR = 1e5


def read(name: str) -> Reference:
    return Reference(f"{name}_a", "static-2")


def unit(x: Tensor) -> Tensor:
    return x.double() / x.double().norm(dim=1, keepdim=True)


def ranked(scores: Tensor) -> list[int]:
    return scores.argsort(descending=True, stable=True).tolist()


@pytest.mark.parametrize(("t", "j", "decay"), [(40, 10, 0.9), (20, 10, 0.9), (15, 3, 0.2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tdds(t: int, j: int, decay: float, dtype: torch.dtype) -> None:
    ref = read("tdds")
    p = Reference("forgetting_all").t("logits").to(dtype).softmax(2)
    scores = tdds_scores(p[:t], j, decay)
    key = f"tdds_T{t}_J{j}_decay{decay}"
    np.testing.assert_allclose(scores.numpy(), ref[key], rtol=1e-4)
    assert ranked(scores)[::-1] == ref[f"{key}_order_ascending"].tolist()
    if t == 40:
        for keep, k in (("0.7", 168), ("0.5", 120), ("0.3", 72)):
            assert set(ranked(scores)[:k]) == set(ref[f"selected_T40_J10_keep{keep}"].tolist())


def test_tdds_uses_each_window() -> None:
    faulty = read("tdds")["faulty_dualrepo_T20_J10"]
    p = Reference("forgetting_all").t("logits").softmax(2)[:20]
    scores = tdds_scores(p)
    assert len(set(ranked(scores)[:120]) & set(np.argsort(-faulty)[:120].tolist())) < 80
    first = tdds_scores(p[:10])
    assert not torch.allclose(scores, first * (1 - 0.1**11), rtol=0.1)


def test_tdds_of_divergences_is_that_of_probabilities() -> None:
    p = torch.rand(7, 30, 4, generator=torch.Generator().manual_seed(1)).softmax(2)
    rows = torch.stack([divergence(b, a) for a, b in pairwise(p)])
    assert torch.equal(divergence_scores(rows, 4, 0.5), tdds_scores(p, 4, 0.5))
    by_hand = sum(0.5 * 0.5 ** (3 - k) * rows[k : k + 3].double().std(0) * 2**0.5 for k in range(4))
    np.testing.assert_allclose(divergence_scores(rows, 4, 0.5), by_hand, rtol=1e-9)
    rows[2, 5] = float("nan")
    assert divergence_scores(rows, 4).isnan().nonzero().tolist() == [[5]]


@pytest.mark.parametrize("window", [2, 8, 0])
def test_tdds_refuses_windows(window: int) -> None:
    with pytest.raises(InputError, match="accepted: 3 to 7"):
        tdds_scores(torch.rand(7, 3, 2), window)


@pytest.mark.parametrize("name", ["least_confidence", "entropy"])
def test_uncertainty(name: str) -> None:
    ref = read("uncertainty")
    score = {"least_confidence": least_confidence_scores, "entropy": entropy_scores}[name]
    scores = score(ref.t("logits"))
    np.testing.assert_allclose(scores.numpy(), ref[f"reference_{name}"], rtol=1e-9)
    assert ranked(scores)[:120] == ref[f"svp_{name}_order_keep0.5"].tolist()


def test_uncertainty_is_not_that_of_logits() -> None:
    ref = read("uncertainty")
    ours = set(ranked(least_confidence_scores(ref.t("logits")))[:120])
    logit = set(np.argsort(ref["deepcore_leastconfidence_scores"])[:120].tolist())
    assert len(ours & logit) < 120


def test_uncertainty_at_the_ends() -> None:
    sure = torch.tensor([[0.0, 60.0, 0.0], [0.0, 70.0, 0.0], [0.0, 900.0, 0.0], [2.0, 2.0, 2.0]])
    low, entropy = least_confidence_scores(sure), entropy_scores(sure)
    assert low[0] > low[1] > low[2] == 0
    assert entropy[0] > entropy[1] > entropy[2] == 0
    assert low[3] == pytest.approx(2 / 3)
    assert entropy[3] == pytest.approx(np.log(3))


@pytest.mark.parametrize("shift", [0.0, FAR])
def test_k_center(shift: float) -> None:
    ref = read("k_center")
    first = int(ref["deepcore_seed0_first"])
    order = k_center_order(ref.t("features").double() + shift, 100, first).tolist()
    for keep in ("0.5", "0.2"):
        theirs = ref[f"svp_seed0_keep{keep}_order"].tolist()
        stable = ref.prefix(f"svp_seed0_keep{keep}")
        assert order[:stable] == theirs[:stable]
        assert set(order[: len(theirs)]) == set(ref[f"deepcore_seed0_keep{keep}"].tolist())


@pytest.mark.parametrize(("rule", "shift"), [("distance", 0.0), ("distance", FAR), ("inner", 0.0)])
def test_herding(rule: str, shift: float) -> None:
    ref = read("herding")
    key = f"reference_{rule}_keep0.5"
    order = herding_order(ref.t("features").double() + shift, 100, rule=rule).tolist()
    stable = ref.prefix(key)
    assert order[:stable] == ref[f"{key}_order"].tolist()[:stable]


def test_herding_of_the_official_code_takes_the_farthest() -> None:
    ref = read("herding")
    x = ref.t("features")
    order = herding_order(x, 100).tolist()
    assert order == ref["gmrepo_L2_mean_keep0.5_order"].tolist()
    farthest = set(ref["faulty_deepcore_farthest_keep0.5"].tolist())
    assert len(farthest & set(order)) == 51
    mean, far = x.mean(0), [sorted(farthest), order]
    gaps = [(x[picks].mean(0) - mean).norm().item() for picks in far]
    assert gaps[0] > 10 * gaps[1]


def test_herding_on_the_sphere() -> None:
    ref = read("herding")
    x = unit(ref.t("features"))
    centre = ref.t("features").double().mean(0)
    order = herding_order(x, 100, centre / centre.norm(), x.mean(0), "inner").tolist()
    stable = ref.prefix("gmrepo_cosine_mean_keep0.5")
    assert order[:stable] == ref["gmrepo_cosine_mean_keep0.5_order"].tolist()[:stable]
    rules = [herding_order(x, 40, rule=rule).tolist() for rule in ("distance", "inner")]
    assert rules[0] == rules[1]


@pytest.mark.parametrize("group", ["class0", "all"])
def test_geometric_median(group: str) -> None:
    ref = read("gm_matching")
    x, y = ref.t("features"), ref.t("labels")
    x = x if group == "all" else x[y == 0]
    np.testing.assert_allclose(geometric_median(x).numpy(), ref[f"weiszfeld_{group}"], rtol=1e-9)
    converged = geometric_median(x, 1e-12)
    np.testing.assert_allclose(converged.numpy(), ref[f"reference_median_{group}"], rtol=1e-8)
    far = geometric_median(x.double() + FAR, 1e-12) - FAR
    np.testing.assert_allclose(far.numpy(), converged.numpy(), atol=1e-9)


def test_geometric_median_at_a_sample() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert geometric_median(x).tolist() == [0.0, 0.0]


def test_gm_matching() -> None:
    ref = read("gm_matching")
    x, y = ref.t("features"), ref.t("labels")
    own = x[y == 0]
    order = gm_matching_order(own, 14).tolist()
    assert order == ref["class0_reference_centre_start_order"].tolist()
    assert order != ref["class0_faulty_target_start_order"].tolist()
    first = unit(own)[int(ref["class0_random_start_first"])]
    given = gm_matching_order(own, 14, geometric_median(own), first).tolist()
    assert given == ref["class0_random_start_order"].tolist()
    everyone = gm_matching_order(x, 60, start=unit(x).mean(0)).tolist()
    assert everyone == ref["all_mean_start_order"].tolist()


D2_KEYS = [key[: -len("_order")] for key in read("d2") if key.endswith("_order")]


@pytest.mark.parametrize("key", D2_KEYS)
def test_d2(key: str) -> None:
    ref = read("d2")
    graph, mode, update, neighbours, gamma = key.split("_")
    scores, x, k = ref.t("difficulty"), ref.t("features"), int(neighbours[1:])
    both_ways = graph == "dense"
    densities = d2_densities(scores, x, k, mode, both_ways)
    np.testing.assert_allclose(densities.numpy(), ref[f"{key}_density"], rtol=1e-4)
    order = d2_order(scores, x, 75, k, float(gamma[5:]), mode, update, both_ways).tolist()
    stable = ref.prefix(key)
    assert order[:stable] == ref[f"{key}_order"].tolist()[:stable]


def test_neighbours_are_exact_far_from_the_origin_and_among_duplicates() -> None:
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[30:40] = x[0]
    x += 2.0**20
    near, distance = nearest_neighbours(x, 5)
    every = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    every.fill_diagonal_(float("inf"))
    np.testing.assert_allclose(distance, every.sort(1).values[:, :5], rtol=1e-12)
    assert near[0].tolist() == [30, 31, 32, 33, 34]
    assert distance[0].tolist() == [0.0] * 5
    assert nearest_neighbours(x[:3], 5)[0].shape == (3, 2)
    assert nearest_neighbours(x[:1], 5)[0].shape == (1, 0)


def test_zcore() -> None:
    ref = read("zcore")
    x, draws = ref.t("features"), (ref.t("dimensions"), ref.t("points"))
    k, e = int(ref["neighbours"]), float(ref["exponent"])
    _, twin = np.unique(ref["features"], axis=0, return_inverse=True)
    assert twin.max() + 1 == 154

    def by_twins(scores: np.ndarray) -> np.ndarray:
        """Up to a scale, for which twin is the lowest moves it."""
        sums = np.bincount(twin, scores - scores.mean())
        return np.asarray(sums / np.abs(sums).max())

    for key, start in (("official_scaled", None), ("official_scaled_with_start", ref.t("start"))):
        scores = zcore_scores(x, *draws, k, e, start).numpy()
        assert (scores.min(), scores.max()) == (0, 1)
        np.testing.assert_allclose(by_twins(scores), by_twins(ref[key]), rtol=1e-9, atol=1e-12)


def test_zcore_looks_at_a_part_first_where_samples_are_many() -> None:
    g = torch.Generator().manual_seed(2)
    x, axes = torch.rand(5000, 3, generator=g, dtype=torch.float64), torch.tensor([[0, 2]] * 6)
    points = torch.rand(6, 2, generator=g, dtype=torch.float64)
    expected = torch.zeros(5000, dtype=torch.float64)
    for point in points:
        best = (x[:, [0, 2]] - point).abs().sum(1).argmin()
        apart = (x[:, [0, 2]] - x[best, [0, 2]]).abs().sum(1)
        apart[best] = torch.inf
        who = apart.argsort()[:100]
        expected[who] -= apart[who] ** -4 / (apart[who] ** -4).sum()
        expected[best] += 1
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(zcore_scores(x, axes, points, 100), expected, rtol=1e-9)


def orders(x: Tensor, k: int, rng: Stream | None = None) -> dict[str, list[int]]:
    scores = torch.ones(len(x))
    return {
        "k-center": k_center_order(x, k, 0, rng=rng).tolist(),
        "herding": herding_order(x, k, rng=rng).tolist(),
        "herding, inner": herding_order(x, k, rule="inner", rng=rng).tolist(),
        "gm-matching": gm_matching_order(x, k, rng=rng).tolist(),
        "d2": d2_order(scores, x, k, 3, 0.1, rng=rng).tolist(),
    }


def test_equal_samples_are_taken_by_index_or_by_draw() -> None:
    same = torch.full((50, 7), 0.1)
    for name, order in orders(same, 50).items():
        assert order == list(range(50)) or name == "d2", name
    drawn = [orders(same, 20, Stream(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    for name, order in drawn[0].items():
        assert order != drawn[2][name], name
        assert len(set(order)) == 20, name
    # Twins far apart: the first of each pair comes first.
    twins = torch.randn(20, 33, generator=torch.Generator().manual_seed(3)).repeat(2, 1)
    for name, order in orders(twins, 40).items():
        place = {sample: step for step, sample in enumerate(order)}
        assert all(place[i] < place[i + 20] for i in range(20)), name


def test_orders_are_nested_and_complete() -> None:
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(4))
    everything = orders(x, 40)
    for k in (0, 1, 17):
        for name, order in orders(x, k).items():
            assert order == everything[name][:k], name
    assert all(sorted(order) == list(range(40)) for order in everything.values())


def test_what_is_not_finite_is_refused() -> None:
    x, one = torch.rand(6, 3), torch.ones(6)
    bad = x.clone()
    bad[4, 1] = float("nan")
    calls = [
        lambda: k_center_order(bad, 2, 0),
        lambda: herding_order(bad, 2),
        lambda: geometric_median(bad),
        lambda: gm_matching_order(bad, 2),
        lambda: d2_order(one, bad, 2, 3, 0.1),
        lambda: nearest_neighbours(bad, 2),
        lambda: zcore_scores(bad, torch.tensor([[0, 1]]), torch.rand(1, 2)),
    ]
    for call in calls:
        with pytest.raises(InputError, match="features: row 4 is not finite"):
            call()
    refused = {
        "first: 6 is no sample": lambda: k_center_order(x, 2, 6),
        "k: cannot keep 7 of 6": lambda: herding_order(x, 7),
        "rule: unknown rule": lambda: herding_order(x, 2, rule="far"),
        "target: shape": lambda: herding_order(x, 2, target=one),
        "mode: unknown mode": lambda: d2_order(one, x, 2, 3, 0.1, "mean"),
        "update: unknown update": lambda: d2_order(one, x, 2, 3, 0.1, "sum", "none"),
        "neighbours: 0 neighbours": lambda: nearest_neighbours(x, 0),
        "dimensions: dimensions from 0 to 3": lambda: zcore_scores(
            x, torch.tensor([[0, 3]]), torch.rand(1, 2)
        ),
    }
    for line, call in refused.items():
        with pytest.raises(InputError, match=line):
            call()
