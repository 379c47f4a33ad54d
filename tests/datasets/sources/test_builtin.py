"""The data sets that need no file: digits and synthetic."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from prunebench.datasets.digests import channel_stats, content_digest
from prunebench.datasets.source import RawData
from prunebench.datasets.sources import digits
from prunebench.errors import InputError
from prunebench.registry import DATASETS


def load(name: str, **options: object) -> RawData:
    return DATASETS.get(name).target(**options).load()


def accuracy(raw: RawData) -> float:
    train, test = (x.flatten(1).numpy() / 255.0 for x in (raw.train_x, raw.test_x))
    model = LogisticRegression(C=0.05, max_iter=200).fit(train, raw.train_y)
    return float(model.score(test, raw.test_y))


def test_digits_shape_and_balance() -> None:
    raw = load("digits")
    assert raw.train_x.shape == (1347, 1, 8, 8)
    assert raw.test_x.shape == (450, 1, 8, 8)
    assert raw.train_x.dtype == torch.uint8
    assert raw.train_y.dtype == torch.int64
    assert raw.train_x.max() == 255
    assert len(raw.train_x.unique()) == 17
    train, test = raw.train_y.bincount(), raw.test_y.bincount()
    assert (train + test).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert ((test / (train + test) - 450 / 1797).abs() < 0.006).all()
    assert (raw.asymmetric, raw.augment, raw.groups) == ("asym_digits", "none", None)
    pixels = raw.train_x.double() / 255
    assert raw.mean[0] == pytest.approx(pixels.mean().item())
    assert raw.std[0] == pytest.approx(pixels.std(correction=0).item())


@pytest.mark.parametrize("file", [digits._FILE, "sklearn/nowhere.csv.gz"])
def test_digits_are_those_of_scikit_learn(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "_FILE", file)
    images, labels = digits.read_digits()
    bunch = load_digits()
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images, bunch.images)
    np.testing.assert_array_equal(labels, bunch.target)


def test_digits_are_the_same_every_time_and_can_be_learnt() -> None:
    raw = load("digits")
    assert raw.fingerprint == load("digits").fingerprint
    assert accuracy(raw) > 0.93


def test_synthetic_is_deterministic_and_follows_its_options() -> None:
    options = {"n": 300, "test": 70, "classes": 6, "superclasses": 2, "size": 12, "channels": 1}
    raw = load("synthetic", **options)
    assert raw.train_x.shape == (300, 1, 12, 12)
    assert raw.test_x.shape == (70, 1, 12, 12)
    assert raw.train_y.bincount().tolist() == [50] * 6
    assert raw.groups == (0, 0, 0, 1, 1, 1)
    assert raw.asymmetric == "asym_super_uniform"
    assert raw.augment == "none"
    again = load("synthetic", **options)
    assert torch.equal(raw.train_x, again.train_x)
    assert raw.fingerprint == again.fingerprint
    assert raw.fingerprint != load("synthetic", **options, seed=1).fingerprint


def test_synthetic_batches_of_images_are_independent_draws() -> None:
    raw = load("synthetic", n=3000, test=1, size=8)
    assert raw.train_x.shape == (3000, 3, 8, 8)
    assert len(raw.train_x.flatten(1).unique(dim=0)) == 3000


def test_synthetic_without_super_classes() -> None:
    for superclasses in (1, 4):
        raw = load("synthetic", n=40, test=8, classes=4, superclasses=superclasses)
        assert raw.groups is None
        assert raw.asymmetric == "next_class"
        assert raw.augment == "crop_flip"


def test_synthetic_difficulty_controls_the_signal() -> None:
    easy, usual, hard = (accuracy(load("synthetic", difficulty=d)) for d in (0.0, 0.5, 1.0))
    assert easy > 0.97
    assert 0.75 < usual < easy
    assert 0.2 < hard < usual - 0.2


def test_synthetic_super_classes_are_closer_within() -> None:
    raw = load("synthetic", classes=6, superclasses=2)
    x = raw.train_x.flatten(1).double()
    means = torch.stack([x[raw.train_y == c].mean(0) for c in range(6)])
    distance = torch.cdist(means, means)
    groups = torch.tensor(raw.groups)
    same = (groups[:, None] == groups) & ~torch.eye(6, dtype=torch.bool)
    assert distance[same].mean() < distance[groups[:, None] != groups].mean()


def test_synthetic_refuses_more_super_classes_than_classes() -> None:
    with pytest.raises(InputError, match=r"synthetic.superclasses"):
        load("synthetic", classes=3, superclasses=4)
    with pytest.raises(InputError, match=r"synthetic.difficulty"):
        load("synthetic", difficulty=1.5)


def test_channel_stats_sample_and_constant_channel() -> None:
    x = torch.zeros(50, 2, 3, 3, dtype=torch.uint8)
    x[:, 1] = torch.arange(50, dtype=torch.uint8)[:, None, None]
    mean, std = channel_stats(x)
    assert mean == pytest.approx((0.0, 24.5 / 255))
    assert std[0] == 1.0
    assert std[1] == pytest.approx(x[:, 1].double().std(correction=0).item() / 255)
    assert channel_stats(x, limit=5)[0][1] == pytest.approx(20 / 255)


def test_content_digest_sees_values_shape_and_type() -> None:
    x = torch.arange(6)
    assert content_digest(x) == content_digest(x.clone())
    others = (x.flip(0), x.reshape(2, 3), x.to(torch.int32))
    assert len({content_digest(x), *map(content_digest, others)}) == 4
