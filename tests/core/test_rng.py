"""Named streams: pure, independent, uniform, and free of global state."""

import numpy as np
import pytest
import torch
from scipy import stats

from prunebench.rng import Stream, Streams, mix64


def test_same_purpose_same_numbers():
    one = Streams(3, "digits", "clean").get("order", epoch=2)
    two = Streams(3, "digits", "clean").get("order", epoch=2)
    assert one == two
    assert torch.equal(one.uniform(7), two.uniform(7))
    assert np.array_equal(one.numpy.random(5), two.numpy.random(5))


@pytest.mark.parametrize(
    "other",
    [
        Streams(4, "digits", "clean").get("order", 2),
        Streams(3, "mnist", "clean").get("order", 2),
        Streams(3, "digits", "symmetric:0.4").get("order", 2),
        Streams(3, "digits", "clean").get("augment", 2),
        Streams(3, "digits", "clean").get("order", 3),
        Streams(3, "digits", "clean").get("order", 2, step=1),
        Streams(3, "digits", "clean").get("order", 2).child("x"),
    ],
)
def test_another_purpose_is_independent(other: Stream):
    mine = Streams(3, "digits", "clean").get("order", 2)
    a, b = mine.uniform(20_000).numpy(), other.uniform(20_000).numpy()
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


def test_uniform_is_uniform_and_equidistributed():
    u = Stream(11).uniform((200, 500)).numpy().ravel()
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    pairs = np.histogram2d(u[:-1], u[1:], bins=10)[0]
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-3


def test_draws_depend_on_the_sample_alone():
    stream, ids = Stream(5), torch.arange(1000)
    some = torch.tensor([7, 999, 3])
    assert torch.equal(stream.uniform_at(ids)[some], stream.uniform_at(some))


def test_mix64_is_splitmix64():
    """The first outputs of the published SplitMix64 for seed 1234567."""
    got = mix64(torch.arange(3), 1234567)
    assert [int(v) & (2**64 - 1) for v in got] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_permutation_and_nested_samples():
    stream = Stream(9)
    assert stream.permutation(50).sort().values.tolist() == list(range(50))
    small, large = set(stream.sample(50, 10).tolist()), set(stream.sample(50, 30).tolist())
    assert small < large
    with pytest.raises(ValueError, match="cannot draw"):
        stream.sample(3, 4)


@pytest.mark.parametrize(("n", "k"), [(50, 1), (50, 49), (5000, 1234)])
def test_a_sample_is_the_begin_of_the_permutation_as_cards_draw_it(n, k):
    for key in range(5):
        drawn = Stream(key).sample(n, k)
        assert torch.equal(drawn, Stream(key).permutation(n)[:k].sort().values)


def test_first_position_is_uniform():
    counts = np.zeros(6)
    for key in range(3000):
        counts[int(Stream(key).permutation(6)[0])] += 1
    assert stats.chisquare(counts).pvalue > 1e-3


def test_global_generators_stay_untouched():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    stream = Stream(1)
    stream.numpy.random(3)
    stream.uniform(3)
    stream.permutation(3)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 4)])
@pytest.mark.parametrize("key", [0, 1, -5, 2**64 - 1, 123456789 << 30])
def test_numpy_and_torch_hash_alike(shape, key):
    low, high = -(2**63), 2**63 - 1
    counters = torch.randint(low, high, shape, generator=torch.Generator().manual_seed(0))
    signed = (key + 2**63) % 2**64 - 2**63
    on_device = mix64(counters, torch.tensor(signed))  # the form that a graph can hold
    assert torch.equal(mix64(counters, key), on_device)
    assert mix64(counters, key).shape == counters.shape
