"""Greedy methods on gradients: literal forms, ties, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import Tensor

from prunebench.errors import InputError
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
from prunebench.rng import Stream


def head(n: int, classes: int = 4, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Residuals and features."""
    rng = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(n, classes, generator=rng)
    labels = torch.randint(classes, (n,), generator=rng)
    return last_layer.residuals(z, labels), torch.randn(n, width, generator=rng)


def small_integers(n: int) -> st.SearchStrategy[Tensor]:
    """Symmetric matrices with many equal gains."""
    entries = st.lists(st.integers(0, 3), min_size=n * n, max_size=n * n)

    def symmetric(values: list[int]) -> Tensor:
        matrix = torch.tensor(values, dtype=torch.float64).reshape(n, n)
        return torch.maximum(matrix, matrix.T)

    return entries.map(symmetric)


@given(small_integers(6), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_greedy_orders_are_the_literal_ones_with_lowest_index_first(near: Tensor, k: int) -> None:
    best, cut = torch.zeros(6, dtype=torch.float64), near.sum(0)
    covering: list[int] = []
    cutting: list[int] = []
    for _ in range(k):
        gains = (near - best[:, None]).clamp_min(0).sum(0)
        gains[covering], cut[cutting] = -1, -torch.inf
        covering.append(int(gains.argmax()))
        cutting.append(int(cut.argmax()))
        best = torch.maximum(best, near[:, covering[-1]])
        cut = cut - 2 * near[cutting[-1]]
    assert facility_location_order(near, k).tolist() == covering
    assert graph_cut_order(near, k).tolist() == cutting


ORDERS: dict[str, Callable[[Tensor, Tensor, int, Stream | None], Tensor]] = {
    "craig": lambda r, h, k, rng: craig_order(r, h, k, rng)[0],
    "graph-cut": lambda r, h, k, rng: graph_cut_order(last_layer.similarity(r, h), k, rng=rng),
    "facility-location": lambda r, h, k, rng: facility_location_order(
        last_layer.similarity(r, h), k, rng
    ),
    "gradmatch": lambda r, h, k, rng: orthogonal_matching_pursuit(
        last_layer.gram(r, h), last_layer.gram(r, h).mean(1), k, rng=rng
    )[0],
    "glister": lambda r, h, k, rng: glister_order(
        r, h, torch.eye(4)[:3], h[:3], torch.tensor([0, 1, 2]), k, 0.1, rng=rng
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_each_sample_once_in_an_order_that_no_stream_changes_without_ties(name: str) -> None:
    r, h = head(23)
    for k in (0, 1, 11, 23):
        order = ORDERS[name](r, h, k, None)
        assert order.dtype == torch.int64
        assert len(set(order.tolist())) == k
    if name not in ("craig", "facility-location"):  # their ties are inherent
        assert order.tolist() == ORDERS[name](r, h, 23, Stream(3)).tolist()
    with pytest.raises(InputError, match="0 to 23"):
        ORDERS[name](r, h, 24, None)


@pytest.mark.parametrize("name", ORDERS)
def test_equal_samples_are_told_apart_by_the_stream(name: str) -> None:
    r, h = torch.tensor([[0.5, -0.5, 0, 0]]).repeat(12, 1).double(), torch.ones(12, 5)
    assert ORDERS[name](r, h, 3, None)[0] == 0
    firsts = {int(ORDERS[name](r, h, 3, Stream(key))[0]) for key in range(12)}
    assert len(firsts) > 3


def test_copies_are_at_distance_0_and_tie() -> None:
    r, h = head(300, width=70)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    r, h = torch.cat([r, r[order]]), torch.cat([h, h[order]])
    twins = torch.cat([300 + order.argsort(), order])
    apart = last_layer.distances(r, h)
    assert torch.equal(apart, apart.T)
    assert bool((apart[torch.arange(600), twins] == 0).all())
    picks, sizes = craig_order(r, h, 300)
    assert len({min(i, int(twins[i])) for i in picks.tolist()}) == 300
    assert sizes.tolist() == [2.0] * 300


def test_rounding_of_a_sum_does_not_decide() -> None:
    """Two samples that are each other's only neighbours have equal gains in exact arithmetic."""
    r, h = head(240, width=33)
    apart = last_layer.distances(r, h)
    near = apart.max() - apart
    shuffle = torch.randperm(240, generator=torch.Generator().manual_seed(0))
    whole = facility_location_order(near, 240, None)
    gains = facility_gains(near, whole.tolist())
    again = shuffle[facility_location_order(near[shuffle][:, shuffle], 240, None)]
    assert gains == facility_gains(near, again.tolist())


def facility_gains(near: Tensor, picks: list[int]) -> list[float]:
    best, gains = torch.zeros(len(near), dtype=torch.float64), []
    for pick in picks:
        after = torch.maximum(best, near[:, pick])
        gains.append(round(float((after - best).sum()), 7))
        best = after
    return gains


def test_a_zero_gradient_is_similar_to_nothing() -> None:
    r, h = head(5)
    r[2] = 0
    near = last_layer.similarity(r, h)
    assert near[2].tolist() == [0.5] * 5
    assert near[:, 2].tolist() == [0.5] * 5
    tiny = last_layer.similarity(r * 1e-200, h)
    np.testing.assert_allclose(tiny, near, rtol=1e-9, atol=1e-9)


def test_a_sure_network_keeps_its_digits() -> None:
    logits = torch.tensor([[60.0, 0.0, 1.0], [80.0, 3.0, 0.0]])
    r = last_layer.residuals(logits, torch.tensor([0, 0]))
    assert r[:, 0].tolist() == pytest.approx((-r[:, 1:].sum(1)).tolist(), rel=1e-12)
    assert bool((r[:, 0] < 0).all())


def test_features_alone_look_at_no_label() -> None:
    h = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0.0, 0.0]])
    near = last_layer.feature_similarity(h)
    expected = [[1, 0.5, 0, 0.5], [0.5, 1, 0.5, 0.5], [0, 0.5, 1, 0.5], [0.5] * 4]
    assert near.tolist() == expected


