"""Open-set noise: samples keep their label and get an image from outside the task."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prunebench.datasets.build import make_task
from prunebench.datasets.images.lazy import ImageFiles, PathList
from prunebench.datasets.imbalance import parse_imbalance
from prunebench.datasets.noise.inject import transition_counts
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.noise.openset import last_classes, other_set, parse_last, place
from prunebench.datasets.source import Origin, RawData
from prunebench.datasets.task import Split, Task
from prunebench.errors import InputError
from prunebench.rng import Stream, Streams

C, SIZES = 8, (101, 99, 57, 63, 142, 80, 140, 160)
Y = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(C), SIZES)))
N = len(Y)
# The image of row i says i.
X = torch.stack([torch.arange(N) % 256, torch.arange(N) // 256], 1).to(torch.uint8)
X = X.reshape(N, 1, 1, 2)
TEST = torch.arange(40) % C


def raw(**fields: object) -> RawData:
    names = tuple(map(str, range(C)))
    data = RawData(
        X, Y, X[:40], TEST, C, names, "f", human={"": Y}, groups=(0, 0, 1, 1, 2, 2, 3, 3)
    )
    return replace(data, **fields)


RAW = raw()


def task(rate: float = 0.2, seed: int = 0, data: RawData = RAW, **options) -> Task:
    noise = parse_noise(f"openset:{rate}")
    return make_task(data, noise, Streams(seed, "toy", "openset"), **options)


def split(part: Split | None) -> Split:
    assert part is not None
    return part


def rows(made: Task, part: Split) -> torch.Tensor:
    """Which row of ``X`` each image of a split is."""
    x = made.raw.train_x
    assert isinstance(x, torch.Tensor)
    pixels = x[part.sample_ids].flatten(1).long()
    return pixels[:, 0] + 256 * pixels[:, 1]


def test_the_last_classes_leave_every_split() -> None:
    made = task(validation_size=50)
    assert made.raw.num_classes == C - 2
    assert made.raw.class_names == tuple("012345")
    assert made.raw.groups == (0, 0, 1, 1, 2, 2)
    assert made.raw.human == {}
    for part in (made.train, split(made.reference), split(made.validation), made.test):
        assert part.labels.max() == C - 3
        assert part.labels.min() == 0
    assert torch.equal(made.raw.test_ids(made.test.sample_ids), (TEST < C - 2).nonzero().flatten())
    # Samples keep their original ids.
    for part in (made.train, split(made.reference), split(made.validation)):
        assert torch.equal(part.labels, Y[made.raw.train_ids(part.sample_ids)])
    assert made.raw.original_size == N


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.45, 0.47])
def test_exact_count_in_every_class(rate: float) -> None:
    made = task(rate, reference_size=0)
    outside = made.outside
    for cls, size in enumerate(SIZES[:-2]):
        assert outside[made.train.labels == cls].sum() == math.floor(rate * size + 0.5)
    assert torch.equal(made.flipped, outside)
    assert made.rate == pytest.approx(outside.double().mean().item())
    assert (made.clean_labels[outside] == -1).all()
    assert torch.equal(made.clean_labels[~outside], made.train.labels[~outside])
    assert made.rule == "openset"


def test_images_come_from_the_pool_once_and_the_others_stay() -> None:
    made = task(0.4, reference_size=0)
    shown, ids = rows(made, made.train), made.raw.train_ids(made.train.sample_ids)
    assert torch.equal(shown[~made.outside], ids[~made.outside])
    put_in = shown[made.outside]
    assert (Y[put_in] >= C - 2).all()
    assert len(put_in.unique()) == len(put_in)
    assert len(Y[put_in].unique()) == 2  # of both classes


@pytest.mark.parametrize("count", ["exact_per_class", "exact_global", "bernoulli"])
def test_a_lower_rate_has_a_part_of_the_samples_with_the_same_images(count: str) -> None:
    few, many = (task(rate, count=count, reference_size=0) for rate in (0.1, 0.3))
    assert (many.outside | ~few.outside).all()
    assert torch.equal(rows(few, few.train)[few.outside], rows(many, many.train)[few.outside])
    n = len(few.train)
    if count == "exact_global":
        assert few.outside.sum() == int(0.1 * n)
    assert 0 < few.outside.sum() < many.outside.sum()


def test_reference_and_clean_validation_hold_their_own_images() -> None:
    for labels in ("noisy", "clean"):
        made = task(0.4, validation_size=100, validation_labels=labels)
        for part, own in (
            (split(made.reference), True),
            (split(made.validation), labels == "clean"),
        ):
            same = rows(made, part) == made.raw.train_ids(part.sample_ids)
            assert same.all() if own else same.double().mean() < 0.75
            assert torch.equal(part.labels, Y[made.raw.train_ids(part.sample_ids)])
        # The rate is that of the whole split, as under other noise.
        assert made.outside.double().mean() == pytest.approx(0.4, abs=0.05)
    assert task(0.4, validation_size=100).label_digest == made.label_digest


def test_other_splits_move_no_image() -> None:
    base, other = task(0.3), task(0.3, validation_size=90, reference_size=10)
    assert base.label_digest == other.label_digest
    assert base.rate == other.rate
    common = torch.isin(base.train.sample_ids, other.train.sample_ids)
    again = torch.isin(other.train.sample_ids, base.train.sample_ids)
    assert torch.equal(rows(base, base.train)[common], rows(other, other.train)[again])
    assert task(0.3, seed=1).label_digest != base.label_digest
    fixed = [task(0.3, seed=s, noise_seed=5, reference_size=0).label_digest for s in (1, 2)]
    assert fixed[0] == fixed[1]


def test_imbalance_counts_what_is_left() -> None:
    made = task(0.3, validation_size=80, imbalance=parse_imbalance("exp:5"))
    plain = task(0.3, validation_size=80)
    sizes = torch.bincount(made.train.labels)
    assert sizes[0] == 5 * sizes[-1] or sizes[0] > 4 * sizes[-1]
    for cls, size in enumerate(sizes.tolist()):
        assert made.outside[made.train.labels == cls].sum() == math.floor(0.3 * size + 0.5)
    assert made.rate == made.outside.double().mean()
    validation = [rows(t, split(t.validation)) for t in (made, plain)]
    assert torch.equal(*validation)
    put_in = torch.cat([rows(made, made.train), validation[0]])
    put_in = put_in[Y[put_in] >= C - 2]
    assert len(put_in.unique()) == len(put_in)


def test_another_data_set_is_the_pool() -> None:
    other = raw(train_x=255 - X, reference_rows=torch.arange(10))
    made = task(0.6, reference_size=0, outside=other_set(RAW, other, "other"))
    assert made.raw.num_classes == C
    x = made.raw.train_x
    assert isinstance(x, torch.Tensor)
    shown = x[made.train.sample_ids]
    assert torch.equal(shown[~made.outside], X[~made.outside])
    pixels = (255 - shown[made.outside]).flatten(1).long()
    put_in = pixels[:, 0] + 256 * pixels[:, 1]
    assert len(put_in.unique()) == len(put_in)
    assert put_in.min() >= 10  # reference samples of its own are no pool


def test_one_copy_serves_every_run_of_a_task() -> None:
    a, b = task(0.2, reference_size=0), task(0.2, reference_size=0)
    assert a.raw.train_x is b.raw.train_x
    assert a.raw.test_x is b.raw.test_x
    assert task(0.2, seed=3, reference_size=0).raw.train_x is not a.raw.train_x
    assert torch.equal(RAW.train_x, X)
    assert torch.equal(RAW.train_y, Y)


def test_streamed_images_are_read_from_other_files() -> None:
    names = [f"{i}.png" for i in range(N)]
    files = ImageFiles(PathList(Path("none"), names), 2)
    limited = replace(files, rows=np.arange(N)[::-1].copy())
    made = task(0.4, data=raw(train_x=files, test_x=files), reference_size=0)
    resident = task(0.4, reference_size=0)
    assert isinstance(made.raw.train_x, ImageFiles)
    assert made.raw.train_x.rows is not None
    assert made.raw.train_x.rows.tolist() == rows(resident, resident.train).tolist()
    other = task(0.4, data=raw(train_x=limited, test_x=files), reference_size=0).raw.train_x
    assert isinstance(other, ImageFiles)
    assert other.rows is not None
    assert (N - 1 - other.rows).tolist() == made.raw.train_x.rows.tolist()


def test_limited_sets_and_reference_samples_of_their_own() -> None:
    own = torch.arange(0, N, 9)
    data = raw(reference_rows=own, train_origin=Origin(torch.arange(N) * 2, 3 * N))
    made = task(0.2, data=data)
    reference = split(made.reference)
    ids = made.raw.train_ids(reference.sample_ids) // 2
    assert torch.equal(ids, own[Y[own] < C - 2])
    assert torch.equal(rows(made, reference), ids)
    assert made.raw.original_size == 3 * N
    put_in = rows(made, made.train)[made.outside]
    assert not torch.isin(put_in, own).any()


def test_vectors() -> None:
    x = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
    made = task(0.2, data=raw(train_x=x, test_x=x[:40]), reference_size=0)
    inside = made.raw.train_ids(made.train.sample_ids)[~made.outside]
    assert torch.equal(made.raw.train_x[made.train.sample_ids][~made.outside], x[inside])


def test_transition_counts_leave_out_samples_without_a_clean_label() -> None:
    made = task(0.2, reference_size=0)
    counts = transition_counts(made.clean_labels, made.train.labels, C - 2)
    assert counts.sum() == (~made.outside).sum()
    assert torch.equal(counts, counts.diagonal().diag())


@pytest.mark.parametrize(
    ("fields", "options", "said"),
    [
        ({}, {"rate": 0.6}, "last:2 has 300 samples for 325; accepted: a lower rate, more classes"),
        ({}, {"reference_mode": "overlap"}, "one image.*held_out with openset"),
        ({}, {"count": "some"}, "noise.count"),
        (
            {"num_classes": 2, "train_y": Y % 2},
            {},
            "last:1 of 2 classes leaves 1.*another data set",
        ),
    ],
)
def test_bad_tasks_are_one_clear_line(fields: dict, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        task(data=raw(**fields), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("k", [7, 8, 100])
def test_two_classes_have_to_stay(k: int) -> None:
    with pytest.raises(InputError, match=f"last:{k} of 8 classes.*K up to 6"):
        last_classes(RAW, k)
    assert last_classes(RAW, 6).raw.num_classes == 2


@pytest.mark.parametrize("text", ["last:", "last:0", "last:-1", "last:x", "last:1.5", "last:²"])
def test_last_takes_a_number_from_1(text: str) -> None:
    with pytest.raises(InputError, match="last:K, K from 1"):
        parse_last(text)
    assert parse_last("last:3") == 3
    assert parse_last("lasting") is None


def test_other_sets_have_to_fit() -> None:
    files = ImageFiles(PathList(Path("none"), ["a.png"] * 5), 2)
    for data, said in (
        (raw(train_x=X.reshape(N, 1, 2, 1)), "uint8 1x2x1; accepted: uint8 1x1x2"),
        (raw(train_x=X.reshape(N, 2).float()), "float32 2; accepted: uint8 1x1x2"),
        (raw(train_x=files), "streamed images cannot be mixed with those of other"),
        (raw(vocabulary=300), "texts of other are numbers of other words"),
    ):
        with pytest.raises(InputError, match=said):
            other_set(RAW, data, "other")
    with pytest.raises(InputError, match="stream=no"):
        other_set(raw(train_x=files), RAW, "other")
    with pytest.raises(InputError, match="accepted: last:K, or another noise"):
        other_set(raw(vocabulary=300), raw(vocabulary=300), "other")


def test_children_of_one_stream_are_independent() -> None:
    world = last_classes(RAW)
    a, b = (place(world, world.raw.training_rows, 0.3, Stream(key)) for key in (1, 2))
    assert 0.1 < torch.isin(a.sample_ids, b.sample_ids).double().mean() < 0.5
