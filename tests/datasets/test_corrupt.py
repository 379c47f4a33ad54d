"""Corrupted training images: which ones, their pixels, and what stays as it is."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from prunebench.bench.runs.self_supervised import encoder_key
from prunebench.bench.train.task import (
    holdout_task,
    validation_for_test,
    with_reference_in_training,
)
from prunebench.datasets.corrupt import rows
from prunebench.datasets.corrupt.kinds import CORRUPT
from prunebench.datasets.corrupt.names import KINDS, SINGLE, Corruption
from prunebench.datasets.task import Task
from prunebench.errors import InputError
from prunebench.rng import Stream, Streams
from support.cells import small_cell
from support.corrupted import OWN_PIXELS, TOY, N, digest, smooth, task, toy


def _changed(made: Task, plain: Task) -> set[int]:
    differs = (made.raw.train_x != plain.raw.train_x).flatten(1).any(1)
    return set(differs.nonzero().flatten().tolist())


def _marked(made: Task) -> set[int]:
    assert made.corrupted is not None
    return set(made.train.sample_ids[made.corrupted].tolist())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"imbalance": "exp:5"},
        {"validation_size": 77},
        {"noise": "openset:0.2", "imbalance": "step:3"},
        {"noise": "instance:0.3"},
    ],
)
def test_counts_are_exact_and_shares_nested_in_the_training_split(options):
    before: set[int] = set()
    plain = task(**options)
    for share in (0.1, 0.25, 0.333, 1):
        made = task(f"gaussian-noise:{share}", **options)
        marked = _marked(made)
        assert len(marked) == math.floor(share * len(made.train) + 0.5)
        assert before <= marked == _changed(made, plain)
        assert torch.equal(made.train.labels, plain.train.labels)
        before = marked
    assert before == set(made.train.sample_ids.tolist())  # and none that is held out
    assert plain.corrupted is None


def test_settings_are_paired_and_seeds_differ():
    plain = task(noise="symmetric:0.4")
    assert plain.raw is TOY
    for kind in KINDS:
        made = task(f"{kind}:0.3", noise="symmetric:0.4")
        assert torch.equal(made.train.labels, plain.train.labels)
        assert torch.equal(made.train.sample_ids, plain.train.sample_ids)
        assert _marked(made) == _marked(task("occlusion:0.3", noise="symmetric:0.4"))
    assert _marked(task("fog:0.3", seed=1)) != _marked(task("fog:0.3"))


@pytest.mark.parametrize("kind", SINGLE)
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (32, 3), (50, 3)])
def test_every_kind_changes_images_more_the_more_severe_it_is(kind, side, channels):
    images = smooth((24, channels, side, side + 3), 3).numpy()
    ids = np.arange(100, 124)
    distances = []
    for severity in range(1, 6):
        given = images.copy()
        found = CORRUPT[kind](given, ids, severity, Stream(5))
        assert found.dtype == np.uint8
        assert found.shape == images.shape
        assert np.array_equal(given, images)
        distances.append(np.abs(found.astype(int) - images).mean())
    assert 0 < distances[0] < distances[2] < distances[4]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_depends_on_its_sample_alone(kind):
    """Not on what it is corrupted with, in which order, nor on how many at once."""
    images = smooth((40, 3, 16, 16), 4).numpy()
    ids = np.arange(40) * 3
    every = np.ones(120, dtype=bool)
    whole, parts, turned = images.copy(), images.copy(), images[::-1].copy()
    changed = rows.CorruptedRows(Corruption(kind, 1.0), Stream(9), every)
    changed.change(whole, ids)
    for place in range(40):
        changed.change(parts[place : place + 1], ids[place : place + 1])
    changed.change(turned, ids[::-1].copy())
    assert np.array_equal(whole, parts)
    assert np.array_equal(whole, turned[::-1])
    few = replace(changed, rows=np.arange(120) % 2 == 0)
    half = images.copy()
    few.change(half, ids)
    assert np.array_equal(half[::2], whole[::2])
    assert np.array_equal(half[1::2], images[1::2])


def test_many_images_at_once_are_the_same(monkeypatch):
    whole = task("mixed:1").raw.train_x
    rows._arrays.clear()
    monkeypatch.setattr(rows, "_AT_ONCE", 1000)
    assert torch.equal(task("mixed:1").raw.train_x, whole)


def test_mixed_gives_each_image_one_of_the_kinds():
    mixed = task("mixed:1")
    alone = {kind: task(f"{kind}:1").raw.train_x for kind in SINGLE}
    count = dict.fromkeys(SINGLE, 0)
    for row in mixed.train.sample_ids.tolist():
        found = [k for k, x in alone.items() if torch.equal(x[row], mixed.raw.train_x[row])]
        assert found
        count[found[0]] += 1
    assert min(count.values()) > len(mixed.train) / 6 * 0.7


def test_noise_is_normal_with_the_deviation_of_its_severity():
    grey = np.full((200, 1, 20, 20), 128, dtype=np.uint8)
    noise = CORRUPT["gaussian-noise"](grey, np.arange(200), 1, Stream(3)).astype(float) - 128
    assert abs(noise.mean()) < 0.3
    assert noise.std() == pytest.approx(0.08 * 255, rel=0.01)
    within = (np.abs(noise) < 0.08 * 255).mean()
    assert within == pytest.approx(0.683, abs=0.01)
    flat = noise.reshape(200, -1)
    assert abs(np.corrcoef(flat[:100].ravel(), flat[100:].ravel())[0, 1]) < 0.02


def test_blur_keeps_flat_images_and_occlusion_covers_its_share():
    grey = np.full((30, 3, 20, 24), 77, dtype=np.uint8)
    assert np.array_equal(CORRUPT["gaussian-blur"](grey, np.arange(30), 5, Stream(1)), grey)
    black = np.zeros((30, 1, 20, 20), dtype=np.uint8)
    found = CORRUPT["occlusion"](black, np.arange(30), 3, Stream(1))
    covered = (found > 0).sum((1, 2, 3))
    assert set(covered[covered > 0].tolist()) == {64}  # 16 % of 400
    assert len({image.tobytes() for image in found > 0}) > 10


def test_pixels_are_made_once_for_a_setting():
    rows._arrays.clear()
    first = task("fog:0.3")
    assert task("fog:0.3").raw.train_x is first.raw.train_x
    assert task("fog:0.3", severity=5).raw.train_x is not first.raw.train_x
    task("fog:0.3", seed=1)
    assert len(rows._arrays) == 2
    assert torch.equal(task("fog:0.3").raw.train_x, first.raw.train_x)


def test_tasks_made_of_a_task_keep_the_mask_beside_its_samples():
    made = task("gaussian-noise:0.3", validation_size=50)
    marked = _marked(made)
    joined = with_reference_in_training(made)
    assert len(joined.train) == len(made.train) + 42
    assert _marked(joined) == marked
    streams = Streams(0, "toy", "clean")
    halves = [holdout_task(made, part, streams).task for part in ("first", "second")]
    assert _marked(halves[0]) | _marked(halves[1]) == marked
    assert holdout_task(made, "reference", streams).task.corrupted is None
    tuned = validation_for_test(made)
    assert torch.equal(tuned.raw.test_x, TOY.train_x[made.validation.sample_ids])
    assert made.raw.test_x is TOY.test_x


@pytest.mark.parametrize(
    ("data", "options", "line"),
    [
        (
            replace(TOY, train_x=torch.zeros(N, 5)),
            {},
            "corrupt: fog:0.3 of vectors; accepted: none",
        ),
        (toy(channels=2), {}, "corrupt: fog:0.3 of images with 2 channels; accepted: images of 1"),
        (TOY, {"reference_mode": "overlap"}, "reference_mode: 'overlap' is not accepted with"),
    ],
)
def test_what_cannot_be_corrupted_is_one_line(data, options, line):
    with pytest.raises(InputError, match=line):
        task("fog:0.3", data=data, **options)


def test_a_share_of_no_image_is_one_line():
    with pytest.raises(InputError, match=r"share 0\.0001 of [0-9]+ training images is none"):
        task("fog:0.0001")


def test_components_of_digits_are_refused_with_the_specification():
    with pytest.raises(InputError, match=r"fog:0\.3 of vectors.*digits has no images"):
        small_cell("full", corrupt="fog:0.3", dataset_params={"pca": 8}, recipe="linear-probe")


def test_an_overlapping_reference_is_refused_with_the_specification():
    with pytest.raises(InputError, match="corrupted images go with a reference set that is held"):
        small_cell("full", corrupt="fog:0.3", reference={"mode": "overlap"})


def test_pixels_of_our_own_are_the_same_on_every_machine():
    """Whole numbers, or float64 rounded to them; JPEG files and polygons may differ by library."""
    assert {kind: digest(kind) for kind in OWN_PIXELS} == {
        "gaussian-noise": "9ddb999a32723087",
        "gaussian-blur": "850599da17c6972f",
        "occlusion": "758f85b05f577847",
        "fog": "8691b41090d80e2f",
    }


def test_self_supervised_features_of_corrupted_images_are_apart():
    keys = {
        encoder_key(small_cell("full", seed=seed, **setting).spec)
        for seed in (0, 1)
        for setting in ({}, {"corrupt": "fog:0.3"}, {"corrupt": "fog:0.4"},
                        {"corrupt": "fog:0.3", "corrupt_params": {"severity": 5}})
    }  # fmt: skip
    assert len(keys) == 7  # one without corruption, for both seeds
