"""Packed image files: round trip, options, and every kind of damage."""

import contextlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import encode_jpeg, encode_png

from prunebench.datasets.images.packed_format import read_pack, write_packed
from prunebench.datasets.sources.packed import Packed
from prunebench.errors import InputError
from support.origins import check_ids

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

C = 3
IMAGES = torch.from_numpy(
    np.random.default_rng(0).integers(0, 256, (30, 3, 16, 16), dtype=np.uint8)
)
LABELS = np.arange(30) % C


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_packed(tmp_path / "train.npz", IMAGES, LABELS)
    write_packed(tmp_path / "test.npz", IMAGES[:6].flip(0), LABELS[:6])
    return tmp_path


def arrays_of(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def png(image: torch.Tensor) -> bytes:
    return encode_png(image).numpy().tobytes()


def test_round_trip_is_lossless(folder: Path) -> None:
    raw = Packed(path=str(folder)).load()
    assert torch.equal(raw.train_x, IMAGES)
    assert torch.equal(raw.test_x, IMAGES[:6].flip(0))
    assert raw.train_y.tolist() == LABELS.tolist()
    assert raw.train_y.dtype == torch.int64
    assert (raw.num_classes, raw.groups, raw.asymmetric) == (C, None, "next_class")
    assert raw.augment == "crop_flip"
    assert raw.mean == pytest.approx((IMAGES.double() / 255).mean((0, 2, 3)).tolist())
    assert torch.equal(Packed(path=str(folder / "train.npz"), workers=3).load().train_x, IMAGES)


def test_written_bytes_depend_on_the_content_only(folder: Path) -> None:
    before = (folder / "train.npz").read_bytes()
    write_packed(folder / "train.npz", [png(i) for i in IMAGES], torch.from_numpy(LABELS))
    assert (folder / "train.npz").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["test.npz", "train.npz"]


def test_jpeg_grey_and_small_images(tmp_path: Path) -> None:
    smooth = torch.linspace(0, 255, 64).reshape(1, 8, 8).to(torch.uint8)
    encoded = [encode_jpeg(smooth, quality=95).numpy().tobytes(), png(smooth)]
    for name in ("train.npz", "test.npz"):
        write_packed(tmp_path / name, encoded, [0, 1])
    raw = Packed(path=str(tmp_path)).load()
    assert raw.train_x.shape == (2, 3, 8, 8)
    assert (raw.train_x[0].int() - raw.train_x[1].int()).abs().max() < 10
    assert torch.equal(raw.train_x[1], smooth.expand(3, 8, 8))
    assert raw.augment == "none"


def test_optional_keys(tmp_path: Path) -> None:
    extras = {"class_names": ("a", "b", "ü", "d"), "groups": (0, 0, 1, 1)}
    stats = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1)}
    write_packed(tmp_path / "train.npz", IMAGES, LABELS, **extras, **stats)
    write_packed(tmp_path / "test.npz", IMAGES, LABELS)
    raw = Packed(path=str(tmp_path)).load()
    assert (raw.class_names, raw.groups) == (extras["class_names"], extras["groups"])
    assert (raw.mean, raw.std) == (stats["mean"], stats["std"])
    assert (raw.num_classes, raw.asymmetric) == (4, "asym_super_uniform")
    chosen = Packed(path=str(tmp_path), asymmetric="derangement", augment="none").load()
    assert (chosen.asymmetric, chosen.augment) == ("derangement", "none")


def test_limit_is_a_fixed_nested_sample(folder: Path) -> None:
    small, large = (Packed(path=str(folder), limit=k, test_limit=2).load() for k in (8, 20))
    assert (len(small.train_x), len(large.train_x), len(small.test_x)) == (8, 20, 2)
    rows = {image.numpy().tobytes() for image in large.train_x}
    assert all(image.numpy().tobytes() in rows for image in small.train_x)
    assert small.num_classes == C
    assert small.fingerprint != large.fingerprint
    check_ids(small, Packed(path=str(folder)).load())
    assert len(Packed(path=str(folder), limit=99).load().train_x) == 30


