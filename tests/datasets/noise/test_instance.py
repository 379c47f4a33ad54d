"""Instance-dependent noise: exact counts, targets that follow the image, equal draws everywhere."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from prunebench.datasets.build import make_task
from prunebench.datasets.images.lazy import ImageFiles, PathList
from prunebench.datasets.noise import instance
from prunebench.datasets.noise.inject import COUNTS, Noise, transition_counts
from prunebench.datasets.noise.instance import (
    flip_rates,
    inject_instance,
    instance_targets,
    projections,
)
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.source import RawData
from prunebench.datasets.task import Task
from prunebench.errors import InputError
from prunebench.rng import Stream, Streams

C, SIZES = 5, (101, 99, 57, 1, 142)
Y = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(C), SIZES)))
N = len(Y)
X = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (N, 1, 5, 5), dtype=np.uint8))
IDS = torch.arange(N)


def noise(rate: float, key: int = 7, count: str = "exact_per_class") -> Noise[torch.Tensor]:
    stream = Stream(key)
    return inject_instance(Y, instance_targets(X, Y, C, stream), rate, IDS, stream, count)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.45, 0.5, 0.99])
def test_exact_count_in_every_class(rate: float) -> None:
    made = noise(rate)
    for cls, size in enumerate(SIZES):
        assert made.flipped[cls == Y].sum() == math.floor(rate * size + 0.5)
    assert torch.equal(made.flipped, made.labels != Y)
    assert noise(rate, count="exact_global").flipped.sum() == int(rate * N)


def test_bernoulli_flips_by_the_flip_rate_and_is_nested() -> None:
    n = 20_000
    ids, clean = torch.arange(n), torch.zeros(n, dtype=torch.int64)
    masks = [
        inject_instance(clean, clean + 1, rate, ids, Stream(3), "bernoulli").flipped
        for rate in (0.0, 0.3, 0.6)
    ]
    assert not masks[0].any()
    assert masks[1].double().mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / n))
    assert (masks[2] | ~masks[1]).all()


@pytest.mark.parametrize("count", COUNTS)
def test_samples_with_a_high_flip_rate_are_flipped_more_often(count: str) -> None:
    n = 20_000
    ids, clean = torch.arange(n), torch.arange(n) % 4
    flipped = inject_instance(clean, (clean + 1) % 4, 0.3, ids, Stream(5), count).flipped
    q = flip_rates(0.3, ids, Stream(5))
    # A draw by q has the mean E[q^2] / E[q] of about 0.333 where it is independent, else 0.3.
    assert q[flipped].mean() > 0.325
    assert q[~flipped].mean() < 0.295


@pytest.mark.parametrize("rate", [0.02, 0.4, 0.97])
def test_flip_rates_are_a_truncated_normal_and_grow_with_the_rate(rate: float) -> None:
    q = flip_rates(rate, torch.arange(4000), Stream(11))
    law = stats.truncnorm(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1)
    assert stats.kstest(q.numpy(), law.cdf).pvalue > 1e-3
    assert (flip_rates(rate + 0.01, torch.arange(4000), Stream(11)) > q).all()


def test_targets_are_drawn_from_the_softmax_of_the_projection() -> None:
    n = 6000
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3) * 20
    x, labels = image.expand(n, 1, 3, 3), torch.zeros(n, dtype=torch.int64)
    targets = instance_targets(x, labels, 3, Stream(2))
    weights = Stream(2).child("instance-weights", 0).numpy.standard_normal((9, 3))
    logits = (image.flatten().double() / 255) @ torch.from_numpy(weights)
    share = logits[1:].softmax(0)[0].item()
    assert 0.05 < share < 0.95
    assert (targets != 0).all()
    assert (targets == 1).double().mean() == pytest.approx(share, abs=4 * math.sqrt(0.25 / n))


def test_targets_depend_on_the_image_and_the_class() -> None:
    projected = projections(X, Y, C, Stream(4))
    again = projections(X.flip(0), Y.flip(0), C, Stream(4))
    assert torch.equal(again.flip(0), projected)  # the order of the data set plays no part
    same = X.clone()
    same[:] = X[0]
    rows = projections(same, Y, C, Stream(4))
    assert torch.equal(rows, torch.stack([rows[cls == Y][0] for cls in range(C)])[Y])
    assert len(rows.unique(dim=0)) == C
    assert not torch.equal(projections(X, Y, C, Stream(5)), projected)


def test_transitions_are_not_uniform() -> None:
    y = torch.arange(4000) % 4
    x = torch.randint(0, 256, (4000, 12), generator=torch.Generator().manual_seed(0))
    targets = instance_targets(x.to(torch.uint8).reshape(-1, 1, 3, 4), y, 4, Stream(0))
    matrix = transition_counts(y, targets, 4)
    assert (matrix.diagonal() == 0).all()
    other = matrix[~torch.eye(4, dtype=torch.bool)].double()
    assert ((other - 1000 / 3) ** 2 / (1000 / 3)).sum() > 200  # 8 degrees of freedom


def test_projections_are_exact_whatever_the_order_of_summation(monkeypatch) -> None:
    for x in (X, torch.randn(N, 300, generator=torch.Generator().manual_seed(1)) ** 3):
        wide = projections(x, Y, C, Stream(9))
        monkeypatch.setattr(instance, "_ROWS", 7)
        monkeypatch.setattr(instance, "_COLUMNS", 11)
        assert torch.equal(projections(x, Y, C, Stream(9)), wide)
        monkeypatch.undo()


def test_vectors_are_standardised() -> None:
    x = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
    x[:, 5] = 3.0
    first = projections(x, Y, C, Stream(9))
    moved = projections(x * torch.tensor([1, 10, 0.5, 4, 2, 1]) + 2, Y, C, Stream(9))
    assert (moved - first).abs().max() < 0.05
    weights = Stream(9).child("instance-weights", 1).numpy.standard_normal((6, C))
    z = (x - x.mean(0)).double() / torch.where(torch.arange(6) < 5, x.std(0, correction=0), 1.0)
    assert (first - z @ torch.from_numpy(weights))[Y == 1].abs().max() < 0.05


def test_two_classes_and_a_class_of_one_sample() -> None:
    y = torch.tensor([0, 1, 1, 0])
    assert torch.equal(instance_targets(X[:4], y, 2, Stream(1)), 1 - y)
    assert noise(0.5).flipped[Y == 3].sum() == 1


def test_seeds_are_independent() -> None:
    a, b = noise(0.4, 1).flipped, noise(0.4, 2).flipped
    assert torch.equal(noise(0.4, 1).labels, noise(0.4, 1).labels)
    assert (a == b).double().mean() == pytest.approx(0.52, abs=0.1)


def raw(**fields: object) -> RawData:
    data = RawData(X, Y, X[:5], torch.arange(5), C, tuple(map(str, range(C))), "f")
    return replace(data, **fields)


def task(text: str, data: RawData, seed: int = 0, **options) -> Task:
    return make_task(data, parse_noise(text), Streams(seed, "toy", text), **options)


def test_a_task_and_its_targets_are_computed_once(monkeypatch) -> None:
    data = raw()
    made = task("instance:0.4", data, validation_size=20, reference_size=30)
    assert made.rule == "instance"
    assert made.rate == pytest.approx(sum(math.floor(0.4 * n + 0.5) for n in SIZES) / N)
    assert (made.flipped == (made.train.labels != made.clean_labels)).all()
    monkeypatch.setattr(instance, "projections", None)
    other = task("instance:0.4", data, reference_size=0)
    rows = made.train.sample_ids
    assert torch.equal(other.train.labels[rows], made.train.labels)
    assert other.label_digest == made.label_digest
    with pytest.raises(TypeError):  # another seed projects anew
        task("instance:0.4", data, seed=1)


def test_streamed_images_and_one_class_are_refused() -> None:
    files = ImageFiles(PathList(Path("none"), ["a.png"] * N), 5)
    for data, said in (
        (raw(train_x=files), "streamed images.*stream=no"),
        (raw(num_classes=1, train_y=torch.zeros_like(Y)), "at least 2 classes"),
    ):
        with pytest.raises(InputError, match=said):
            task("instance:0.4", data)
