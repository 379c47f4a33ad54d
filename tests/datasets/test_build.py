"""Tasks: noise over the whole split, nested and independent splits, pairing."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from prunebench import datasets
from prunebench.datasets import content, packfile
from prunebench.datasets import task as tasks
from prunebench.datasets.build import make_task
from prunebench.datasets.images import packed_format
from prunebench.datasets.noise.inject import inject
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.source import RawData
from prunebench.datasets.splits import default_reference_size
from prunebench.datasets.task import Split, Task
from prunebench.errors import InputError
from prunebench.rng import Streams

N, C = 2000, 10


def raw(**fields: object) -> RawData:
    y = torch.from_numpy(np.random.default_rng(0).integers(0, C, N))
    x, test = torch.zeros(N, 1, 4, 4, dtype=torch.uint8), torch.zeros(7, 1, 4, 4, dtype=torch.uint8)
    data = RawData(x, y, test, torch.arange(7), C, tuple(map(str, range(C))), "f")
    return replace(data, **fields)


RAW = raw()


def task(text: str = "symmetric:0.4", seed: int = 0, data: RawData = RAW, **options) -> Task:
    return make_task(data, parse_noise(text), Streams(seed, "toy", text), **options)


def split(part: Split | None) -> Split:
    assert part is not None
    return part


def test_splits_are_disjoint_ascending_and_complete() -> None:
    made = task(validation_size=300)
    reference, validation = split(made.reference), split(made.validation)
    rows = [made.train.sample_ids, reference.sample_ids, validation.sample_ids]
    assert [len(r) for r in rows] == [1560, 140, 300]
    assert all((r.diff() > 0).all() for r in rows)
    assert torch.equal(torch.cat(rows).sort().values, torch.arange(N))
    assert torch.equal(reference.labels, RAW.train_y[reference.sample_ids])
    assert torch.equal(made.clean_labels, RAW.train_y[made.train.sample_ids])
    assert torch.equal(made.test.labels, RAW.test_y)
    assert made.test.sample_ids.tolist() == list(range(7))


def test_labels_are_those_of_the_whole_split() -> None:
    made = task(validation_size=100)
    seed = Streams(0, "toy", "symmetric:0.4").get("noise").key
    noise = inject(RAW.train_y, "symmetric", 0.4, C, seed)
    assert torch.equal(made.train.labels, noise.labels[made.train.sample_ids])
    assert torch.equal(made.flipped, noise.flipped[made.train.sample_ids])
    assert torch.equal(
        split(made.validation).labels, noise.labels[split(made.validation).sample_ids]
    )
    assert made.rate == pytest.approx(noise.rate)
    assert made.rule == "symmetric"
    vector = noise.labels.numpy().astype("<i8").tobytes()
    assert made.label_digest == hashlib.sha256(vector).hexdigest()


def test_other_arguments_move_neither_noise_nor_reference() -> None:
    base = task()
    for options in (
        {"validation_size": 200},
        {"validation_size": 200, "validation_labels": "clean"},
        {"reference_mode": "overlap"},
    ):
        other = task(**options)
        assert other.label_digest == base.label_digest
        assert torch.equal(split(other.reference).sample_ids, split(base.reference).sample_ids)
    assert task(reference_size=0).label_digest == base.label_digest


def test_draws_are_nested_in_their_sizes() -> None:
    small, large = (task(reference_size=k) for k in (50, 200))
    assert torch.isin(split(small.reference).sample_ids, split(large.reference).sample_ids).all()
    few, many = (task(validation_size=k) for k in (50, 200))
    assert torch.isin(split(few.validation).sample_ids, split(many.validation).sample_ids).all()


def test_same_setting_same_task_other_setting_independent() -> None:
    assert torch.equal(task().train.sample_ids, task().train.sample_ids)
    flips = [
        task(text, seed, reference_size=0).flipped
        for text, seed in (("symmetric:0.4", 0), ("symmetric:0.400", 0), ("symmetric:0.4", 1))
    ]
    # Independent masks at rate 0.4 agree on 0.52 of the samples; 0.045 is four sigma.
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (flips[a] == flips[b]).double().mean() == pytest.approx(0.52, abs=0.045)
    references = [
        set(split(task(text, seed).reference).sample_ids.tolist())
        for text, seed in (("symmetric:0.4", 0), ("clean", 0), ("symmetric:0.4", 1))
    ]
    assert len(references[0] & references[1]) < 35
    assert len(references[0] & references[2]) < 35


def test_fixed_noise_seed_isolates_training_variance() -> None:
    a, b = task(seed=1, noise_seed=0), task(seed=2, noise_seed=0)
    assert a.label_digest == b.label_digest == task(seed=0).label_digest
    assert not torch.equal(split(a.reference).sample_ids, split(b.reference).sample_ids)


def test_overlap_keeps_the_reference_in_training_with_noisy_labels() -> None:
    made = task(reference_mode="overlap", validation_size=100, reference_size=500)
    reference = split(made.reference)
    assert len(made.train) == N - 100
    assert torch.isin(reference.sample_ids, made.train.sample_ids).all()
    assert not torch.isin(split(made.validation).sample_ids, reference.sample_ids).any()
    inside = torch.isin(made.train.sample_ids, reference.sample_ids)
    assert (made.train.labels[inside] != reference.labels).double().mean() > 0.3


def test_reference_samples_of_its_own_leave_training_whole() -> None:
    own = torch.arange(N - 200, N)
    data = raw(reference_rows=own)
    made = task(data=data, validation_size=100)
    assert len(made.train) == N - 300
    assert torch.equal(split(made.reference).sample_ids, own)
    assert torch.equal(split(made.reference).labels, RAW.train_y[own])
    assert (made.train.sample_ids < N - 200).all()
    assert (split(made.validation).sample_ids < N - 200).all()
    # Neither noise nor its digest sees the reference rows.
    cut = replace(RAW, train_x=RAW.train_x[:-200], train_y=RAW.train_y[:-200])
    alone = task(data=cut, validation_size=100, reference_size=0)
    assert made.label_digest == alone.label_digest
    assert made.rate == alone.rate
    assert torch.equal(made.train.sample_ids, alone.train.sample_ids)
    few = split(task(data=data, reference_size=50).reference)
    assert len(few) == 50
    assert torch.isin(few.sample_ids, own).all()
    assert task(data=data, reference_size=0).reference is None


def test_reference_samples_may_stand_anywhere() -> None:
    own = torch.arange(0, N, 10)
    human = (RAW.train_y + 1) % C
    made = task("real", data=raw(reference_rows=own, human={"human": human}))
    assert not torch.isin(own, made.train.sample_ids).any()
    assert torch.equal(made.train.labels, human[made.train.sample_ids])
    assert made.rate == 1.0
    assert torch.equal(split(made.reference).labels, RAW.train_y[own])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reference_size": 201}, "0 to 200 of its own"),
        ({"validation_size": N - 200}, "below 1800"),
        ({"reference_mode": "overlap"}, "reference samples of its own"),
    ],
)
def test_bad_arguments_with_reference_samples_of_its_own(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        task(data=raw(reference_rows=torch.arange(200)), **options)


def test_validation_labels() -> None:
    noisy, clean = (task(validation_size=200, validation_labels=k) for k in ("noisy", "clean"))
    rows = split(clean.validation).sample_ids
    assert torch.equal(split(clean.validation).labels, RAW.train_y[rows])
    assert (split(noisy.validation).labels != RAW.train_y[rows]).any()


def test_default_reference_and_none() -> None:
    assert [default_reference_size(n) for n in (10, 1347, 50_000)] == [0, 94, 1000]
    made = task(reference_size=0)
    assert made.reference is None
    assert made.validation is None
    assert len(made.train) == N


def test_clean_and_real_noise() -> None:
    assert task("clean").rate == 0.0
    assert task("clean").rule == "clean"
    human = (RAW.train_y + (torch.arange(N) % 4 == 0)) % C
    data = raw(human={"worst": human, "aggregate": RAW.train_y})
    made = task("real:worst", data=data)
    assert made.rule == "real:worst"
    assert made.rate == pytest.approx(0.25)
    assert torch.equal(made.train.labels, human[made.train.sample_ids])
    with pytest.raises(InputError, match="real:aggregate, real:worst"):
        task("real", data=data)
    with pytest.raises(InputError, match="human labels"):
        task("real:worst", data=raw(human={"worst": human[:5]}))
    with pytest.raises(InputError, match="out of range"):
        task("real:worst", data=raw(human={"worst": human + 5}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reference_size": N}, "reference_size"),
        ({"reference_size": 1000, "validation_size": 1000}, "together below 2000"),
        ({"validation_size": -1}, "validation"),
        ({"reference_mode": "both"}, "held_out, overlap"),
        ({"validation_labels": "true"}, "noisy, clean"),
        ({"count": "some"}, "noise.count"),
    ],
)
def test_bad_arguments(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        task(**options)


def test_plugins_of_earlier_versions_find_what_their_guide_imported() -> None:
    for name in ("DataSource", "RawData", "register_dataset"):
        assert getattr(tasks, name) is getattr(datasets, name)
    for name in ("channel_stats", "content_digest"):
        assert getattr(content, name) is getattr(datasets, name)
    assert packfile.write_packed is packed_format.write_packed
