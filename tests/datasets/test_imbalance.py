"""Class imbalance: exact sizes, nested, and nothing else of the task moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from prunebench.datasets.build import make_task
from prunebench.datasets.imbalance import Imbalance, keep_imbalanced, parse_imbalance
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.source import RawData
from prunebench.datasets.task import Task
from prunebench.errors import InputError
from prunebench.rng import Stream, Streams

N, C = 2000, 10


def raw(**fields: object) -> RawData:
    y = torch.from_numpy(np.random.default_rng(0).integers(0, C, N))
    x, test = torch.zeros(N, 1, 4, 4, dtype=torch.uint8), torch.zeros(7, 1, 4, 4, dtype=torch.uint8)
    data = RawData(x, y, test, torch.arange(7), C, tuple(map(str, range(C))), "f")
    return replace(data, **fields)


RAW = raw()


def task(
    imbalance: str = "exp:20",
    noise: str = "symmetric:0.4",
    data: RawData = RAW,
    seed: int = 0,
    **options: object,
) -> Task:
    return make_task(data, parse_noise(noise), Streams(seed, "toy", noise),
                     imbalance=parse_imbalance(imbalance), **options)  # fmt: skip


def sizes(made: Task) -> list[int]:
    return torch.bincount(made.clean_labels, minlength=C).tolist()


def largest(data: RawData = RAW, **options: object) -> int:
    """Samples of the smallest class of what is left for training."""
    return min(sizes(task("none", data=data, **options)))


@pytest.mark.parametrize(
    ("name", "most", "classes", "expected"),
    [
        ("exp:100", 500, 10, [500, 300, 180, 108, 65, 39, 23, 14, 8, 5]),
        ("exp:8", 25, 4, [25, 13, 6, 3]),  # 12.5 and 6.25, by exact halves
        ("exp:4", 9, 3, [9, 5, 2]),
        ("step:10", 50, 5, [50, 50, 50, 5, 5]),
        ("step:10", 50, 4, [50, 50, 5, 5]),
        ("exp:1", 7, 3, [7, 7, 7]),
        ("exp:5", 3, 1, [3]),
        ("step:2", 1, 2, [1, 1]),
    ],
)
def test_sizes_are_as_documented(name: str, most: int, classes: int, expected: list[int]) -> None:
    made = parse_imbalance(name)
    assert made is not None
    assert made.sizes(most, classes) == expected


def test_sizes_of_the_training_split_are_exact_and_nested_in_the_ratio() -> None:
    kept: dict[str, set[int]] = {}
    for name in ("exp:1", "exp:5", "exp:20", "exp:50", "step:5", "step:20"):
        made = task(name)
        wanted = parse_imbalance(name)
        assert wanted is not None
        assert sizes(made) == wanted.sizes(largest(), C)
        assert (made.train.sample_ids.diff() > 0).all()
        kept[name] = set(made.train.sample_ids.tolist())
    assert kept["exp:1"] > kept["exp:5"] > kept["exp:20"] > kept["exp:50"]
    assert kept["exp:1"] > kept["step:5"] > kept["step:20"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"validation_size": 200, "reference_size": 300},
        {"validation_size": 200, "validation_labels": "clean"},
        {"reference_mode": "overlap", "reference_size": 100},
        {"reference_size": 0},
        {"noise_seed": 7, "validation_size": 50},
    ],
)
def test_reference_validation_and_test_stay_as_they_are_without(options: dict[str, object]) -> None:
    usual, uneven = task("none", **options), task("exp:20", **options)
    for name in ("reference", "validation", "test"):
        a, b = getattr(usual, name), getattr(uneven, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert torch.equal(a.sample_ids, b.sample_ids)
            assert torch.equal(a.labels, b.labels)
    assert torch.isin(uneven.train.sample_ids, usual.train.sample_ids).all()
    assert sizes(uneven) == Imbalance("exp", 20).sizes(largest(**options), C)


def test_noise_is_exact_in_every_class_of_what_is_kept() -> None:
    made = task("exp:20")
    wrong = torch.bincount(made.clean_labels[made.flipped], minlength=C)
    assert wrong.tolist() == [int(0.4 * n + 0.5) for n in sizes(made)]
    assert made.rate == pytest.approx(made.flipped.double().mean().item())


def test_settings_of_one_seed_are_paired_and_other_seeds_are_not() -> None:
    assert torch.equal(task().train.sample_ids, task().train.sample_ids)
    assert torch.equal(task().train.labels, task().train.labels)
    assert task().label_digest == task().label_digest
    small = RAW.train_y >= C // 2  # about a ninth of these are kept
    a, b = (task(seed=seed).train.sample_ids for seed in (0, 1))
    a, b = a[small[a]], b[small[b]]
    assert torch.isin(a, b).double().mean() < 0.4


def test_human_labels_stay_those_of_their_samples() -> None:
    human = (RAW.train_y + (torch.arange(N) % 4 == 0)) % C
    made = task("step:10", "real", raw(human={"worst": human}))
    assert torch.equal(made.train.labels, human[made.train.sample_ids])
    assert sizes(made) == Imbalance("step", 10).sizes(largest(), C)


def test_reference_rows_of_its_own_are_neither_kept_nor_counted() -> None:
    own = torch.arange(0, N, 10)
    data = raw(reference_rows=own)
    made = task("exp:10", data=data)
    assert not torch.isin(made.train.sample_ids, own).any()
    assert made.reference is not None
    assert torch.equal(made.reference.sample_ids, own)
    assert sizes(made) == Imbalance("exp", 10).sizes(largest(data), C)


def test_many_classes_take_no_loop_over_samples() -> None:
    labels = torch.arange(50_000) % 1000
    kept = keep_imbalanced(Imbalance("exp", 10), torch.arange(50_000), labels, 1000, Stream(3))
    assert torch.bincount(labels[kept], minlength=1000).tolist() == Imbalance("exp", 10).sizes(
        50, 1000
    )


def unlabelled(y: Tensor) -> RawData:
    return raw(train_y=y.clamp(max=C - 2))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exp:0.5", "imbalance exp: ratio 0.5 is out of range; accepted: a number from 1"),
        ("step:-3", "ratio -3 is out of range"),
        ("exp:inf", "ratio inf is out of range"),
        ("exp:nan", "'nan' is no ratio"),
        ("exp:", "'exp:' lacks its ratio"),
        ("exp", "'exp' lacks its ratio"),
        ("exp:fifty", "'fifty' is no ratio"),
        ("epx:50", "unknown imbalance 'epx'; accepted: none, exp:RATIO or step:RATIO; exp"),
        ("50", "unknown imbalance '50'"),
        ("none:3", "unknown imbalance 'none'"),
    ],
)
def test_bad_names_are_one_clear_line(name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_imbalance(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_would_be_empty_is_refused() -> None:
    most = largest()
    with pytest.raises(InputError, match=rf"class 9 would be empty.*at most {2 * most}"):
        task(f"exp:{2 * most + 1}")
    assert min(sizes(task(f"exp:{2 * most}"))) == 1
    with pytest.raises(InputError, match="class 9 has no training sample"):
        task("exp:2", data=unlabelled(RAW.train_y))


def test_names_are_read_back() -> None:
    for text, name in (("exp:50.0", "exp:50"), ("step:2.5", "step:2.5"), (" exp:1e3 ", "exp:1000")):
        made = parse_imbalance(text)
        assert made is not None
        assert made.name == name
        assert parse_imbalance(made.name) == made
    assert parse_imbalance("none") is None
