"""Selection by score: sizes, sides, ties, undefined scores, quotas."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.keep_k import quotas, take, take_balanced
from prunebench.methods.moderate import moderate_window
from prunebench.rng import Stream

SIDES = st.sampled_from(["low", "high", "window"])
VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.just(float("nan")))


def tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(st.lists(VALUES, max_size=30), SIDES, st.integers(0, 2**32), st.data())
@settings(max_examples=200, deadline=None)
def test_exact_size_nested_and_undefined_first(
    values: list[float], side: str, key: int, data: st.DataObject
) -> None:
    scores, total = tensor(values), len(values)
    k = data.draw(st.integers(0, total))
    kept, tied = take(scores, k, side, Stream(key))
    assert kept.dtype == torch.int64
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert len(kept) == k
    assert 0 <= tied <= total
    missing = set(scores.isnan().nonzero().flatten().tolist())
    assert missing <= set(kept.tolist()) or set(kept.tolist()) <= missing
    if k < total:
        assert set(kept.tolist()) <= set(take(scores, k + 1, side, Stream(key))[0].tolist())


@given(st.lists(VALUES, min_size=1, max_size=30), st.sampled_from(["low", "high"]), st.data())
@settings(max_examples=200, deadline=None)
def test_no_dropped_sample_is_better_and_ties_are_counted(
    values: list[float], side: str, data: st.DataObject
) -> None:
    scores = tensor(values).nan_to_num(nan=0.0)
    k = data.draw(st.integers(1, len(values)))
    kept, tied = take(scores, k, side, Stream(1))
    dropped = torch.ones(len(values), dtype=torch.bool)
    dropped[kept] = False
    sign = 1 if side == "low" else -1
    if not bool(dropped.any()):
        assert tied == 0
        return
    worst, best = (sign * scores[kept]).max(), (sign * scores[dropped]).min()
    assert worst <= best
    assert tied == (int((sign * scores == worst).sum()) if worst == best else 0)


def test_ties_are_broken_by_the_stream_and_not_by_position() -> None:
    scores = torch.zeros(1000)
    first, tied = take(scores, 300, "low", Stream(1))
    assert tied == 1000
    assert first.tolist() == take(scores, 300, "low", Stream(1))[0].tolist()
    assert first.tolist() != take(scores, 300, "low", Stream(2))[0].tolist()
    assert 350 < first.double().mean() < 650


def test_window_takes_the_middle_and_counts_both_cuts() -> None:
    scores = tensor([0, 1, 2, 3, 4, 5, 6])
    assert take(scores, 3, "window", Stream(0))[0].tolist() == [2, 3, 4]
    kept, tied = take(tensor([1, 1, 2, 3, 4, 4]), 4, "window", Stream(0))
    assert {2, 3} < set(kept.tolist())
    assert tied == 4


@given(st.lists(VALUES, max_size=25), st.data())
@settings(max_examples=100, deadline=None)
def test_moderate_window_agrees_with_take(values: list[float], data: st.DataObject) -> None:
    scores = tensor(values)
    k = data.draw(st.integers(0, len(values)))
    ours = moderate_window(scores, k)
    assert len(ours) == k
    theirs = take(scores, k, "window", Stream(3))[0]
    numbers = scores[~scores.isnan()]
    if len(numbers.unique()) == len(numbers) and k >= len(values) - len(numbers):
        assert ours.tolist() == theirs.tolist()
    assert ours.tolist() == sorted(set(ours.tolist()))


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(0, 2**32), st.data())
@settings(max_examples=200, deadline=None)
def test_quotas_sum_to_k_and_stay_within_one_of_the_share(
    labels: list[int], key: int, data: st.DataObject
) -> None:
    y, k = torch.tensor(labels, dtype=torch.int64), data.draw(st.integers(0, len(labels)))
    sizes = quotas(y, k, Stream(key))
    assert sum(sizes.values()) == k
    for cls, size in sizes.items():
        members = labels.count(cls)
        assert abs(size - k * members / len(labels)) < 1
        assert 0 <= size <= members
    kept, _ = take_balanced(torch.randn(len(labels)), y, k, "high", Stream(key))
    assert len(set(kept.tolist())) == k
    assert {c: int((y[kept] == c).sum()) for c in sizes} == sizes


@pytest.mark.parametrize("k", [-1, 5])
def test_impossible_sizes_are_refused(k: int) -> None:
    with pytest.raises(InputError, match="0 to 4"):
        take(torch.zeros(4), k, "low", Stream(0))


def test_unknown_side_is_refused() -> None:
    with pytest.raises(InputError, match="low, high, window"):
        take(torch.zeros(4), 2, "middle", Stream(0))