def test_identity_follows_the_bytes_not_the_path(folder: Path, tmp_path_factory) -> None:
    other = tmp_path_factory.mktemp("copy")
    for name in ("train.npz", "test.npz"):
        (other / name).write_bytes((folder / name).read_bytes())
    first, copy = Packed(path=str(folder)), Packed(path=str(other), workers=2)
    assert first.identity() == copy.identity()
    assert first.portable() == copy.portable()
    assert first.load().fingerprint == copy.load().fingerprint
    write_packed(folder / "train.npz", IMAGES.flip(0), LABELS)
    assert first.identity() != copy.identity()


def refusal(folder: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        Packed(path=str(folder), **options).load()
    text = str(caught.value)
    assert "\n" not in text
    assert str(folder) in text
    return text


def test_missing_files(folder: Path) -> None:
    assert "train and test are one file" in refusal(folder / "test.npz")
    (folder / "test.npz").unlink()
    assert "test.npz" in refusal(folder)
    assert "train.npz" in refusal(folder / "nowhere" / "train.npz")
    with pytest.raises(InputError, match="packed:PATH"):
        Packed().load()


DAMAGE = {
    "jpeg type": ({"jpeg": lambda a: a.astype(np.int16)}, "jpeg: int16"),
    "jpeg shape": ({"jpeg": lambda a: a[None]}, "jpeg: uint8 of shape (1,"),
    "offset type": ({"offset": lambda a: a.astype(np.float64)}, "offset: float64"),
    "label type": ({"label": lambda a: a.astype(np.float32)}, "label: float32"),
    "label shape": ({"label": lambda a: a[:, None]}, "label: uint8 of shape (30, 1)"),
    "offset start": ({"offset": lambda a: a + 1}, "offset: starts at 1"),
    "offset order": ({"offset": lambda a: np.r_[a[:4], a[3], a[5:]]}, "after image 3"),
    "offset end": ({"offset": lambda a: np.r_[a[:-1], a[-1] + 9]}, "offset: ends at"),
    "labels short": ({"label": lambda a: a[:-1]}, "label: 29 labels"),
    "label negative": ({"label": lambda a: a.astype(np.int64) - 1}, "negative at image 0"),
    "label gap": ({"label": lambda a: a + 1}, "class 0 has no training image"),
    "one class": ({"label": lambda a: a * 0}, "a single class"),
    "empty": (
        {"jpeg": lambda a: a[:0], "offset": lambda a: a[:1], "label": lambda a: a[:0]},
        "no images",
    ),
    "names type": ({"class_names": lambda a: np.arange(3)}, "class_names: int64"),
    "names few": ({"class_names": lambda a: np.array(["a", "b"])}, "label: 2 at image 2"),
    "groups length": ({"groups": lambda a: np.array([0, 1])}, "groups: 2 super-class ids"),
    "mean length": ({"mean": lambda a: np.array([0.5])}, "mean: [0.5]"),
    "mean nan": ({"mean": lambda a: np.array([0.5, np.nan, 0.5])}, "mean:"),
    "std zero": ({"std": lambda a: np.array([0.5, 0.0, 0.5])}, "std:"),
    "no jpeg": ({"jpeg": None}, "lacks the key 'jpeg'"),
    "no label": ({"label": None}, "lacks the key 'label'"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_every_broken_field_is_named(folder: Path, case: str) -> None:
    changes, said = DAMAGE[case]
    arrays = arrays_of(folder / "train.npz")
    for key, change in changes.items():
        old = arrays.pop(key, None)
        if change is not None:
            arrays[key] = change(old)
    np.savez(folder / "train.npz", **arrays)
    text = refusal(folder)
    assert said in text
    assert "train.npz" in text


def test_test_file_must_match(folder: Path) -> None:
    write_packed(folder / "test.npz", IMAGES[:2], [0, C])
    assert "test.npz: label: 3 at image 1" in refusal(folder)
    write_packed(folder / "test.npz", IMAGES[:2, :, :8, :8], [0, 1])
    assert "(8, 8)" in refusal(folder)
    write_packed(folder / "test.npz", IMAGES[:2], [0, 1], class_names=("a", "b", "c"))
    assert "class_names" in refusal(folder)


def test_objects_are_never_unpickled(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(folder / "sprung"),)

    arrays = arrays_of(folder / "train.npz")
    arrays["label"] = np.array([Trap()], dtype=object)
    np.savez(folder / "train.npz", **arrays)
    assert "label: holds Python objects" in refusal(folder)
    assert not (folder / "sprung").exists()


def test_truncated_foreign_and_damaged_archives(folder: Path) -> None:
    train = folder / "train.npz"
    whole = train.read_bytes()
    for data in (b"", b"not a zip", whole[: len(whole) // 2], whole[:-30]):
        train.write_bytes(data)
        assert "no readable npz archive" in refusal(folder)
    place = whole.index(b"\x89PNG") + 100
    train.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert "jpeg: damaged" in refusal(folder)


def test_header_that_claims_more_than_is_stored(folder: Path) -> None:
    arrays = arrays_of(folder / "train.npz")
    with zipfile.ZipFile(folder / "train.npz", "w") as archive:
        for key, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array)
            data = buffer.getvalue()
            if key == "jpeg":
                old = f"({len(array)},)".encode()
                data = data.replace(old + b", }" + b" " * 12, b"(" + b"9" * 14 + b",), }", 1)[:400]
            archive.writestr(f"{key}.npy", data)
    assert "jpeg:" in refusal(folder)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (png(IMAGES[0])[:-40], "truncated"),
        (png(IMAGES[0])[:-3], "truncated"),
        (encode_jpeg(IMAGES[0]).numpy().tobytes()[:-40], "damaged"),
        (b"GIF89a" + bytes(40), "unknown image format"),
        (b"x", "unknown image format"),
        (png(IMAGES[0, :, :8]), "8x16 pixels"),
    ],
)
@pytest.mark.parametrize("workers", [1, 4])
def test_bad_image_is_named_by_its_index(
    folder: Path, image: bytes, said: str, workers: int
) -> None:
    encoded = [png(i) for i in IMAGES]
    encoded[17] = encoded[25] = image
    write_packed(folder / "train.npz", encoded, LABELS)
    text = refusal(folder, workers=workers)
    assert "train.npz: image 17: " in text
    assert said in text


def test_sixteen_bit_images_are_refused(folder: Path) -> None:
    buffer = io.BytesIO()
    Image.new("I;16", (16, 16)).save(buffer, "PNG")
    write_packed(folder / "train.npz", [buffer.getvalue()] * 3, [0, 1, 2])
    assert "8 bits a channel" in refusal(folder)


def test_writer_refuses_what_the_reader_would(tmp_path: Path) -> None:
    for images, labels in ((IMAGES, LABELS[:-1]), (IMAGES[:0], []), (IMAGES, LABELS - 1)):
        with pytest.raises(InputError):
            write_packed(tmp_path / "train.npz", images, labels)
    with pytest.raises(InputError, match="mean"):
        write_packed(tmp_path / "train.npz", IMAGES, LABELS, mean=(0.5,))
    assert not list(tmp_path.iterdir())


@pytest.mark.soak
def test_flipped_bytes_never_escape_as_another_error(folder: Path) -> None:
    whole = (folder / "train.npz").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(1500):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), size=3):
            data[place] = rng.integers(0, 256)
        if rng.random() < 0.3:
            data = data[: rng.integers(0, len(data))]
        (folder / "train.npz").write_bytes(data)
        with contextlib.suppress(InputError):
            Packed(path=str(folder), workers=1).load()


def test_real_cifar10_pack() -> None:
    root = os.environ.get("PRUNEBENCH_DATA")
    if not root:
        pytest.skip("PRUNEBENCH_DATA is unset: no real CIFAR-10 pack to decode")
    folder = Path(root) / "cifar10-jpeg"
    train = read_pack(folder / "train.npz")
    assert np.bincount(train.label).tolist() == [5000] * 10
    raw = Packed(path=str(folder), limit=3000, test_limit=500).load()
    assert raw.train_x.shape == (3000, 3, 32, 32)
    assert raw.test_x.shape == (500, 3, 32, 32)
    assert raw.num_classes == 10
    assert raw.asymmetric == "next_class"
    assert raw.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.01)
    assert raw.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=0.01)
