"""Class-folder trees: pixels, listing, identity, and every way a tree can be wrong."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from prunebench.datasets.images.lazy import ImageFiles, PathList, decode_unless_streamed
from prunebench.datasets.sources.folder import Folder
from prunebench.errors import InputError
from support.origins import check_ids
from support.trees import write_tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), train=12, test=3)


@pytest.mark.parametrize(
    ("resize", "transform"),
    [
        ("exact", transforms.Resize((16, 16))),
        ("short", transforms.Compose([transforms.Resize(16), transforms.CenterCrop(16)])),
    ],
)
def test_order_labels_and_pixels_are_those_of_torchvision(tree, resize, transform):
    theirs = ImageFolder(tree / "train", transforms.Compose([transform, transforms.PILToTensor()]))
    raw = Folder(path=str(tree), size=16, resize=resize, stream="yes").load()
    assert raw.train_x.shape == (48, 3, 16, 16)
    assert raw.train_x.dtype == torch.uint8
    assert torch.equal(raw.train_x.read(range(48)), torch.stack([x for x, _ in theirs]))
    assert raw.train_y.tolist() == theirs.targets
    assert list(raw.class_names) == theirs.classes
    assert raw.train_x.name(0) == theirs.samples[0][0]


def test_sizes_between_which_short_resizing_rounds_agree_with_torchvision(tmp_path):
    rng = np.random.default_rng(3)
    sizes = [(17, 40), (41, 17), (16, 16), (100, 16), (16, 31), (15, 90), (333, 250)]
    for i, (w, h) in enumerate(sizes):
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    names = [f"{i}.png" for i in range(len(sizes))]
    wanted = transforms.Compose(
        [transforms.Resize(16), transforms.CenterCrop(16), transforms.PILToTensor()]
    )
    got = ImageFiles(PathList(tmp_path, names), 16, "short").read(range(len(names)))
    for image, name in zip(got, names, strict=True):
        assert torch.equal(image, wanted(Image.open(tmp_path / name)))


def test_resident_and_streamed_hold_the_same(tree):
    lazy, here = (Folder(path=str(tree), size=12, stream=s).load() for s in ("yes", "no"))
    assert isinstance(lazy.train_x, ImageFiles)
    assert isinstance(here.train_x, torch.Tensor)
    for a, b in ((lazy.train_x, here.train_x), (lazy.test_x, here.test_x)):
        assert torch.equal(a.read(torch.arange(len(a))), b)
    assert (lazy.mean, lazy.std, lazy.fingerprint) == (here.mean, here.std, here.fingerprint)
    rows = torch.tensor([7, 3, 3])
    assert torch.equal(lazy.train_x.read(rows), here.train_x[rows])


def test_auto_streams_only_what_is_large(tree, monkeypatch):
    auto = Folder(path=str(tree), size=12).load()
    assert isinstance(auto.train_x, torch.Tensor)
    monkeypatch.setattr("prunebench.datasets.images.lazy.RESIDENT_BYTES", 48 * 3 * 12 * 12)
    assert isinstance(Folder(path=str(tree), size=12).load().train_x, ImageFiles)
    files = Folder(path=str(tree), size=12, stream="yes").load().train_x
    assert isinstance(decode_unless_streamed([files], "auto", 1)[0], torch.Tensor)


def test_limits_are_nested_and_the_key_names_no_path(tree):
    few, more = (Folder(path=str(tree), size=8, stream="yes", limit=n).load() for n in (5, 20))
    names = [{x.name(i) for i in range(len(x))} for x in (few.train_x, more.train_x)]
    assert len(names[0]) == 5
    limited, whole = (
        Folder(path=str(tree), size=8, stream="yes", **limits).load()
        for limits in ({"limit": 20, "test_limit": 4}, {})
    )
    check_ids(limited, whole)
    assert names[0] < names[1]
    source = Folder(path=str(tree), workers=2, stream="yes")
    assert not {"path", "workers", "stream"} & set(source.portable())
    assert source.asymmetric_rule() == "next_class"
    assert Folder(path=str(tree), asymmetric="derangement").asymmetric_rule() == "derangement"


def test_identity_follows_names_sizes_and_content(tmp_path):
    a, b = write_tree(tmp_path / "a", 3, 2), write_tree(tmp_path / "b", 3, 2)
    first = Folder(path=str(a)).identity()
    assert Folder(path=str(b)).identity() == first  # wherever it lies
    file = b / "train" / "class_1" / "0001.jpg"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    changed = Folder(path=str(b)).identity()
    assert changed != first
    file.rename(file.with_name("0009.jpg"))
    renamed = Folder(path=str(b)).identity()
    assert renamed not in (first, changed)
    (b / "test").rename(b / "val")
    assert Folder(path=str(b)).identity() == renamed


def test_large_trees_are_identified_by_their_listing_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("prunebench.datasets.images.class_folders.CONTENT_BYTES", 100)
    a = write_tree(tmp_path / "a", 3, 2)
    monkeypatch.setattr(
        "prunebench.datasets.images.class_folders.file_digest", lambda path: pytest.fail("read")
    )
    first = Folder(path=str(a)).identity()
    (a / "train" / "class_0" / "0000.png").unlink()
    assert Folder(path=str(a)).identity() != first


def test_large_listings_are_kept_until_a_folder_changes(tmp_path, monkeypatch):
    monkeypatch.setattr("prunebench.datasets.images.class_folders._KEPT_FROM", 1)
    a = write_tree(tmp_path / "a", 3, 2)
    Folder(path=str(a)).identity()
    with monkeypatch.context() as patch:
        patch.setattr(
            "prunebench.datasets.images.class_folders._list",
            lambda root: pytest.fail("listed again"),
        )
        first = Folder(path=str(a)).identity()
    (a / "test" / "class_2" / "0001.jpg").unlink()
    assert Folder(path=str(a)).identity() != first


def spoil(root, how):
    images = root / "train" / "class_1"
    if how == "no train":
        (root / "train").rename(root / "training")
    elif how == "no test":
        (root / "test").rename(root / "held")
    elif how == "empty class":
        for file in images.iterdir():
            file.unlink()
    elif how == "other class":
        (root / "test" / "class_1").rename(root / "test" / "class_x")
    elif how == "missing class":
        for file in (root / "test" / "class_3").iterdir():
            file.unlink()
        (root / "test" / "class_3").rmdir()
    elif how == "no classes":
        (root / "test").rename(root / "old")
        (root / "test").mkdir()
        (root / "test" / "stray.jpg").write_bytes(b"x")
    elif how == "no images":
        for file in images.iterdir():
            file.rename(file.with_suffix(".txt"))
    elif how == "empty file":
        (images / "0001.jpg").write_bytes(b"")
    elif how == "one class":
        for split in ("train", "test"):
            (root / split).rename(root / "aside")
            (root / split).mkdir()
            (root / "aside" / "class_0").rename(root / split / "class_0")
            (root / "aside").rename(root / f"old-{split}")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no train", "no folder .*train.*accepted: PATH/train/<class>"),
        ("no test", r"no folder .*test.*\(or val for test\)"),
        ("empty class", "train: class 'class_1' has no image"),
        ("other class", "train: class 'class_x' of test is missing|class 'class_1' of train"),
        ("missing class", "test: class 'class_3' of train is missing"),
        ("no classes", "test: no class folders"),
        ("no images", "class 'class_1' has no image; accepted: files that end in .jpg"),
        ("empty file", "class_1/0001.jpg: an empty file"),
        ("one class", "train: a single class"),
    ],
)
def test_wrong_trees_are_refused_before_anything_is_decoded(tmp_path, how, said, monkeypatch):
    root = write_tree(tmp_path / "t", 2, 2)
    spoil(root, how)
    monkeypatch.setattr("prunebench.datasets.images.lazy.decode", lambda *a: pytest.fail("decoded"))
    with pytest.raises(InputError, match=said) as caught:
        Folder(path=str(root)).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"path": ""}, "no path"),
        ({"size": 2}, "folder.size"),
        ({"crop": 80}, "folder.crop: 80; accepted: at most 64"),
        ({"augment": "strong"}, "none, crop_flip, resized_crop"),
        ({"resize": "long"}, "exact, short"),
    ],
)
def test_wrong_options_are_refused(tree, params, said):
    with pytest.raises(InputError, match=said):
        Folder(**{"path": str(tree), **params}).check()


def broken(path, how):
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "last byte":
        path.write_bytes(data[:-1])
    elif how == "text":
        path.write_bytes(b"no image at all")
    elif how == "head":
        path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    elif how == "gone":
        path.unlink()
    elif how == "16 bits":
        wide = np.arange(400, dtype=np.uint16).reshape(20, 20) * 100
        Image.fromarray(wide).save(path, format="PNG")


@pytest.mark.parametrize("how", ["truncated", "last byte", "text", "head", "gone", "16 bits"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_damaged_images_give_one_line_that_names_the_file(tmp_path, how, suffix):
    rng = np.random.default_rng(0)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(path)
    files = ImageFiles(PathList(tmp_path, [path.name]), 16)
    files.read([0])
    broken(path, how)
    for read in (lambda: files.read([0]), lambda: files.read_all(2)):
        with pytest.raises(InputError) as caught:
            read()
        assert f"image.{suffix}: " in str(caught.value)
        assert "\n" not in str(caught.value)


def test_grey_images(tmp_path):
    images = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    names = [f"{i}.png" for i in range(3)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image.numpy()).save(tmp_path / name)
    files = ImageFiles(PathList(tmp_path, names), 8)
    assert torch.equal(files.read([2, 0]), images[[2, 0], None].expand(2, 3, 8, 8))


def test_names_of_any_kind(tmp_path):
    name = os.fsdecode(b"odd \xff\xc3\xa9.png")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "plain.png")
    os.rename(tmp_path / "plain.png", tmp_path / name)
    files = ImageFiles(PathList(tmp_path, [name]), 8)
    assert files.read([0])[0, :, 0, 0].tolist() == [1, 2, 3]
    assert files.name(0).endswith(name)
