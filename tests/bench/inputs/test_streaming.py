"""Streamed inputs: the resident run bit for bit, reading only what the plan names."""

import shutil
import types
from dataclasses import replace

import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as TF
from torchvision.transforms.v2 import functional as TF2

from prunebench.bench.inputs.crops import (
    centre_crop,
    crops_at_once,
    draw_crop_flip,
    draw_resized_crop,
    resized_crop,
)
from prunebench.bench.inputs.streaming import AHEAD, CHUNK, StreamedInputs, open_inputs
from prunebench.bench.inputs.strong import strong_batches, strong_view
from prunebench.bench.inputs.view import Inputs
from prunebench.bench.train.task import validation_for_test
from prunebench.datasets.build import make_task
from prunebench.datasets.corrupt.names import Corruption
from prunebench.datasets.corrupt.rows import corrupt_training
from prunebench.datasets.images.lazy import ImageFiles, PathList
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.source import RawData
from prunebench.errors import InputError
from prunebench.rng import Stream, Streams
from support.command import figures, prunebench
from support.trees import write_tree

NAMES = [f"class_{c}/{i:04d}.{'png' if i % 5 == 0 else 'jpg'}" for c in range(4) for i in range(12)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), train=12, test=4)


def raw_of(files, crop=None) -> RawData:
    y = torch.zeros(len(files), dtype=torch.int64)
    return RawData(files, y, files, y, 4, tuple("abcd"), "t", mean=(0.5, 0.4, 0.3),
                   std=(0.2, 0.3, 0.25), crop=crop)  # fmt: skip


def both(tree, workers, crop=None, **options):
    files = ImageFiles(PathList(tree / "train", NAMES), 18, workers=workers)
    here = files.read(range(len(files)))
    streamed = open_inputs(files, raw_of(files, crop), **options)
    assert isinstance(streamed, StreamedInputs)
    return Inputs(here, raw_of(files, crop), **options), streamed


def batches(epoch, bounds):
    return [epoch.batch(a, b) for a, b in bounds]


@pytest.mark.parametrize("augment", ["none", "crop_flip", "resized_crop"])
@pytest.mark.parametrize("crop", [None, 14])
def test_batches_equal_resident_ones_bit_for_bit(tree, augment, crop):
    resident, streamed = both(tree, 0, crop, augment=augment, pad=2)
    ids = torch.tensor([40, 3, 3, 17, 0, 47, 22, 9, 31, 5, 8])
    bounds = [(0, 4), (4, 5), (5, 11)]
    one, two = (batches(x.augmented_batches(ids, Stream(5)), bounds) for x in (resident, streamed))
    assert one[0].shape == (4, 3, crop or 18, crop or 18)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    for inputs in (resident, streamed):  # a process without a share of a batch
        assert inputs.augmented_batches(ids, Stream(5)).batch(0, 0).shape == (0, *inputs.shape)
    assert torch.equal(streamed.unaugmented_batches(ids).batch(0, 11), resident.unaugmented(ids))
    assert torch.equal(streamed.unaugmented(ids), resident.unaugmented(ids))
    if augment != "none":
        assert not torch.equal(torch.cat(one), resident.unaugmented(ids))
    views = strong_batches(streamed, ids, Stream(1))
    assert torch.equal(views(0, 4), strong_view(resident, ids[:4], Stream(1)))
    assert views(4, 11).shape == (7, 3, crop or 18, crop or 18)


def test_worker_processes_give_the_same_in_order_epoch_after_epoch(tree, monkeypatch):
    monkeypatch.setattr("prunebench.bench.inputs.streaming.CHUNK", 5)
    resident, streamed = both(tree, 2, augment="crop_flip")
    state = torch.random.get_rng_state()
    for epoch in range(3):
        ids = Stream(epoch).permutation(48)[: 48 - 7 * epoch]
        bounds = [(a, min(a + 8, len(ids))) for a in range(0, len(ids), 8)]
        one, two = (
            batches(x.augmented_batches(ids, Stream(epoch)), bounds) for x in (resident, streamed)
        )
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        half = streamed.augmented_batches(ids, Stream(9))  # left half-way, as a cut budget does
        half.batch(0, 8)
    assert torch.equal(state, torch.random.get_rng_state())
    workers = streamed.readers._loader._iterator._workers
    assert len(workers) == 2
    streamed.close()
    assert not any(worker.is_alive() for worker in workers)
    assert torch.equal(streamed.unaugmented_batches(ids).batch(0, 3), resident.unaugmented(ids[:3]))
    streamed.close()


