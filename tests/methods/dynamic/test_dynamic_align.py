"""The alignment score against scipy's values, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.methods.align import CORRELATIONS, alignment

NAN = float("nan")


def close(ours, expected, tolerance=1e-9):
    assert ours.dtype == torch.float64
    assert torch.equal(ours.isnan(), expected.isnan())
    both = ~expected.isnan()
    assert float((ours[both] - expected[both]).abs().max()) < tolerance


@pytest.mark.parametrize("length", [5, 25])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_reference_values(vectors, length, correlation):
    v = vectors("das_pearson.npz")
    ours = alignment(v[f"N{length}_traj"].T, v[f"N{length}_ref"], correlation=correlation)
    close(ours, v[f"N{length}_{correlation}"])


def test_degenerate_rows(vectors):
    v = vectors("das_pearson.npz")
    close(alignment(v["deg_rows"].T, v["deg_ref"]), v["deg_pearson"])
    flat = torch.ones(10, dtype=torch.float64)
    assert alignment(v["deg_rows"].T, flat).isnan().all()
    assert v["deg_pearson_constant_ref"].isnan().all()


def masked(seed=0, window=12, n=50):
    g = torch.Generator().manual_seed(seed)
    losses = torch.rand(window, n, generator=g, dtype=torch.float64)
    reference = torch.rand(window, generator=g, dtype=torch.float64)
    return losses, reference, torch.rand(window, n, generator=g) < 0.6


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_unobserved_entries_are_ignored_whatever_they_hold(correlation):
    losses, reference, observed = masked()
    expected = []
    for i in range(50):
        rows = observed[:, i]
        expected.append(
            alignment(losses[rows, i : i + 1], reference[rows], None, correlation, 3)[0]
        )
    expected = torch.stack(expected)
    for junk in (0.0, 1e30, NAN, float("inf")):
        dirty = torch.where(observed, losses, junk)
        close(alignment(dirty, reference, observed, correlation, 3), expected)
        wide = torch.where(observed, reference[:, None].expand(12, 50), junk)
        close(alignment(dirty, wide, observed, correlation, 3), expected)


def test_undefined():
    row = torch.tensor([1.0, 2.0, 3.0, 5.0])
    losses = torch.stack([row, torch.ones(4), torch.tensor([1.0, NAN, 2.0, 3.0]), -row], 1)
    out = alignment(losses, row)
    assert out.isnan().tolist() == [False, True, True, False]
    assert out[0] == 1.0
    assert out[3] == -1.0
    assert alignment(losses, row, min_observations=5).isnan().all()
    assert alignment(losses, torch.tensor([1.0, 2.0, NAN, 3.0])).isnan().all()
    seen = torch.tensor([[True] * 4, [True] * 4, [False] * 4, [False] * 4])
    assert float(alignment(losses, row, seen, min_observations=2)[0]) == pytest.approx(1.0)
    assert alignment(losses, row, seen, min_observations=3).isnan().all()
    # Constant over the mask, though not over all entries.
    stuck = torch.tensor([[2.0], [2.0], [5.0], [7.0]])
    assert alignment(stuck, row, seen[:, :1]).isnan().all()
    assert alignment(row[:, None], torch.tensor([1.0, 1.0, 2.0, 3.0]), seen[:, :1]).isnan().all()
    assert alignment(row[:, None], row, torch.zeros(4, 1, dtype=torch.bool)).isnan().all()
    assert alignment(torch.zeros(4, 0), row).shape == (0,)
    assert alignment(torch.rand(1, 3), torch.ones(1)).isnan().all()


def test_spearman_averages_ranks_of_ties():
    from scipy.stats import spearmanr

    g = np.random.default_rng(0)
    x, y = g.integers(0, 4, (15, 30)).astype(float), g.integers(0, 5, 15).astype(float)
    expected = torch.tensor([spearmanr(x[:, i], y).statistic for i in range(30)])
    close(alignment(torch.from_numpy(x), torch.from_numpy(y), correlation="spearman"), expected)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(0.01, 100),
    shift=st.floats(-50, 50),
    part=st.booleans(),
)
def test_affine_changes_and_sign(seed, scale, shift, part):
    losses, reference, observed = masked(seed, 8, 10)
    mask = observed if part else None
    base = alignment(losses, reference, mask, min_observations=4)
    close(alignment(losses * scale + shift, reference, mask, min_observations=4), base, 1e-7)
    close(alignment(losses, reference * scale + shift, mask, min_observations=4), base, 1e-7)
    close(alignment(-losses, reference, mask, min_observations=4), -base)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
    mixed = None if mask is None else mask[:, order]
    close(alignment(losses[:, order], reference, mixed, min_observations=4), base[order])
    known = base[~base.isnan()]
    assert bool(((known >= -1) & (known <= 1)).all())


def test_extreme_scales_keep_their_sign():
    row = torch.tensor([1.0, 3.0, 2.0, 5.0], dtype=torch.float64)[:, None]
    for scale in (1e-310, 1e-160, 1e160, 1e300):
        close(alignment(row * scale, row[:, 0] ** 2), alignment(row, row[:, 0] ** 2))


def test_chunks_do_not_show():
    losses, reference, observed = masked(3, 6, 10_000)
    whole = alignment(losses, reference, observed)
    close(alignment(losses[:, 4000:4200], reference, observed[:, 4000:4200]), whole[4000:4200])
    close(alignment(losses.float(), reference), alignment(losses.float().double(), reference))


def test_bad_arguments():
    x, y = torch.rand(4, 3), torch.rand(4)
    for bad in (
        lambda: alignment(x, y, correlation="kendall"),
        lambda: alignment(x, torch.rand(5)),
        lambda: alignment(x, torch.rand(4, 2)),
        lambda: alignment(x[0], y),
        lambda: alignment(x, y, torch.ones(4, 2, dtype=torch.bool)),
    ):
        with pytest.raises(ValueError, match=r"correlation|losses|reference|observed"):
            bad()
