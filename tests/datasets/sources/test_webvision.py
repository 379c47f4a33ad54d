"""WebVision mini: lists, both validation folders, the reference, damage, cells to the end."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import transforms

from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.sources import listing
from prunebench.datasets.sources.large_images import PixelView, half_of_each_class
from prunebench.datasets.sources.webvision import TRAIN, VAL, WebVision
from prunebench.errors import InputError
from prunebench.registry import RECIPES
from support.lists import SMALL, change_line, refused, run_small, write_images, write_pairs
from support.origins import check_ids

CLASSES, PER_CLASS, VAL_PER_CLASS = 3, 12, 4


def build(root: Path, val_folder: str = "val_images") -> Path:
    """Classes 0 to 2, and lines of class 70 that the mini set leaves out."""
    train = [(f"google/q{c:04d}/img {i}.jpg", c) for c in range(CLASSES) for i in range(PER_CLASS)]
    val = [(f"val{i * CLASSES + c:06d}.jpg", c) for i in range(VAL_PER_CLASS)
           for c in range(CLASSES)]  # fmt: skip
    for rows, prefix in ((train, ""), (val, f"{val_folder}/")):
        write_images(root, [prefix + name for name, _ in rows], [c for _, c in rows])
    write_pairs(root / TRAIN, *zip(*[*train[:5], ("google/q0071/x.jpg", 70), *train[5:]],
                                   strict=True))  # fmt: skip
    write_pairs(root / VAL, *zip(*val, ("val999999.jpg", 70), strict=True))
    return root


def small(root: Path, **options: object) -> WebVision:
    return WebVision(**{"path": str(root), "classes": CLASSES, **SMALL, **options})


def names(x: torch.Tensor | ImageFiles, rows: list[int] | None = None) -> list[str]:
    assert isinstance(x, ImageFiles)
    return [x.name(i) for i in (range(len(x)) if rows is None else rows)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "webvision")


def test_halves_of_the_validation_split(root: Path) -> None:
    raw = small(root, stream="yes").load()
    assert raw.train_y.bincount().tolist() == [14, 14, 14]
    assert raw.test_y.bincount().tolist() == [2, 2, 2]
    assert raw.reference_rows is not None
    rows = raw.reference_rows.tolist()
    assert rows == list(range(36, 42))
    reference, test = names(raw.train_x, rows), names(raw.test_x)
    assert not set(reference) & set(test)
    assert sorted(reference + test) == sorted(map(str, (root / "val_images").iterdir()))
    assert (raw.leaks, raw.crop, raw.augment, raw.num_classes) == (False, 8, "crop_flip", 3)
    assert torch.equal(raw.human[""], raw.train_y)
    assert raw.mean == (0.485, 0.456, 0.406)


def test_the_official_split_as_reference_leaks(root: Path) -> None:
    raw = small(root, stream="yes", reference="official_val", test_limit=7).load()
    assert raw.leaks
    assert raw.reference_rows is not None
    assert len(raw.test_y) == 7
    assert names(raw.train_x, raw.reference_rows.tolist()) == names(raw.test_x)
    assert torch.equal(raw.train_y[raw.reference_rows], raw.test_y)


@pytest.mark.parametrize("reference", ["half_val", "official_val"])
def test_ids_count_the_original_splits(root: Path, reference: str) -> None:
    whole = small(root, reference=reference).load()
    check_ids(small(root, reference=reference, limit=20, test_limit=5).load(), whole)


def test_pixels_are_those_of_an_exact_resize(root: Path) -> None:
    raw = small(root, stream="no").load()
    resize = transforms.Compose([transforms.Resize((12, 12)), transforms.PILToTensor()])
    first = root / "google" / "q0000" / "img 0.jpg"
    assert torch.equal(raw.train_x[0], resize(Image.open(first)))


def test_published_views() -> None:
    assert WebVision().pixel_view() == PixelView(256, 224, "exact", "crop_flip")
    other = WebVision(view="299")
    assert other.pixel_view() == PixelView(320, 299, "short", "resized_crop")
    assert other.portable()["crop"] == 299
    assert "view" not in other.portable()
    assert WebVision(view="299", augment="none").pixel_view().augment == "none"
    outline = WebVision().outline()
    assert outline is not None
    assert (outline.train, outline.test, outline.reference) == (65_944, 1_250, 1_250)
    assert outline.shape == (3, 224, 224)
    RECIPES.get(WebVision.recipe)


def test_half_of_each_class_is_fixed_and_rounds_up() -> None:
    labels = torch.tensor([0] * 50 + [1] * 3 + [2]).numpy()
    chosen = half_of_each_class(labels)
    assert [int(chosen[labels == c].sum()) for c in range(3)] == [25, 2, 1]
    assert (chosen == half_of_each_class(labels)).all()


def test_identity_is_content_and_tells_a_resized_copy(root: Path, tmp_path: Path) -> None:
    first, copy = small(root), small(build(tmp_path / "copy"))
    assert first.identity() == copy.identity()
    assert first.portable() == copy.portable()
    assert "path" not in first.portable()
    resized = build(tmp_path / "resized", "val_images_256")
    write_images(resized, [f"val_images_256/val{i:06d}.jpg" for i in range(12)], [9] * 12)
    assert small(resized).identity() != first.identity()
    assert len(small(resized).load().test_y) == 6
    before = first.identity()
    change_line(root / TRAIN, 1, None)
    assert small(root).identity() != before


def test_fewer_classes_are_another_set(root: Path) -> None:
    two = small(root, classes=2)
    assert two.identity() != small(root).identity()
    assert two.load().train_y.max() == 1


DAMAGE = {
    "one field": (TRAIN, 2, "google/q0000/1.jpg", "line 2", "a class number"),
    "negative": (TRAIN, 3, "google/q0000/1.jpg -1", "line 3", "a class number"),
    "no number": (VAL, 1, "val000000.jpg cat", "line 1", "a class number"),
    "range": (TRAIN, 4, "google/q0000/1.jpg 1000", "line 4: label 1000", "0 to 999"),
    "huge": (TRAIN, 4, "google/q0000/1.jpg " + "9" * 5000, "line 4: label 999", "0 to 999"),
    "upwards": (TRAIN, 1, "google/../../1.jpg 0", "line 1", "leaves the folder"),
    "backwards": (TRAIN, 1, "google\\..\\..\\1.jpg 0", "line 1", "leaves the folder"),
    "absolute": (VAL, 2, "/etc/passwd 0", "line 2", "a relative path"),
    "a drive": (VAL, 2, "c:/1.jpg 0", "line 2", "a relative path"),
    "a sign that ends names": (VAL, 2, "1\0.jpg 0", "line 2", "a relative path"),
    "absent": (VAL, 1, "val123456.jpg 0", "line 1: no such file", "val123456.jpg"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_lists(root: Path, damage: str) -> None:
    name, line, text, *parts = DAMAGE[damage]
    change_line(root / name, line, text)
    refused(small(root), str(root / name), *parts)
    if damage != "absent":
        with pytest.raises(InputError):
            small(root).load()


def test_a_listed_pipe_or_device_is_not_opened(root: Path) -> None:
    image = root / "val_images" / "val000000.jpg"
    image.unlink()
    os.mkfifo(image)
    refused(small(root), "an empty file", image.name)
    with pytest.raises(InputError, match=r"val000000\.jpg: no regular file"):
        small(root).load()
    image.unlink()
    image.symlink_to("/dev/zero")
    refused(small(root), "an empty file", image.name)
    with pytest.raises(InputError, match=r"val000000\.jpg: no regular file"):
        small(root).load()


def test_missing_files_and_folders(root: Path, tmp_path: Path) -> None:
    refused(small(root, crop=13), "webvision.crop", "at most 12")
    refused(small(root, classes=4), "class 3 has no training image")
    (root / "val_images").rename(root / "elsewhere")
    refused(small(root), "val_images")
    (root / VAL).write_text("\n\n")
    refused(small(root), "names no image", str(root / VAL))
    (root / VAL).unlink()
    refused(small(root), f"no such file: {root / VAL}")
    for call in (small(tmp_path / "x").check, small(tmp_path / "x").prepare):
        with pytest.raises(InputError, match=r"webvision:FOLDER with info/train_filelist"):
            call()
    assert small(root).prepare() == root
    assert [file.path for file in small(root).published()] == [TRAIN, VAL]


def test_a_sample_of_the_images_is_looked_for_or_all(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SAMPLE", 2)
    (root / "google" / "q0000" / "img 1.jpg").unlink()
    small(root).check()
    refused(small(root, look="all"), "line 2: no such file", "img 1.jpg")
    assert "look" not in small(root).portable()
    (root / "google" / "q0000" / "img 0.jpg").write_bytes(b"")
    refused(small(root), "line 1: an empty file")


@pytest.mark.parametrize("stream", ["yes", "no"])
def test_a_cell_to_its_record(root: Path, tmp_path: Path, stream: str) -> None:
    record = run_small(
        tmp_path / "r", f"webvision:{root}", params={"classes": CLASSES, "stream": stream},
        noise="real", method="infobatch+align", ratio=0.25,
    )  # fmt: skip
    assert record.status == "done", record.reason
    assert record.ledger["trained"] == round(0.75 * 36 * 2)
    assert record.ledger["reference_forward"] > 0


def test_a_cell_says_that_it_leaks(root: Path, tmp_path: Path) -> None:
    record = run_small(
        tmp_path / "r", f"webvision:{root}",
        params={"classes": CLASSES, "reference": "official_val"}, noise="symmetric:0.2",
        method="infobatch+align", ratio=0.25,
    )  # fmt: skip
    assert record.status == "done", record.reason
    assert record.info["reference_leaks"] is True