def test_corrupted_images_are_those_of_the_resident_run(tree):
    """In this process and in decoding ones, centred, cropped and as stored; others are as read."""
    resident, streamed = both(tree, 0, augment="crop_flip")
    raw, train = raw_of(streamed.readers.files), torch.arange(0, 48, 2)
    setting, stream = Corruption("mixed", 0.5), Stream(4)
    held = replace(raw, train_x=resident.x)
    one, mask = corrupt_training(held, train, setting, stream)
    two, same = corrupt_training(raw, train, setting, stream)
    assert torch.equal(mask, same)
    assert int(mask.sum()) == 12
    ids = torch.cat([train[mask], train[~mask], torch.tensor([1, 3])])
    for workers in (0, 2):
        options = {"augment": "crop_flip", "pad": 2}
        files = replace(two.train_x, workers=workers)
        here, there = Inputs(one.train_x, one, **options), open_inputs(files, two, **options)
        assert torch.equal(there.unaugmented_batches(ids).batch(0, 26), here.unaugmented(ids))
        a, b = (x.augmented_batches(ids, Stream(5)) for x in (here, there))
        assert torch.equal(a.batch(0, 26), b.batch(0, 26))
        assert torch.equal(there.pixels(ids), here.pixels(ids))
        there.close()
    differs = (resident.x != one.train_x).flatten(1).any(1).nonzero().flatten()
    assert torch.equal(differs, train[mask])


def test_a_tuning_run_judges_by_streamed_images_as_they_are(tree):
    files = ImageFiles(PathList(tree / "train", NAMES), 18, workers=0)
    made = make_task(
        replace(raw_of(files), train_y=torch.arange(48) // 12), parse_noise("clean"),
        Streams(0, "t", "clean"), reference_size=0, validation_size=9,
        corruption=Corruption("occlusion", 1.0),
    )  # fmt: skip
    held, rows = validation_for_test(made).raw.test_x, made.validation.sample_ids
    assert torch.equal(held.read(range(9)), files.read(rows))
    assert torch.equal(made.raw.train_x.read(rows), files.read(rows))
    assert not torch.equal(made.raw.train_x.read(range(48)), files.read(range(48)))


def test_only_the_rows_of_the_plan_are_read(tmp_path):
    root = write_tree(tmp_path / "t", train=12, test=1)
    resident, streamed = both(root, 1, augment="crop_flip")
    ids = torch.tensor([5, 0, 30])
    for row, name in enumerate(NAMES):
        if row not in ids:
            (root / "train" / name).unlink()
    assert torch.equal(
        streamed.augmented_batches(ids, Stream(1)).batch(0, 3),
        resident.augmented_batches(ids, Stream(1)).batch(0, 3),
    )
    with pytest.raises(InputError, match=r"train/class_0/0001.jpg: cannot be read \(No such file"):
        streamed.augmented_batches(torch.tensor([0, 1]), Stream(1)).batch(0, 2)
    assert len(streamed.augmented_batches(ids, Stream(1)).batch(0, 3)) == 3  # and goes on
    streamed.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_one_line_that_names_it(tmp_path, workers):
    root = write_tree(tmp_path / "t", train=12, test=1)
    _, streamed = both(root, workers)
    bad = root / "train" / NAMES[7]
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(InputError) as caught:
        streamed.unaugmented_batches(torch.arange(12)).batch(0, 12)
    streamed.close()
    assert str(caught.value).startswith(f"{bad}: damaged image (Truncated File Read)")
    assert "\n" not in str(caught.value)


def test_batches_come_in_order(tree):
    _, streamed = both(tree, 0)
    epoch = streamed.unaugmented_batches(torch.arange(12))
    epoch.batch(0, 4)
    assert torch.equal(epoch.batch(0, 4), epoch.batch(0, 4))
    with pytest.raises(ValueError, match="come in order: 8 after 4"):
        epoch.batch(8, 12)


def test_too_little_shared_memory_is_said(tree, monkeypatch):
    _, streamed = both(tree, 2)
    free = types.SimpleNamespace(free=64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    assert streamed.readers._fitting_chunk() == CHUNK
    free.free = 2 * 2 * (AHEAD + 1) * (3 * 18 * 18) * 4
    assert streamed.readers._fitting_chunk() == 4
    free.free = 1000
    with pytest.raises(InputError, match="shared memory for 2 decoding processes"):
        streamed.unaugmented_batches(torch.arange(12)).batch(0, 12)


def test_a_crop_beyond_the_image_is_refused(tree):
    with pytest.raises(InputError, match="crop: a crop of 19 pixels; accepted: at most 18"):
        both(tree, 0, 19)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resized_crops_are_those_of_torchvision(channels):
    """torchvision takes torch's kernel for bytes with AVX2 or wider and rounds floats elsewhere;
    ours are bytes everywhere, so that only the former can be equal in every pixel."""
    generator = torch.Generator().manual_seed(channels)
    x = torch.randint(0, 256, (60, channels, 20, 26), dtype=torch.uint8, generator=generator)
    boxes = draw_resized_crop(Stream(2), torch.arange(60), 20, 26)
    got, at_once = (crops(x, boxes, 14, 12) for crops in (resized_crop, crops_at_once))
    assert got.dtype == torch.uint8
    off_by = []
    for i in range(60):
        box = [int(part[i]) for part in (boxes.top, boxes.left, boxes.height, boxes.width)]
        flip = TF2.horizontal_flip if boxes.flip[i] else lambda image: image
        in_bytes, in_floats = (
            flip(TF2.resized_crop(image, *box, [14, 12], antialias=False))
            for image in (x[i], x[i].float())
        )
        if torch.backends.cpu.get_cpu_capability().startswith("AVX"):
            assert torch.equal(got[i], in_bytes)
        off_by.append(got[i].float() - in_floats)
    off = torch.stack(off_by)
    assert off.abs().max() < 1.01  # weights of eight bits, rounded in each of two directions
    assert off.abs().mean() < 0.3
    assert off.mean().abs() < 0.1
    assert torch.equal(at_once, at_once.round())
    off = at_once - got.float()
    assert off.abs().max() <= 1
    assert off.abs().mean() < 0.25
    assert off.mean().abs() < 0.1


def test_boxes_are_distributed_as_those_of_torchvision():
    n = 4000
    boxes = draw_resized_crop(Stream(7), torch.arange(n), 64, 48)
    blank = torch.empty(3, 64, 48)
    torch.manual_seed(0)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(n)]
    )
    ours = torch.stack([boxes.top, boxes.left, boxes.height, boxes.width], dim=1)
    assert bool((ours[:, 0] + ours[:, 2] <= 64).all() & (ours[:, 1] + ours[:, 3] <= 48).all())
    assert int(ours[:, :2].min()) == 0
    for a, b in zip(ours.T.double(), theirs.T.double(), strict=True):
        error = float((a.var() / n + b.var() / n).sqrt())
        assert abs(float(a.mean() - b.mean())) < 4 * error
        assert float(a.std() / b.std()) == pytest.approx(1, abs=0.06)
    assert float(boxes.flip.double().mean()) == pytest.approx(0.5, abs=0.04)
    narrow = draw_resized_crop(Stream(7), torch.arange(9), 8, 200)  # no box of the range fits
    few = narrow.width <= 11
    assert bool(few.all())
    some = torch.tensor([3, 900])
    again = draw_resized_crop(Stream(7), some, 64, 48)
    assert torch.equal(again.top, boxes.top[some])
    assert torch.equal(again.width, boxes.width[some])


