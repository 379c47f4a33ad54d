"""Class folders as other systems and other people leave them: names, links, what is left out."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.datasets.images import lazy
from prunebench.datasets.images.lazy import ImageFiles, PathList
from prunebench.datasets.images.packed_format import write_packed
from prunebench.datasets.source import RawData
from prunebench.datasets.sources.folder import Folder
from prunebench.datasets.sources.packed import Packed
from prunebench.errors import InputError, nearest
from support.command import prunebench
from support.trees import write_tree

RUN = ("--dataset-param", "size=8", "--recipe-param", "epochs=1", "--recipe-param", "model=mlp",
       "--reference-size", "3", "--no-mlflow", "--quiet")  # fmt: skip


def refusal(call: Any) -> str:
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.encode()
    return text


def renamed(root: Path, split: str, old: str, new: str | bytes) -> None:
    os.rename(os.fsencode(root / split / old), os.fsencode(root / split) + b"/" + os.fsencode(new))


def test_classes_match_by_their_normal_form(tmp_path: Path) -> None:
    plain = write_tree(tmp_path / "plain", train=3, test=2)
    mixed = Path(shutil.copytree(plain, tmp_path / "mixed"))
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    # Composed it comes behind the others, decomposed before "cafeteria": the orders differ.
    for split, first in (("train", composed), ("test", apart)):
        renamed(mixed, split, "class_0", first)
        renamed(mixed, split, "class_1", "cafeteria")
    got = Folder(path=str(mixed), size=8).load()
    whole = Folder(path=str(plain), size=8).load()
    names = {"class_0": composed, "class_1": "cafeteria"}

    def by_class(raw: RawData, split: str, new: bool) -> dict[str, set[bytes]]:
        x, y = getattr(raw, f"{split}_x"), getattr(raw, f"{split}_y")
        called = raw.class_names if new else [names.get(n, n) for n in raw.class_names]
        return {
            name: {image.numpy().tobytes() for image in x[y == c]} for c, name in enumerate(called)
        }

    for split in ("train", "test"):
        assert by_class(got, split, True) == by_class(whole, split, False)


def test_unknown_names_that_look_like_a_known_one_say_so() -> None:
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    assert "another Unicode form: 'caf\\xe9'" in nearest(apart, ["tea", composed])
    assert "'cafe\\u0301'" in nearest(composed, ["tea", apart])
    assert "form" not in nearest("tee", ["tea", composed])


def test_one_name_in_two_forms_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "t", train=2, test=2)
    for split in ("train", "test"):
        for number, form in enumerate(("NFC", "NFD")):
            renamed(root, split, f"class_{number}", unicodedata.normalize(form, "caf\u00e9"))
    assert "two Unicode forms" in refusal(Folder(path=str(root)).check)


def test_names_that_are_no_text_are_refused_before_training(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "t", train=4, test=2)
    for split in ("train", "test"):
        renamed(root, split, "class_1", b"caf\xe9")
    said = prunebench("run", "--dataset", f"folder:{root}", *RUN, "--out", tmp_path / "r")
    assert said.code == 2
    assert "caf\\udce9" in said.err
    assert not (tmp_path / "r").exists() or not list((tmp_path / "r").glob("records/*"))


def test_names_of_packed_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    bad = ["a", "b\udce9"]
    assert "is no text" in refusal(
        lambda: write_packed(tmp_path / "x.npz", images, [0, 1, 0, 1], class_names=bad)
    )
    for name in ("train", "test"):
        write_packed(tmp_path / f"{name}.npz", images, [0, 1, 0, 1], class_names=["a", "b"])
        with np.load(tmp_path / f"{name}.npz") as file:
            arrays = dict(file)
        np.savez(tmp_path / f"{name}.npz", **{**arrays, "class_names": np.array(bad)})
    assert "b\\udce9" in refusal(Packed(path=str(tmp_path)).check)


def test_own_data_sets_with_such_names_are_refused() -> None:
    x, y = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4) % 2
    assert "is no text" in refusal(lambda: RawData(x, y, x, y, 2, ("a", "\ud800"), "f"))


def test_file_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "t", train=4, test=2)
    folder = root / "train" / "class_0"
    renamed(root / "train", "class_0", "0001.jpg", b"caf\xe9.jpg")
    said = prunebench("run", "--dataset", f"folder:{root}", *RUN, "--out", tmp_path / "r")
    assert said.code == 0, said.err
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"no image")
    root = root.rename(tmp_path / "other")  # a process keeps what it read of one path
    said = prunebench("run", "--dataset", f"folder:{root}", *RUN, "--out", tmp_path / "r2")
    assert said.code == 2
    assert "caf\\udce9.jpg" in said.err


def test_left_out_files_are_counted_in_one_line(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "t", train=4, test=2)
    assert Folder(path=str(root)).notes() == []
    for i, ending in enumerate((".gif", ".gif", ".GIF", ".heic", ".mp4", "", ".x", ".y")):
        (root / "train" / "class_0" / f"f{i}{ending}").write_bytes(b"x")
    for litter in ("Thumbs.db", ".DS_Store", "._f.png"):
        (root / "test" / "class_1" / litter).write_bytes(b"x")
    said = prunebench("run", "--dataset", f"folder:{root}", *RUN, "--out", tmp_path / "r")
    assert said.code == 0
    notes = [line for line in said.err.splitlines() if "left out" in line]
    assert len(notes) == 1
    assert "train: 8 files are left out (3 .gif, " in notes[0]
    assert "and 2 more endings)" in notes[0]
    assert ".webp" in notes[0]


def test_a_folder_that_leads_back_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "t", train=2, test=2)
    (root / "train" / "class_0" / "again").symlink_to(root / "train")
    assert "leads back to a folder above it" in refusal(Folder(path=str(root)).check)
    (root / "train" / "class_0" / "again").unlink()
    other = tmp_path / "elsewhere"
    shutil.copytree(root / "train" / "class_1", other)
    (root / "train" / "class_0" / "more").symlink_to(other)  # links to images stay usable
    assert len(Folder(path=str(root), size=8).load().train_y) == 10


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "t", train=2, test=2)
    pipe = root / "train" / "class_0" / "p.png"
    os.mkfifo(pipe)
    assert "p.png: no regular file" in refusal(Folder(path=str(root)).check)
    files = ImageFiles(PathList(pipe.parent, [pipe.name]), 8)
    assert "p.png: no regular file" in refusal(lambda: files.read([0]))
    pipe.unlink()
    pipe.symlink_to("/dev/zero")
    assert "p.png: no regular file" in refusal(Folder(path=str(root)).check)
    assert "p.png: no regular file" in refusal(lambda: files.read([0]))


def test_a_sparse_file_is_no_image(tmp_path: Path) -> None:
    with (tmp_path / "s.png").open("wb") as file:
        file.truncate(1 << 40)
    files = ImageFiles(PathList(tmp_path, ["s.png"]), 8)
    assert f"at most {lazy._MOST_BYTES:,}" in refusal(lambda: files.read([0]))


@pytest.mark.parametrize("limit", [None, 3])
def test_packed_images_of_several_sizes_are_refused_before_training(
    tmp_path: Path, limit: int | None
) -> None:
    big, small = (torch.zeros(2, 3, side, side, dtype=torch.uint8) for side in (12, 8))
    for name, parts in (("train", (big, small)), ("test", (big, big))):
        encoded = [data for part in parts for data in _encoded(part)]
        write_packed(tmp_path / f"{name}.npz", encoded, [0, 1, 0, 1])
    line = refusal(Packed(path=str(tmp_path), limit=limit).check)
    assert "train.npz: image " in line
    assert "folder:PATH" in line
    assert "size=N" in line


def _encoded(images: torch.Tensor) -> list[bytes]:
    from torchvision.io import encode_png

    return [encode_png(image).numpy().tobytes() for image in images]


def test_a_packed_file_that_explodes_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.9 MB that decode to 5.6 GB; here the same proportion of a hundredth."""
    image = torch.zeros(1, 3, 1000, 1000, dtype=torch.uint8)
    encoded = _encoded(image) * 12
    for name in ("train", "test"):
        write_packed(tmp_path / f"{name}.npz", encoded, [0, 1] * 6)
    Packed(path=str(tmp_path)).check()
    monkeypatch.setattr("prunebench.datasets.images.packed_format._ALWAYS_ALLOWED", 1 << 20)
    monkeypatch.setattr(
        "prunebench.datasets.images.packed_format._decode", lambda *_: pytest.fail("decoded")
    )
    source = Packed(path=str(tmp_path))
    for call in (source.check, source.load):
        line = refusal(call)
        assert "12 images of 1000x1000 pixels" in line
        assert "limit=N" in line


@pytest.mark.parametrize("label", [2**40, 2**62])
def test_a_huge_packed_label_is_refused(tmp_path: Path, label: int) -> None:
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    for name in ("train", "test"):
        write_packed(tmp_path / f"{name}.npz", images, [0, 1, 0, label])
    assert f"label: {label} at image 3" in refusal(Packed(path=str(tmp_path)).check)
