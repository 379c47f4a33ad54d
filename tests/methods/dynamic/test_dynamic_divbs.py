"""DivBS against the official code and the explicit-gradient form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prunebench.methods.base import Batch
from prunebench.methods.divbs import DivBS, Residual, gradient_gram, select_diverse


def batch_of(size=24, width=6, classes=4, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(size, width, generator=g, dtype=dtype)
    logits = torch.randn(size, classes, generator=g, dtype=dtype)
    return features, logits, torch.randint(classes, (size,), generator=g)


def explicit_gradients(features, logits, labels):
    p = logits.softmax(1)
    p = (p - torch.nn.functional.one_hot(labels, logits.shape[1])) / len(logits)
    return torch.einsum("bc,bd->bcd", p, features).flatten(1)


def explicit_argmax(grads, k):
    """The published loop, with the chosen excluded."""
    residual, basis, picks = grads.mean(0), [], []
    for _ in range(k):
        score = (grads @ residual).abs()
        score[picks] = -1
        picks.append(int(score.argmax()))
        u = grads[picks[-1]]
        for b in basis:
            u = u - b * (b @ u)
        u = u / u.norm()
        basis.append(u)
        residual = residual - u * (u @ residual)
    return picks


def cases(vectors):
    arrays = vectors("divbs_cases.npz")
    for case in vectors("divbs_cases.json"):
        key = f"c{case['case']:02d}"
        inputs = [arrays[f"{key}_{name}"] for name in ("features", "logits", "targets")]
        yield case, key, arrays, inputs


def test_official_gradients(vectors):
    for _, key, arrays, inputs in cases(vectors):
        grads = arrays[f"{key}_grad"].double()
        gram = gradient_gram(*inputs)
        torch.testing.assert_close(gram, grads @ grads.T, rtol=1e-5, atol=1e-9)


def test_official_argmax_picks(vectors):
    for case, key, arrays, inputs in cases(vectors):
        if case["mode"] != "argmax":
            continue
        fair = min(case["n_select"], case["rank"])
        ours = select_diverse(*inputs, case["n_select"])
        for name in ("argmax_selected", "argmax64_selected"):
            if f"{key}_{name}" in arrays:
                assert ours[:fair].tolist() == arrays[f"{key}_{name}"][:fair].tolist()


def test_official_correlations_at_every_step(vectors):
    for case, key, arrays, inputs in cases(vectors):
        mode = case["mode"]
        residual = Residual(gradient_gram(*inputs))
        steps = arrays[f"{key}_{mode}_abs_corr_per_step"]
        for pick, expected in zip(arrays[f"{key}_{mode}_greedy_picks"], steps, strict=True):
            assert np.abs(np.abs(residual.correlation) - expected.numpy()).max() < 1e-8
            residual.remove(int(pick))


def test_multinomial_first_pick_has_the_official_distribution(vectors, kit):
    _, key, arrays, inputs = next(cases(vectors))
    c = np.abs(Residual(gradient_gram(*inputs)).correlation)
    p = c / c.sum()
    draws = 3000
    first = np.zeros(16)
    for seed in range(draws):
        first[int(select_diverse(*inputs, 1, "multinomial", kit.stream(seed))[0])] += 1
    error = np.sqrt(draws * p * (1 - p))
    assert (np.abs(first - draws * p) < 5 * error + 1).all()
    official = arrays[f"{key}_multinomial_first_pick_count_3000"].numpy()
    assert (np.abs(official - draws * p) < 5 * error + 1).all()


@pytest.mark.parametrize("seed", range(6))
def test_gram_route_equals_explicit_route(seed):
    inputs = batch_of(24, 16, 5, seed)
    assert select_diverse(*inputs, 15).tolist() == explicit_argmax(explicit_gradients(*inputs), 15)


@pytest.mark.parametrize("rule", ["argmax", "multinomial"])
@pytest.mark.parametrize(
    "kind", ["generic", "deficient", "identical", "converged", "nan", "one_nan"]
)
def test_no_sample_twice(kit, rule, kind):
    features, logits, labels = batch_of(20, 2, 3)
    if kind == "deficient":
        features, logits, labels = (
            t[:4].repeat(5, *[1] * (t.dim() - 1)) for t in (features, logits, labels)
        )
    elif kind == "identical":
        features, logits, labels = (
            t[:1].expand(20, *t.shape[1:]) for t in (features, logits, labels)
        )
    elif kind == "converged":
        logits = 1e4 * torch.nn.functional.one_hot(labels, 3).double()
    elif kind == "nan":
        logits = logits * torch.nan
    elif kind == "one_nan":
        features = features.clone()
        features[3] = torch.nan
    for k in (0, 1, 7, 20):
        picks = select_diverse(features, logits, labels, k, rule, kit.stream())
        assert picks.shape == (k,)
        assert picks.dtype == torch.int64
        assert len(set(picks.tolist())) == k
        assert all(0 <= p < 20 for p in picks.tolist())
        again = select_diverse(features, logits, labels, k, rule, kit.stream())
        assert torch.equal(picks, again)


def test_spent_residual_fills_in_order_or_at_random(kit):
    features, logits, labels = (t[:1].expand(8, *t.shape[1:]) for t in batch_of())
    assert select_diverse(features, logits, labels, 5).tolist() == [0, 1, 2, 3, 4]
    fills = {
        tuple(select_diverse(features, logits, labels, 5, rng=kit.stream(s)).tolist()[1:])
        for s in range(8)
    }
    assert len(fills) > 4


def test_bad_arguments():
    inputs = batch_of()
    with pytest.raises(ValueError, match="cannot select 25"):
        select_diverse(*inputs, 25)
    with pytest.raises(ValueError, match="multinomial"):
        select_diverse(*inputs, 2, "multinomial")
    with pytest.raises(ValueError, match="greedy"):
        select_diverse(*inputs, 2, "greedy")


def test_class_selects_k_and_takes_everything_at_ratio_zero(kit):
    features, logits, labels = batch_of(dtype=torch.float32)
    batch = Batch(logits, features, labels, torch.arange(24))
    assert batch.index is batch.positions  # the former name
    default = DivBS()
    assert default.params == {"rule": "multinomial"}
    picks = [default.select(batch, 6, kit.stream(s)) for s in range(2)]
    assert [len(set(p.tolist())) for p in picks] == [6, 6]
    assert not torch.equal(*picks)
    fixed = DivBS(rule="argmax")
    assert torch.equal(fixed.select(batch, 6, kit.stream(0)), fixed.select(batch, 6, kit.stream(1)))
    assert default.select(batch, 24, kit.stream()).tolist() == list(range(24))
    default.begin(kit.view(50, 10))
    assert (
        len(default.plan(kit.at(0, 10, 50), kit.Replay(torch.zeros(1, 50)), kit.stream()).indices)
        == 50
    )
