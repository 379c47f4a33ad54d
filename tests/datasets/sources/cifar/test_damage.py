"""Every kind of damage to CIFAR's files is refused by name."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.datasets.images.packed_format import write_packed
from prunebench.datasets.sources.cifar.tables import CIFAR100
from prunebench.errors import InputError
from support.cifar import load, make, publish, refusal, source
from support.published import Cifar, images, python2_pickle

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


def test_python_files_are_read_only_if_they_are_the_published(monkeypatch, root: Path) -> None:
    make(monkeypatch, root, "python")
    file = root / "cifar-10-batches-py/data_batch_3"
    file.write_bytes(file.read_bytes()[:-1000])
    said = refusal()
    assert "data_batch_3: md5 is" in said
    assert "the published file" in said
    with pytest.raises(InputError, match="data_batch_3"):
        source().check()


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


def batch(**changes: Any) -> bytes:
    content = {"data": images(np.zeros(10, int)).reshape(10, -1), "labels": list(range(10))}
    return python2_pickle({**content, **changes})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"data": Evil()}), "names posix.mkdir"),
        (pickle.dumps({"data": Path("x")}), "names pathlib"),
        (b"", "cannot be read"),
        (batch()[:-3000], "cannot be read"),
        (pickle.dumps([1]), "no images with labels"),
        (batch(labels=list(range(9))), "no images with labels"),
        (batch(data=np.zeros((10, 5), np.uint8)), "no images with labels"),
        (batch(labels=[0] * 9 + [10]), "label 10 at image"),
        (batch(labels=[-1] * 10), "label -1 at image"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": ["a", "b"]}),
         "labels are no integers"),
        (batch(labels=list(range(10))[::-1]), "50 training labels, not those of cifar10"),
    ],
    ids=range(11),
)  # fmt: skip
def test_damage_behind_a_matching_checksum(
    monkeypatch, root: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = Cifar()
    folder = tree.python(root)
    (folder / "data_batch_2").write_bytes(content)
    publish(tree, monkeypatch, folder)
    assert said in refusal()
    assert not (tmp_path / "evil").exists()


def test_pickles_of_today_are_read_too(monkeypatch, root: Path) -> None:
    tree = Cifar()
    folder = tree.python(root)
    for protocol, name, part in ((2, "data_batch_1", 0), (3, "test_batch", -1)):
        x, y = tree.parts()[part]
        content = {"data": x.reshape(len(x), -1), "labels": y.tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))
    publish(tree, monkeypatch, folder)
    raw = load()
    assert torch.equal(raw.train_x, torch.from_numpy(tree.train_x))
    assert torch.equal(raw.test_x, torch.from_numpy(tree.test_x))


def test_binary_files_of_another_size(monkeypatch, root: Path) -> None:
    make(monkeypatch, root, "binary")
    file = root / "cifar-10-batches-bin/data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    assert "30729 bytes; accepted: 30730, 10 images of 3073 bytes" in refusal()


@pytest.mark.parametrize("layout", ["python", "binary"])
def test_coarse_labels_must_fit(monkeypatch, root: Path, layout: str) -> None:
    tree = Cifar(100, 120)
    monkeypatch.setattr(tree, "coarse", lambda y: np.asarray(CIFAR100.coarse)[(y + 1) % 100])
    folder = getattr(tree, layout)(root)
    publish(tree, monkeypatch, folder if layout == "python" else None)
    assert "coarse labels do not belong" in refusal("cifar100")


def test_other_images_are_not_taken_for_cifar(monkeypatch, root: Path) -> None:
    tree = make(monkeypatch, root, "packed")
    write_packed(root / "cifar10-jpeg/train.npz", torch.from_numpy(tree.train_x),
                 np.roll(tree.train_y, 1))  # fmt: skip
    assert "not those of cifar10 in the published order; accepted: cifar10; other" in refusal()
    with pytest.raises(InputError, match="published order"):
        source().check()
    write_packed(root / "cifar10-jpeg/train.npz", torch.from_numpy(tree.train_x[:, :, :16]),
                 tree.train_y)  # fmt: skip
    assert "accepted: 32 x 32" in refusal()