def test_crops_smaller_than_the_image_cover_it_and_the_centre_is_torchvisions():
    draws = draw_crop_flip(Stream(1), torch.arange(5000), 2, (4, 0))
    assert (int(draws.top.min()), int(draws.top.max())) == (0, 8)
    assert (int(draws.left.min()), int(draws.left.max())) == (0, 4)
    x = torch.randint(0, 256, (2, 3, 17, 20), dtype=torch.uint8)
    for size in ([14, 14], [13, 15], [17, 20]):
        assert torch.equal(centre_crop(x, *size), TF.center_crop(x, size))


METHODS = {
    "infobatch+align": {},
    "ies": {"corrupt": "mixed:0.5"},
    "divbs": {},
    "grand": {"corrupt": "mixed:0.5"},
    "prune4rel": {},
    "ssp": {},
    "full": {"criterion": "sop+"},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_streamed_run_is_the_resident_run(tree, tmp_path, method):
    seen = []
    recipe = {"epochs": 3, "batch_size": 16, "model": "cnn", "pad": 2}
    for stream in ("no", "yes"):
        words = ["run", "--dataset", f"folder:{tree}", "--method", method, "--no-mlflow", "-q",
                 "--noise", "symmetric:0.25", "--ratio", "0" if method == "full" else "0.4",
                 "--reference-size", "8", "--out", tmp_path / stream]  # fmt: skip
        data = {"stream": stream, "workers": 1, "size": 16, "crop": 14, "augment": "resized_crop"}
        for name, values in (
            ("--dataset-param", data),
            ("--recipe-param", {**recipe, "model_params": '{"width": 4, "depth": 2}'}),
        ):
            words += [w for k, v in values.items() for w in (name, f"{k}={v}")]
        words += [w for k, v in METHODS[method].items() for w in (f"--{k}", v)]
        said = prunebench(*words)
        assert said.code == 0, said.err
        seen.append(figures(tmp_path / stream))
    assert seen[0] == seen[1]
    assert all(status in ("done", "diverged") for status, *_ in seen[0].values())


def test_decoding_processes_work_inside_worker_processes(tree, tmp_path):
    words = ["run", "--dataset", f"folder:{tree}", "--no-mlflow", "-q", "--out", tmp_path / "a",
             "--dataset-param", "stream=yes", "--dataset-param", "workers=2", "-w", "2",
             "--dataset-param", "size=16", "--recipe-param", "epochs=1"]  # fmt: skip
    said = prunebench(*words)
    assert said.code == 0, said.err
    ((status, _, ledger, _),) = figures(tmp_path / "a").values()
    assert status in ("done", "diverged")
    assert ledger["trained"] == 45


def test_a_damaged_image_stops_a_run_with_one_line_and_no_record(tmp_path):
    bad = write_tree(tmp_path / "bad", 3, 1)
    (bad / "train" / "class_2" / "0001.jpg").write_bytes(b"\xff\xd8\xffno")
    said = prunebench("run", "--dataset", f"folder:{bad}", "--dataset-param", "stream=yes",
                      "--no-mlflow", "-q", "--out", tmp_path / "a")  # fmt: skip
    assert said.code == 2
    assert "class_2/0001.jpg: unknown or damaged image" in said.err
    assert len(said.err.splitlines()) == 1
    assert not figures(tmp_path / "a")
