"""Properties of the scores that hold on any input."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prunebench.errors import InputError, SkipCell
from prunebench.methods.dual import Dual, beta_weights, draw, dual_scores
from prunebench.methods.dyn_unc import dyn_unc_scores
from prunebench.methods.forgetting import forgetting_counts
from prunebench.methods.grand import el2n_scores, grand_scores
from prunebench.methods.margin import margin_scores
from prunebench.methods.moderate import moderate_distances
from prunebench.methods.small_loss import loss_scores
from prunebench.methods.ssp import prototype_distances
from prunebench.rng import Stream

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(20, 4, generator=GENERATOR, dtype=torch.float64)
FEATURES = torch.randn(20, 6, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(0, 4, (20,), generator=GENERATOR)
P = torch.rand(31, 20, generator=GENERATOR, dtype=torch.float64)

Score = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
SCORES: dict[str, Score] = {
    "loss": lambda z, h, y, p: loss_scores(z, y),
    "margin": lambda z, h, y, p: margin_scores(z),
    "el2n": lambda z, h, y, p: el2n_scores(z, y),
    "grand": lambda z, h, y, p: grand_scores(z, y, h),
    "moderate": lambda z, h, y, p: moderate_distances(h, y),
    "ssp": lambda z, h, y, p: prototype_distances(h, FEATURES[:4], y),
    "dyn-unc": lambda z, h, y, p: dyn_unc_scores(p),
    "dual": lambda z, h, y, p: dual_scores(p),
}


@pytest.mark.parametrize("name", SCORES)
def test_dtype_is_kept_and_half_becomes_single(name: str) -> None:
    score, wanted = SCORES[name], {torch.float64: torch.float64, torch.float32: torch.float32}
    exact = score(LOGITS, FEATURES, LABELS, P)
    assert exact.shape == (20,)
    for dtype in (torch.float64, torch.float32, torch.float16):
        got = score(LOGITS.to(dtype), FEATURES.to(dtype), LABELS, P.to(dtype))
        assert got.dtype == wanted.get(dtype, torch.float32)
        torch.testing.assert_close(got.double(), exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", SCORES)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_samples_are_scored_alone_but_for_their_class(name: str, seed: int) -> None:
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    score = SCORES[name]
    direct = score(LOGITS, FEATURES, LABELS, P)[order]
    shuffled = score(LOGITS[order], FEATURES[order], LABELS[order], P[:, order])
    torch.testing.assert_close(shuffled, direct, rtol=1e-12, atol=1e-14)


def test_el2n_tells_confident_samples_apart() -> None:
    logits = torch.tensor([[20.0, 0.0], [21.0, 0.0], [40.0, 0.0], [80.0, 0.0]])
    scores = el2n_scores(logits, torch.zeros(4, dtype=torch.int64))
    expected = [math.sqrt(2) * math.exp(-z) for z in (20, 21, 40, 80)]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)


def test_margin_of_one_class_is_certain() -> None:
    assert margin_scores(torch.randn(3, 1)).tolist() == [1.0, 1.0, 1.0]


def test_forgetting_counts_falls_only() -> None:
    columns = ["0000", "1111", "1010", "0101", "0011", "1100"]
    correct = torch.tensor([[c == "1" for c in column] for column in columns]).T
    assert forgetting_counts(correct).tolist() == [0, 0, 2, 1, 0, 1]
    assert forgetting_counts(correct, "max").tolist() == [4, 0, 2, 1, 0, 1]
    assert forgetting_counts(correct[:1]).tolist() == [0] * 6
    with pytest.raises(InputError, match="zero, max"):
        forgetting_counts(correct, "infinity")


def test_moderate_centre_of_even_single_and_absent_classes() -> None:
    features = torch.tensor([[0.0], [1.0], [5.0], [9.0], [7.0], [float("nan")]])
    labels = torch.tensor([0, 0, 0, 0, 3, 3])
    distances = moderate_distances(features, labels)
    assert distances[:5].tolist() == [3.0, 2.0, 2.0, 6.0, 0.0]
    assert distances[5].isnan()


def test_prototype_distance_range_and_zero_rows() -> None:
    x = torch.tensor([[2.0, 0.0], [-3.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    centre = torch.tensor([[1.0, 0.0]])
    assert prototype_distances(x, centre, torch.zeros(4)).tolist() == [0.0, 2.0, 1.0, 1.0]


@given(
    st.integers(2, 12),
    st.integers(0, 30),
    st.integers(1, 5),
    st.sampled_from([1.0, 1e-3, 1e-7]),
    st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_windows_equal_the_direct_form(
    window: int, more: int, total: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    p = 1 - scale * rng.random((window + more, total))
    p[: more // 2] = rng.random((more // 2, total)) * 0.5  # a jump far above the spread after it
    views = np.lib.stride_tricks.sliding_window_view(p, window, axis=0)
    spread, mean = views.std(-1, ddof=1), views.mean(-1)
    ours = dyn_unc_scores(torch.from_numpy(p), window)
    np.testing.assert_allclose(ours.numpy(), (10 * spread).mean(0), rtol=1e-6)
    ours = dual_scores(torch.from_numpy(p), len(p), window)
    np.testing.assert_allclose(ours.numpy(), (10 * spread * (1 - mean)).mean(0), rtol=1e-6)


def test_spread_near_one_does_not_cancel() -> None:
    rng = np.random.default_rng(0)
    p = np.vstack([np.full((10, 50), 0.1), 1 - 1e-7 * rng.random((10, 50))])
    tail = torch.from_numpy(p[10:])
    late = dyn_unc_scores(torch.from_numpy(p)) * 11
    early = dyn_unc_scores(torch.from_numpy(p[:-1])) * 10
    direct = 10 * p[10:].std(0, ddof=1)
    np.testing.assert_allclose(dyn_unc_scores(tail).numpy(), direct, rtol=1e-6)
    assert (late - early >= 0).all()
    assert dyn_unc_scores(torch.full((40, 3), 0.9)).tolist() == [0.0, 0.0, 0.0]


def test_a_missing_probability_concerns_its_sample_only() -> None:
    p = P.clone()
    p[30, 4] = float("nan")
    scores, clean = dyn_unc_scores(p), dyn_unc_scores(P)
    assert scores.isnan().nonzero().flatten().tolist() == [4]
    others = torch.arange(20) != 4
    assert torch.equal(scores[others], clean[others])
    assert torch.equal(dual_scores(p, 30), dual_scores(P, 30))


@pytest.mark.parametrize(
    "call",
    [
        lambda: dyn_unc_scores(P[:9]),
        lambda: dyn_unc_scores(P, 1),
        lambda: dual_scores(P, 32),
        lambda: dual_scores(P, 9),
    ],
)
def test_windows_that_do_not_fit_are_refused(call: Callable[[], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"window|epochs"):
        call()


@pytest.mark.parametrize(
    ("epochs", "lengths"),
    [(200, (30, 10)), (60, (12, 10)), (30, (12, 10)), (20, (8, 6)), (6, (4, 2)), (2, (2, 2))],
)
def test_dual_lengths_follow_the_recipe(epochs: int, lengths: tuple[int, int]) -> None:
    assert Dual().lengths(epochs) == lengths


def test_dual_lengths_can_be_set() -> None:
    assert Dual(epochs=40, window=5).lengths(60) == (40, 5)
    with pytest.raises(InputError, match="60"):
        Dual(epochs=61).lengths(60)
    with pytest.raises(SkipCell):
        Dual().lengths(1)


@given(st.floats(0, 1), st.floats(0, 20), st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_beta_weights_are_a_distribution(ratio: float, c: float, total: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mu = rng.choice([0.0, 1.0, 1e-300, 0.3, 0.999999, 0.7], total)
    scores = rng.random(total) + 1e-3
    weights = beta_weights(torch.from_numpy(scores), torch.from_numpy(mu), ratio, c)
    assert weights.dtype == torch.float64
    assert bool(weights.isfinite().all())
    assert bool((weights >= 0).all())
    assert weights.sum().item() == pytest.approx(1) or not bool(weights.any())


def test_beta_weights_of_worthless_and_undefined_samples_are_zero() -> None:
    mu = torch.tensor([0.2, 0.5, 0.5, float("nan")])
    scores = torch.tensor([1.0, 0.0, float("nan"), 1.0])
    assert beta_weights(scores, mu, 0.5).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert beta_weights(torch.zeros(3), mu[:3], 0.5).tolist() == [0.0, 0.0, 0.0]


def test_beta_weights_do_not_underflow_where_probabilities_do_not() -> None:
    mu = torch.full((4,), 1e-60, dtype=torch.float64)
    weights = beta_weights(torch.tensor([1.0, 2.0, 3.0, 4.0]), mu, 0.0)
    np.testing.assert_allclose(weights.numpy(), [0.1, 0.2, 0.3, 0.4], rtol=1e-9)


def test_draw_follows_the_weights() -> None:
    weights = torch.tensor([0.1, 0.2, 0.7, 0.0], dtype=torch.float64)
    pairs = torch.stack([draw(weights.log(), 2, Stream(key)) for key in range(4000)])
    first = torch.bincount(pairs[:, 0], minlength=4) / len(pairs)
    np.testing.assert_allclose(first.numpy(), weights.numpy(), atol=0.03)
    after = pairs[pairs[:, 0] == 2, 1]
    assert (after == 1).double().mean().item() == pytest.approx(2 / 3, abs=0.04)
    assert not bool((pairs == 3).any())
