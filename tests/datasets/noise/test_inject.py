"""Injection of label noise: exact counts, targets, determinism, errors."""

import math

import numpy as np
import pytest
import torch

from prunebench.datasets.noise.inject import COUNTS, Noise, inject, transition_counts
from prunebench.datasets.noise.rules import RULES
from prunebench.errors import InputError

# Ids of CIFAR-100's super-classes are scattered over the fine ids; so are these.
GROUPS = (0, 1, 2, 0, 1, 2, 0, 1, 2, 0)
PAIRS = {
    "next_class": {c: (c + 1) % 10 for c in range(10)},
    "pairflip": {c: (c + 1) % 10 for c in range(10)},
    "asym_pairs": {9: 1, 2: 0, 4: 7, 3: 5, 5: 3},
    "asym_pairs_both": {0: 2, 2: 0, 4: 7, 7: 4, 1: 9, 9: 1, 3: 5, 5: 3, 6: 8, 8: 6},
    "asym_digits": {7: 1, 2: 7, 5: 6, 6: 5, 3: 8},
    "asym_super_next": {0: 3, 3: 6, 6: 9, 9: 0, 1: 4, 4: 7, 7: 1, 2: 5, 5: 8, 8: 2},
}
KINDS = [*RULES, "asymmetric", "pairflip"]


def labels_of(counts: list[int], seed: int = 5) -> np.ndarray:
    y = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return np.random.default_rng(seed).permutation(y)


Y = labels_of([101, 99, 57, 200, 1, 0, 83, 60, 45, 150])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.2, 0.45, 0.5, 1.0])
def test_exact_count_in_every_class(kind: str, rate: float) -> None:
    noise = inject(Y, kind, rate, 10, 3, groups=GROUPS)
    for c in range(10):
        wanted = math.floor(rate * (c == Y).sum() + 0.5)
        if kind in PAIRS and c not in PAIRS[kind]:
            wanted = 0
        found = noise.flipped[c == Y].sum()
        assert found <= wanted if kind == "symmetric_incl" else found == wanted, c
    assert (noise.flipped == (noise.labels != Y)).all()
    assert noise.rate == pytest.approx(noise.flipped.mean())
    assert noise.labels.dtype == np.int64
    assert noise.flipped.dtype == np.bool_
    assert noise.labels.min() >= 0
    assert noise.labels.max() < 10


@pytest.mark.parametrize("kind", list(PAIRS))
@pytest.mark.parametrize("count", COUNTS)
def test_map_rules_send_each_class_to_its_target(kind: str, count: str) -> None:
    noise = inject(Y, kind, 0.6, 10, 1, count, GROUPS)
    for clean, noisy in zip(Y[noise.flipped], noise.labels[noise.flipped], strict=True):
        assert noisy == PAIRS[kind][clean]
    assert set(Y[noise.flipped]) <= set(PAIRS[kind])
    assert noise.flipped.any()


def test_symmetric_is_uniform_over_the_other_classes() -> None:
    y = np.repeat(np.arange(5), 4000)
    noise = inject(y, "symmetric", 0.5, 5, 11)
    matrix = transition_counts(torch.from_numpy(y), torch.from_numpy(noise.labels), 5)
    assert (matrix.sum(1) == 4000).all()
    assert (matrix.diagonal() == 2000).all()
    other = matrix[~torch.eye(5, dtype=torch.bool)].double()
    chi2 = ((other - 500) ** 2 / 500).sum().item()
    assert chi2 < 40.0  # 15 degrees of freedom: p about 5e-4


def test_symmetric_incl_realises_less_than_its_rate() -> None:
    y = np.repeat(np.arange(4), 5000)
    noise = inject(y, "symmetric_incl", 0.8, 4, 2)
    assert noise.rate == pytest.approx(0.6, abs=0.015)


def test_follows_the_published_algorithm_draw_by_draw() -> None:
    rng = np.random.Generator(np.random.PCG64(77))
    chosen = []
    for c in range(10):
        members = np.flatnonzero(c == Y)
        chosen += list(rng.permutation(members)[: math.floor(0.4 * len(members) + 0.5)])
    chosen = np.sort(np.array(chosen))
    draw = rng.integers(0, 9, size=len(chosen))
    expected = Y.copy()
    expected[chosen] = draw + (draw >= Y[chosen])
    assert (inject(Y, "symmetric", 0.4, 10, 77).labels == expected).all()


@pytest.mark.parametrize("kind", ["asym_super_uniform", "asym_super_next", "asymmetric"])
@pytest.mark.parametrize("groups", [GROUPS, (4, 4, 9, 9, 9, 9, 9, 0, 0, 0)])
def test_super_class_is_kept(kind: str, groups: tuple[int, ...]) -> None:
    noise = inject(Y, kind, 0.9, 10, 0, groups=groups)
    ids = np.array(groups)
    assert (ids[noise.labels] == ids[Y]).all()
    assert noise.rate == pytest.approx(0.9, abs=0.01)


def test_super_uniform_reaches_every_member_of_unequal_super_classes() -> None:
    y = np.repeat(np.arange(6), 3000)
    noise = inject(y, "asym_super_uniform", 0.6, 6, 4, groups=(0, 1, 1, 1, 1, 0))
    matrix = transition_counts(torch.from_numpy(y), torch.from_numpy(noise.labels), 6)
    assert matrix[0, 5] == matrix[5, 0] == 1800
    inner = matrix[1:5, 1:5][~torch.eye(4, dtype=torch.bool)].double()
    assert ((inner - 600).abs() < 120).all()


