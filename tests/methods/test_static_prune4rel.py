"""The greedy order of Prune4ReL against its literal form, and between its routes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods import prune4rel as module
from prunebench.methods.prune4rel import prune4rel_order
from prunebench.methods.prune4rel_graph import Graph, Rows, unit_rows
from prunebench.rng import Stream

Floats = NDArray[np.float64]


def literal(
    c: Floats, h: Floats, k: int, tau: float, eta: float, labels: NDArray[np.int64] | None
) -> tuple[list[int], int]:
    """Row-by-row greedy in float64, and the number of leading picks decided by a clear gap."""
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    n, picks, clear = np.zeros(len(c)), [], None
    turn = [] if labels is None else np.unique(labels).tolist()
    limit, balance = None, labels is not None
    for t in range(k):
        free = np.ones(len(c), dtype=bool)
        free[picks] = False
        allowed = free
        if balance and labels is not None:
            cls = turn[t % len(turn)]
            while not (free & (labels == cls)).any():
                limit = 1.5 * (labels == cls).sum() if limit is None else limit
                turn.remove(cls)
                cls = turn[t % len(turn)]
                if (~free & (labels == cls)).sum() > limit:
                    balance = False
            allowed = free & (labels == cls)
        gain = np.where(allowed, np.tanh((n + c) / eta) - np.tanh(n / eta), -1)
        pick = int(gain.argmax())
        if clear is None and allowed.sum() > 1 and np.diff(np.sort(gain)[-2:])[0] < 1e-9:
            clear = t
        picks.append(pick)
        s = 0.5 + 0.5 * unit @ unit[pick]
        n += np.where(s > tau, s, 0) * c[pick]
    return picks, k if clear is None else clear


def problem(seed: int, total: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    centres = rng.random((classes, 8))
    own = rng.integers(0, classes, total)
    h = np.abs(centres[own] + 0.2 * rng.standard_normal((total, 8)))
    labels = np.where(rng.random(total) < 0.3, rng.integers(0, classes, total), own)
    c = rng.uniform(0.2, 1, total)
    return torch.from_numpy(c), torch.from_numpy(h), torch.from_numpy(labels)


@given(
    st.integers(0, 2**31),
    st.integers(1, 60),
    st.sampled_from([0.3, 0.9, 0.95, 0.99]),
    st.sampled_from([1.0, 10.0, 100.0]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_order_equals_the_literal_greedy(
    seed: int, total: int, tau: float, eta: float, balanced: bool
) -> None:
    c, h, y = problem(seed, total, 4)
    labels = y if balanced else None
    theirs, clear = literal(
        c.numpy(), h.numpy(), total, tau, eta, None if labels is None else labels.numpy()
    )
    ours, _ = prune4rel_order(c, h, total, tau, eta, labels)
    assert ours.tolist()[:clear] == theirs[:clear]
    assert sorted(ours.tolist()) == list(range(total))


def run_route(monkeypatch: pytest.MonkeyPatch, route: str, *args: object) -> tuple[list[int], int]:
    def build(unit: Floats, tau: float, k: int) -> Graph | Rows:
        if route == "rows":
            return Rows(unit, tau, batch=3)
        graph = Graph.build(unit, tau, 10**7)
        assert graph is not None
        return graph

    with monkeypatch.context() as patch:
        patch.setattr(module, "neighbourhoods", build)
        order, saturated = prune4rel_order(*args)  # type: ignore[arg-type]
    return order.tolist(), saturated


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tau", [0.2, 0.8, 0.97])
@pytest.mark.parametrize("balanced", [False, True])
def test_routes_agree(
    monkeypatch: pytest.MonkeyPatch, seed: int, tau: float, balanced: bool
) -> None:
    c, h, y = problem(seed, 300, 5)
    c, h = torch.cat([c, c[:60]]), torch.cat([h, h[:60]])  # duplicates tie exactly
    y = torch.cat([y, y[:60]])
    h[7], h[11] = 0.0, float("nan")
    args = (c, h, 300, tau, 1.0, y if balanced else None, Stream(seed))
    graph, rows = (run_route(monkeypatch, route, *args) for route in ("graph", "rows"))
    assert graph == rows


def test_a_small_cache_only_costs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    c, h, y = problem(9, 200, 3)
    monkeypatch.setattr("prunebench.methods.prune4rel_graph._CACHE_BYTES", 8 * 200 * 4)
    args = (c, h, 150, 0.9, 1.0, y, Stream(1))
    assert run_route(monkeypatch, "rows", *args) == run_route(monkeypatch, "graph", *args)


def test_the_graph_gives_way_when_it_would_be_too_large() -> None:
    _, h, _ = problem(0, 100, 2)
    unit = unit_rows(h.numpy())
    assert Graph.build(unit, 0.1, 200) is None
    assert Graph.build(unit, 0.1, 100**2) is not None


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=15, deadline=None)
def test_orders_are_nested_in_k(seed: int, balanced: bool) -> None:
    c, h, y = problem(seed, 80, 3)
    labels = y if balanced else None
    whole, _ = prune4rel_order(c, h, 80, 0.9, 1.0, labels, Stream(seed))
    for k in (0, 1, 5, 40, 79):
        part, _ = prune4rel_order(c, h, k, 0.9, 1.0, labels, Stream(seed))
        assert part.tolist() == whole[:k].tolist()


def test_the_rotation_jumps_when_a_small_class_runs_out() -> None:
    c = torch.cat([torch.full((8,), 0.9), torch.full((2,), 0.5), torch.full((8,), 0.8)])
    labels = torch.tensor([0] * 8 + [1] * 2 + [2] * 8)
    order, _ = prune4rel_order(c, torch.eye(18), 18, 0.9, 1.0, labels)
    # Rounds 0 1 2, 0 1 2, then step 7 meets class 1 exhausted, the limit becomes 3, and the
    # rotation jumps to step 7 mod 2. Class 2 has 2 picks, so balance stays on: every later step
    # alternates, although the remaining samples of class 0 are the more confident ones.
    assert labels[order].tolist()[:12] == [0, 1, 2, 0, 1, 2, 0, 2, 0, 2, 0, 2]


def test_balance_switch_off_continues_globally() -> None:
    # Step 4 meets class 1 exhausted (limit 1.5 x 1) and moves to class 0, which has 2 picks: it
    # is served once more, then confidence alone decides.
    labels = torch.tensor([0] * 5 + [1] + [2] * 4)
    c = torch.cat([torch.full((6,), 0.3), torch.full((4,), 0.9)])
    order, _ = prune4rel_order(c, torch.eye(10), 10, 0.9, 1.0, labels)
    assert labels[order].tolist() == [0, 1, 2, 0, 0, 2, 2, 2, 0, 0]


def test_isolated_samples_are_taken_by_confidence() -> None:
    c = torch.tensor([0.3, 0.9, 0.5])
    order, saturated = prune4rel_order(c, torch.eye(3), 3, 0.9, 1.0)
    assert order.tolist() == [1, 2, 0]
    assert saturated == 0


def test_saturated_picks_are_counted_and_still_ordered() -> None:
    features = torch.ones(200, 4, dtype=torch.float64)
    c = torch.linspace(0.9, 1.0, 200, dtype=torch.float64)
    order, saturated = prune4rel_order(c, features, 200, 0.9, 1.0)
    # Identical samples share one mass n, hence the most confident comes first throughout.
    assert order.tolist() == list(range(199, -1, -1))
    n = np.cumsum(np.r_[0, c.numpy()[::-1]])[:-1]
    gain = np.exp(-2 * n) * 2 * (1 - np.exp(-2 * c.numpy()[::-1]))
    assert saturated == int((gain < 2.0**-53).sum())


def test_ties_follow_the_index_or_the_stream() -> None:
    c, features = torch.ones(50), torch.eye(50)
    assert prune4rel_order(c, features, 50, 0.9, 1.0)[0].tolist() == list(range(50))
    one = prune4rel_order(c, features, 50, 0.9, 1.0, rng=Stream(1))[0].tolist()
    two = prune4rel_order(c, features, 50, 0.9, 1.0, rng=Stream(2))[0].tolist()
    assert sorted(one) == list(range(50))
    assert one != two
    assert one != list(range(50))


def test_zero_rows_undefined_confidence_and_none_at_all() -> None:
    features = torch.zeros(4, 3)
    order, _ = prune4rel_order(torch.tensor([0.1, 0.9, 0.0, 0.5]), features, 4, 0.2, 1.0)
    assert order.tolist() == [1, 3, 0, 2]
    c = torch.tensor([0.1, 0.9, float("nan"), 0.5])
    assert prune4rel_order(c, torch.ones(4, 3), 4, 0.9, 1.0)[0].tolist() == [2, 1, 3, 0]
    empty = prune4rel_order(torch.ones(0), torch.ones(0, 3), 0, 0.9, 1.0)
    assert empty[0].tolist() == []
    assert prune4rel_order(torch.ones(1), torch.ones(1, 3), 1, 0.9, 1.0)[0].tolist() == [0]


@pytest.mark.parametrize(("k", "eta", "confidence"), [(5, 1.0, 0.5), (2, 0.0, 0.5), (2, 1.0, -0.5)])
def test_bad_arguments_are_refused(k: int, eta: float, confidence: float) -> None:
    with pytest.raises(InputError):
        prune4rel_order(torch.full((4,), confidence), torch.eye(4), k, 0.9, eta)
    with pytest.raises(InputError, match="length"):
        prune4rel_order(torch.ones(4), torch.eye(3), 2, 0.9, 1.0)
