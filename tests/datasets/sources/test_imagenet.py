"""ImageNet-1K: class folders by wnid, both references, damage, a cell to the end."""

from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageFolder

from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.sources.imagenet import ImageNet
from prunebench.datasets.sources.large_images import PixelView
from prunebench.errors import InputError
from prunebench.registry import RECIPES
from support.lists import SMALL, refused, run_small, write_images

#: Not in the order in which they are written.
WNIDS = ("n02084071", "n01440764", "n03028079")


def build(root: Path, train: int = 12, val: int = 4) -> Path:
    for split, count in (("train", train), ("val", val)):
        for c, wnid in enumerate(WNIDS):
            names = [f"{split}/{wnid}/{wnid}_{i}.JPEG" for i in range(count)]
            write_images(root, names, [c] * count, seed=c)
    return root


def small(root: Path, **options: object) -> ImageNet:
    return ImageNet(**{"path": str(root), **SMALL, **options})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "imagenet")


def test_order_and_labels_are_those_of_torchvision(root: Path) -> None:
    raw = small(root, stream="yes").load()
    for x, y, split in ((raw.train_x, raw.train_y, "train"), (raw.test_x, raw.test_y, "val")):
        assert isinstance(x, ImageFiles)
        theirs = ImageFolder(root / split)
        names = [x.name(i) for i in range(len(x))]
        pairs = list(zip(names, y.tolist(), strict=True))
        assert sorted(pairs) == sorted(theirs.samples)
    assert raw.class_names == tuple(sorted(WNIDS))
    assert raw.reference_rows is None
    assert (raw.leaks, raw.augment, raw.crop, raw.human) == (False, "resized_crop", 8, {})
    assert small(root).asymmetric_rule() == raw.asymmetric == "next_class"


def test_the_validation_split_as_reference_leaks(root: Path) -> None:
    raw = small(root, reference="official_val").load()
    assert raw.leaks
    assert raw.reference_rows is not None
    assert torch.equal(raw.train_x[raw.reference_rows], raw.test_x)
    assert torch.equal(raw.train_y[raw.reference_rows], raw.test_y)
    assert len(raw.training_rows) == 36


def test_published_sizes() -> None:
    assert ImageNet().pixel_view() == PixelView(256, 224, "short", "resized_crop")
    outline = ImageNet().outline()
    assert outline is not None
    assert (outline.train, outline.test, outline.classes) == (1_281_167, 50_000, 1000)
    assert ImageNet().published() == []
    RECIPES.get(ImageNet.recipe)


def test_identity_follows_the_files(root: Path, tmp_path: Path) -> None:
    first = small(root).identity()
    assert small(build(tmp_path / "copy")).identity() == first
    wnid = WNIDS[0]
    (root / "train" / wnid / f"{wnid}_0.JPEG").unlink()
    assert small(root).identity() != first


def test_damaged_trees(root: Path, tmp_path: Path) -> None:
    (root / "val" / WNIDS[0]).rename(tmp_path / "aside")
    refused(small(root), f"class '{WNIDS[0]}' of train is missing")
    (tmp_path / "aside").rename(root / "val" / WNIDS[0])
    (root / "train" / "dogs").mkdir()
    write_images(root, ["train/dogs/1.jpg"], [0])
    refused(small(root), "class folder 'dogs'", "n01440764")
    (root / "train" / "dogs").rename(tmp_path / "dogs")
    empty = root / "train" / WNIDS[1] / f"{WNIDS[1]}_3.JPEG"
    empty.write_bytes(b"")
    refused(small(root), "an empty file", str(empty))


def test_unsorted_validation_images_are_told(root: Path, tmp_path: Path) -> None:
    (root / "val").rename(tmp_path / "sorted")
    write_images(root, ["val/ILSVRC2012_val_00000001.JPEG"], [0])
    refused(small(root), "no class folders", str(root / "val"), "val/<wnid>/<image>")
    for source in (small(tmp_path / "sorted"), small(tmp_path / "nowhere")):
        with pytest.raises(InputError, match="imagenet:FOLDER with train/<wnid>/ and val/<wnid>/"):
            source.prepare()


@pytest.mark.parametrize("augment", ["resized_crop", "crop_flip"])
def test_a_cell_to_its_record(root: Path, tmp_path: Path, augment: str) -> None:
    record = run_small(
        tmp_path / "r", f"imagenet:{root}", params={"augment": augment},
        noise="asymmetric:0.2", noise_params={"count": "exact_global"},
        method="infobatch+align", ratio=0.25, reference={"size": 6},
    )  # fmt: skip
    assert record.status == "done", record.reason
    assert record.spec["noise"]["rule"] == "next_class"
    assert record.ledger["trained"] == round(0.75 * 30 * 2)