def literal_pursuit(gram: Tensor, inner: Tensor, k: int, ridge: float) -> tuple[list[int], Tensor]:
    """A solve per pick."""
    picks: list[int] = []
    c = inner.clone()
    for step in range(k):
        c[picks] = -torch.inf
        picks.append(int(c.argmax()))
        own = gram[picks][:, picks] + (ridge if step else 0) * torch.eye(len(picks))
        c = inner - gram[:, picks] @ torch.linalg.solve(own, inner[picks])
    system = gram[picks][:, picks] + ridge * torch.eye(k)
    return picks, torch.from_numpy(nnls(system.numpy(), inner[picks].numpy())[0])


@pytest.mark.parametrize("ridge", [1.0, 0.01])
def test_pursuit_is_the_literal_one_where_weights_become_0(ridge: float) -> None:
    r, h = head(90, classes=3, width=6)
    gram = last_layer.gram(r, h)
    picks, weights = orthogonal_matching_pursuit(gram, gram.mean(1), 85, ridge)
    expected, their_weights = literal_pursuit(gram, gram.mean(1), 85, ridge)
    assert picks.tolist() == expected
    assert 0 < int((weights == 0).sum()) < 85
    np.testing.assert_allclose(weights, their_weights, rtol=1e-7, atol=1e-9)


def test_pursuit_without_ridge_gives_dependent_picks_no_weight() -> None:
    r, h = head(6, classes=2, width=1, seed=2)
    r, h = torch.cat([r, r]), torch.cat([h, h])
    gram = last_layer.gram(r, h)
    picks, weights = orthogonal_matching_pursuit(gram, gram.mean(1), 12, 0.0)
    assert sorted(picks.tolist()) == list(range(12))
    assert bool(weights.isfinite().all())
    matched = gram[picks] @ gram.new_ones(12)
    assert len(matched) == 12
    left = gram.mean(1) - gram[:, picks] @ weights
    assert float(left.abs().max()) < 1e-6
    order, weights = orthogonal_matching_pursuit(torch.zeros(3, 3), torch.zeros(3), 2, 0.0)
    assert (order.tolist(), weights.tolist()) == ([0, 1], [0.0, 0.0])
    assert orthogonal_matching_pursuit(gram, gram.mean(1), 1)[1].tolist() == [1.0]


def test_glister_blocks_end_at_k_and_small_k_ends() -> None:
    r, h = head(40)
    reference = torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), h[:9]
    labels = torch.arange(9) % 4
    for k in (3, 14, 31):
        assert len(glister_order(r, h, *reference, labels, k, 0.5)) == k
    first = glister_order(r, h, *reference, labels, 31, 0.5)[:2]
    gains = last_layer.projections(r, h, *reference_gradient(*reference, labels))
    assert first.tolist() == gains.argsort(descending=True)[:2].tolist()


LOGITS, LABELS = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])
NAN = torch.full((4, 3), float("nan"))
SQUARE = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: last_layer.residuals(NAN, LABELS), "logits: .*not finite"),
        (lambda: last_layer.residuals(LOGITS, LABELS[:3]), "labels"),
        (lambda: last_layer.gram(LOGITS, NAN), "features: .*not finite"),
        (lambda: last_layer.gram(LOGITS, LOGITS[:3]), "features"),
        (lambda: last_layer.gram(LOGITS, LOGITS, LOGITS), "come together"),
        (lambda: last_layer.gram(*2 * [torch.zeros(50_000, 1)]), "20.0 GB.*12,000"),
        (lambda: facility_location_order(SQUARE[:3], 1), "similarity: .*square"),
        (lambda: graph_cut_order(SQUARE * float("inf"), 1), "similarity: .*not finite"),
        (lambda: graph_cut_order(SQUARE, 1, float("nan")), "lam"),
        (lambda: cluster_sizes(SQUARE, torch.tensor([])), "selected"),
        (lambda: orthogonal_matching_pursuit(SQUARE, SQUARE[0], 1, -1.0), "ridge"),
        (lambda: orthogonal_matching_pursuit(SQUARE[:3], SQUARE[0], 1), "gram"),
        (lambda: orthogonal_matching_pursuit(SQUARE, NAN[:, 0], 1), "not finite"),
        (lambda: reference_gradient(LOGITS[:0], LOGITS[:0], LABELS[:0]), "reference set"),
        (lambda: glister_order(*2 * [LOGITS], *2 * [LOGITS], LABELS, 1, -0.1), "eta"),
        (lambda: glister_order(*2 * [LOGITS], *2 * [LOGITS], LABELS, 1, 0.1, 0), "rounds"),
        (lambda: glister_order(*2 * [LOGITS], *2 * [LOGITS], LABELS, 1, 0.1, 1, "x"), "step"),
        (lambda: moso_scores(torch.zeros(2, 3, 4), torch.ones(3)), "learning_rates"),
        (lambda: moso_scores(torch.zeros(1, 1, 4), torch.ones(1)), "at least 2"),
        (lambda: last_layer_moso(NAN[None], LOGITS[None], LABELS, torch.ones(1)), "logits"),
    ],
)
def test_bad_input_is_one_clear_line(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
