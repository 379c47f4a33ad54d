"""Clothing-1M: published and joined lists, the leading folder, damage, a cell to the end."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import transforms

from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.sources.clothing import CLASSES, Clothing1M
from prunebench.datasets.sources.large_images import PixelView
from prunebench.errors import InputError
from prunebench.registry import RECIPES
from support.lists import SMALL, change_line, refused, run_small, write_images, write_pairs

SIZES = {"noisy_train": 56, "clean_val": 14, "clean_test": 14}
TABLES = {"noisy": "noisy_label_kv.txt", "clean": "clean_label_kv.txt"}


def rows(part: str) -> tuple[list[str], list[int]]:
    start = 1000 * list(SIZES).index(part)
    names = [f"images/{i % 3}/{start + i}.jpg" for i in range(SIZES[part])]
    return names, [i % 14 for i in range(SIZES[part])]


def build(root: Path, layout: str = "published", inner: bool = True) -> Path:
    """The lists in a layout; the images below ``images/`` or right in the folder."""
    tables: dict[str, list[str]] = {"noisy": [], "clean": []}
    root.mkdir(parents=True)
    for seed, part in enumerate(SIZES):
        names, labels = rows(part)
        write_images(root, [n if inner else n[7:] for n in names], labels, seed)
        if layout == "joined":
            write_pairs(root / f"{part}.txt", names, labels)
        else:
            (root / f"{part}_key_list.txt").write_text("".join(f"{n}\n" for n in names))
            tables[part[:5]] += [f"{n} {c}\n" for n, c in zip(names, labels, strict=True)]
    if layout == "published":
        for kind, lines in tables.items():
            (root / TABLES[kind]).write_text("".join(reversed(lines)))
    return root


def small(root: Path, **options: object) -> Clothing1M:
    return Clothing1M(**{"path": str(root), **SMALL, **options})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "clothing")


@pytest.mark.parametrize("layout", ["published", "joined"])
@pytest.mark.parametrize("inner", [True, False])
def test_every_layout_holds_the_same(tmp_path: Path, layout: str, inner: bool) -> None:
    source = small(build(tmp_path / "set", layout, inner), stream="yes")
    source.check()
    raw = source.load()
    train = rows("noisy_train")
    assert isinstance(raw.train_x, ImageFiles)
    assert isinstance(raw.test_x, ImageFiles)
    assert raw.train_y.tolist() == train[1] + rows("clean_val")[1]
    assert raw.test_y.tolist() == rows("clean_test")[1]
    assert raw.reference_rows is not None
    assert raw.reference_rows.tolist() == list(range(56, 70))
    parts = train[0] + rows("clean_val")[0]
    assert [raw.train_x.name(i).endswith(n[7:]) for i, n in enumerate(parts)] == [True] * 70
    assert raw.train_x.read(range(70)).shape == (70, 3, 12, 12)
    assert (raw.leaks, raw.class_names, raw.augment) == (False, CLASSES, "crop_flip")
    assert len(source.published()) == (5 if layout == "published" else 3)


def test_a_split_may_be_joined_by_itself(root: Path) -> None:
    before = small(root).load()
    write_pairs(root / "clean_test.txt", *rows("clean_test"))
    (root / "clean_test_key_list.txt").unlink()
    after = small(root).load()
    assert torch.equal(after.test_x, before.test_x)
    assert torch.equal(after.test_y, before.test_y)


def test_pixels_are_those_of_the_short_side_and_the_centre(root: Path) -> None:
    transform = transforms.Compose(
        [transforms.Resize(12), transforms.CenterCrop(12), transforms.PILToTensor()]
    )
    raw = small(root).load()
    assert torch.equal(raw.train_x[0], transform(Image.open(root / "images" / "0" / "0.jpg")))
    assert Clothing1M().pixel_view() == PixelView(256, 224, "short", "crop_flip")
    outline = Clothing1M(limit=100).outline()
    assert outline is not None
    assert (outline.train, outline.reference, outline.test) == (100, 14_313, 10_526)
    RECIPES.get(Clothing1M.recipe)


def test_identity(root: Path, tmp_path: Path) -> None:
    first = small(root).identity()
    assert small(build(tmp_path / "copy")).identity() == first
    change_line(root / "clean_val_key_list.txt", 1, None)
    assert small(root).identity() != first


DAMAGE = {
    "no label": ("noisy_train_key_list.txt", 5, "images/0/77.jpg", "line 5", "has no label"),
    "range": ("clean_label_kv.txt", 2, "images/0/1000.jpg 14", "line 2: label 14", "0 to 13"),
    "malformed": ("noisy_label_kv.txt", 1, "images/0/1.jpg", "line 1", "a class number"),
    "two labels": ("noisy_label_kv.txt", 1, "images/0/0.jpg 5", "labels 5 and 0", "line 1"),
    "upwards": ("noisy_label_kv.txt", 9, "images/../../x.jpg 1", "line 9", "without .."),
    "shared": ("clean_val_key_list.txt", 2, "images/0/2000.jpg", "is also a test image"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_lists(root: Path, damage: str) -> None:
    name, line, text, *parts = DAMAGE[damage]
    change_line(root / name, line, text)
    refused(small(root), str(root / name), *parts)


def test_missing_files(root: Path, tmp_path: Path) -> None:
    (root / "images" / "0" / "0.jpg").unlink()
    refused(small(root), "noisy_train_key_list.txt: line 1: no such file", "0.jpg")
    (root / "clean_label_kv.txt").unlink()
    refused(small(root), "no such file", "clean_label_kv.txt")
    (root / "noisy_train_key_list.txt").unlink()
    refused(small(root), "noisy_train_key_list.txt", "images/")
    with pytest.raises(InputError, match="no library fetches this set"):
        Clothing1M(path=str(tmp_path)).prepare()
    assert len(Clothing1M(path=str(tmp_path)).published()) == 5


def test_a_class_without_images(root: Path) -> None:
    lines = (root / "noisy_train_key_list.txt").read_text().splitlines()
    kept = [line for i, line in enumerate(lines) if i % 14 != 3]
    (root / "noisy_train_key_list.txt").write_text("\n".join(kept))
    refused(small(root), "class 3 has no training image")


def test_a_cell_to_its_record(tmp_path: Path) -> None:
    root = build(tmp_path / "set", "joined")
    record = run_small(
        tmp_path / "r", f"clothing1m:{root}", params={}, noise="real", method="seta", ratio=0.25
    )
    assert record.status == "done", record.reason
    assert record.ledger["trained"] == 84
    assert record.metrics["realised_ratio"] == pytest.approx(0.25)