def test_lone_member_of_a_super_class_is_untouched() -> None:
    groups = (0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    for kind in ("asym_super_uniform", "asym_super_next"):
        for count in COUNTS:
            noise = inject(Y, kind, 0.7, 10, 0, count, groups)
            assert not noise.flipped[Y == 9].any()
            assert noise.flipped[Y == 0].any()


def test_asymmetric_without_super_classes_is_the_next_class() -> None:
    noise = inject(Y, "asymmetric", 0.3, 10, 8)
    assert noise.rule == "next_class"
    assert (noise.labels == inject(Y, "pairflip", 0.3, 10, 8).labels).all()
    assert inject(Y, "asymmetric", 0.3, 10, 8, groups=GROUPS).rule == "asym_super_uniform"


def test_derangement_is_one_map_without_fixed_points_at_every_rate() -> None:
    maps = []
    for rate in (0.3, 0.6, 1.0):
        noise = inject(np.repeat(np.arange(7), 50), "derangement", rate, 7, 6)
        clean = np.repeat(np.arange(7), 50)[noise.flipped]
        maps.append(dict(zip(clean.tolist(), noise.labels[noise.flipped].tolist(), strict=True)))
        assert len(set(maps[-1].values())) == 7
        assert all(a != b for a, b in maps[-1].items())
    assert maps[0] == maps[1] == maps[2]


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_labels_other_seed_other_labels(kind: str) -> None:
    first = inject(Y, kind, 0.4, 10, 21, groups=GROUPS)
    assert (first.labels == inject(Y, kind, 0.4, 10, 21, groups=GROUPS).labels).all()
    assert (first.labels != inject(Y, kind, 0.4, 10, 22, groups=GROUPS).labels).any()


def test_global_generators_are_neither_read_nor_moved() -> None:
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    first = inject(Y, "symmetric", 0.4, 10, 21).labels
    after = np.random.random(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    assert after == (np.random.random(), torch.rand(1).item())  # noqa: NPY002
    assert (inject(Y, "symmetric", 0.4, 10, 21).labels == first).all()


@pytest.mark.parametrize("kind", [*KINDS, "clean"])
@pytest.mark.parametrize("count", COUNTS)
def test_rate_zero_is_the_identity(kind: str, count: str) -> None:
    noise = inject(Y, kind, 0.0, 10, 0, count, GROUPS)
    assert (noise.labels == Y).all()
    assert noise.rate == 0.0
    assert noise.labels is not Y


def test_a_lower_rate_flips_a_subset() -> None:
    few, many = (inject(Y, "symmetric", r, 10, 9).flipped for r in (0.2, 0.6))
    assert (many | ~few).all()


def test_exact_global_count() -> None:
    noise = inject(Y, "symmetric", 0.37, 10, 1, "exact_global")
    assert noise.flipped.sum() == int(0.37 * len(Y))


def test_bernoulli_stays_within_binomial_bounds() -> None:
    y = np.arange(20_000) % 10
    noise = inject(y, "symmetric", 0.3, 10, 1, "bernoulli")
    assert abs(noise.rate - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 20_000)
    per_class = np.bincount(y[noise.flipped], minlength=10)
    assert len(set(per_class.tolist())) > 1


def test_order_of_samples_does_not_change_the_counts() -> None:
    shuffled = np.random.default_rng(0).permutation(Y)
    a, b = (inject(y, "next_class", 0.4, 10, 1) for y in (Y, shuffled))
    assert (np.bincount(a.labels) == np.bincount(b.labels)).all()


def test_torch_in_torch_out() -> None:
    noise = inject(torch.from_numpy(Y), "symmetric", 0.4, 10, 5)
    assert isinstance(noise, Noise)
    assert noise.labels.dtype == torch.int64
    assert noise.flipped.dtype == torch.bool
    assert (noise.labels.numpy() == inject(Y, "symmetric", 0.4, 10, 5).labels).all()


def test_no_samples() -> None:
    for count in COUNTS:
        noise = inject(np.empty(0, dtype=np.int64), "symmetric", 0.4, 3, 0, count)
        assert noise.labels.shape == (0,)
        assert noise.rate == 0.0


def test_transition_counts() -> None:
    found = transition_counts(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": -0.1}, "noise.rate"),
        ({"rate": 1.01}, "from 0 to 1"),
        ({"rate": math.nan}, "noise.rate"),
        ({"kind": "symetric"}, "accepted: symmetric, symmetric_incl"),
        ({"kind": "real"}, "unknown rule"),
        ({"kind": "clean"}, "clean with rate"),
        ({"kind": "asym_super_next"}, "needs super-classes"),
        ({"kind": "asym_super_next", "groups": (0, 1)}, "groups"),
        ({"kind": "asym_super_uniform", "groups": range(10)}, "one member"),
        ({"kind": "symmetric", "groups": (0.5,) * 10}, "groups"),
        ({"kind": "asym_pairs", "num_classes": 11}, "10 classes"),
        ({"labels": np.array([0, 10])}, "label 10 of sample 1"),
        ({"labels": np.array([0, -1])}, "out of range"),
        ({"labels": np.array([0.0, 1.0])}, "labels"),
        ({"labels": np.zeros((2, 2), dtype=np.int64)}, "labels"),
        ({"labels": np.zeros(3, dtype=np.int64), "num_classes": 1}, "at least 2 classes"),
        ({"num_classes": 0}, "num_classes"),
        ({"count": "exact"}, "noise.count"),
        ({"seed": -1}, "noise.seed"),
    ],
)
def test_bad_input_is_one_clear_line(change: dict, said: str) -> None:
    given = {"labels": Y, "kind": "symmetric", "rate": 0.4, "num_classes": 10, "seed": 0} | change
    with pytest.raises(InputError) as caught:
        inject(**given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
