"""CIFAR in its three layouts: what is read, how it is found and named."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets as torchvision_sets
from torchvision.io import encode_jpeg

from prunebench.datasets.images.packed_format import write_packed
from prunebench.datasets.locate import DataFile, limited_rows
from prunebench.datasets.sources.cifar import human
from prunebench.datasets.sources.cifar.tables import CIFAR10, CIFAR100
from prunebench.errors import InputError
from support.cifar import LAYOUTS, load, make, publish, refusal, source, with_labels
from support.origins import check_ids
from support.published import Cifar, md5, served

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", [10, 100])
def test_layouts_hold_the_same(monkeypatch, root: Path, layout: str, classes: int) -> None:
    tree = make(monkeypatch, root, layout, classes, size=10 if classes == 10 else 120)
    name = f"cifar{classes}"
    source(name).check()
    raw = load(name)
    assert torch.equal(raw.train_x, torch.from_numpy(tree.train_x))
    assert torch.equal(raw.test_x, torch.from_numpy(tree.test_x))
    assert (raw.train_y.tolist(), raw.test_y.tolist()) == (
        tree.train_y.tolist(), tree.test_y.tolist(),
    )  # fmt: skip
    assert (raw.num_classes, len(raw.class_names), raw.augment) == (classes, classes, "crop_flip")
    assert raw.human == {}
    assert raw.asymmetric == ("asym_pairs" if classes == 10 else "asym_super_uniform")
    assert raw.asymmetric == source(name).asymmetric_rule()
    assert (raw.groups is None) == (classes == 10)
    assert source(name).portable() == {"images": layout, "limit": None, "test_limit": None}


def test_classes_and_super_classes_are_the_published() -> None:
    assert len(set(CIFAR100.class_names)) == 100
    assert list(CIFAR100.class_names) == sorted(CIFAR100.class_names)
    assert np.bincount(CIFAR100.coarse).tolist() == [5] * 20
    members = {
        CIFAR100.class_names[c] for c in range(100) if CIFAR100.coarse[c] == CIFAR100.coarse[4]
    }
    assert members == {"beaver", "dolphin", "otter", "seal", "whale"}
    assert CIFAR10.class_names[3] == "cat"


def test_limits_take_the_same_rows_everywhere(monkeypatch, root: Path) -> None:
    tree = make(monkeypatch, root, "binary")
    tree.packed(root)
    rows = limited_rows(50, 20)
    for layout in ("binary", "packed"):
        raw = load(images=layout, limit=20, test_limit=3)
        assert torch.equal(raw.train_x, torch.from_numpy(tree.train_x[rows]))
        assert raw.train_y.tolist() == tree.train_y[rows].tolist()
        assert len(raw.test_x) == 3
        check_ids(raw, load(images=layout))
    assert source(limit=20).portable()["limit"] == 20
    assert load(images="binary", limit=20).fingerprint != load(images="binary").fingerprint


def test_originals_come_first_and_layouts_have_their_own_identity(monkeypatch, root: Path) -> None:
    tree = Cifar()
    python, identities = None, []
    for layout in reversed(LAYOUTS):
        folder = getattr(tree, layout)(root)
        python = folder if layout == "python" else None
        publish(tree, monkeypatch, python)
        assert source().portable()["images"] == layout
        identities.append(source().identity())
    assert len(set(identities)) == 3
    assert [source(images=x).identity() for x in reversed(LAYOUTS)] == identities


def test_identity_follows_the_content(monkeypatch, root: Path, tmp_path: Path) -> None:
    tree = make(monkeypatch, root, "packed")
    here = source().identity()
    shutil.copytree(root, tmp_path / "elsewhere")
    for place in ("elsewhere", "elsewhere/cifar10-jpeg"):
        assert source(path=str(tmp_path / place)).identity() == here
    write_packed(root / "cifar10-jpeg/test.npz", torch.from_numpy(tree.test_x[::-1].copy()),
                 tree.test_y)  # fmt: skip
    assert source().identity() != here


def test_jpeg_pixels_are_told_from_originals(monkeypatch, root: Path) -> None:
    tree = make(monkeypatch, root, "packed")
    assert "JPEG" not in load().licence
    encoded = [encode_jpeg(torch.from_numpy(x)).numpy().tobytes() for x in tree.train_x]
    write_packed(root / "cifar10-jpeg/train.npz", encoded, tree.train_y)
    assert "JPEG copies" in load().licence


def test_missing_images_name_every_layout(monkeypatch, root: Path) -> None:
    said = refusal()
    for part in ("cifar-10-batches-py/data_batch_1", "cifar-10-batches-bin/data_batch_1.bin",
                 "cifar10-jpeg/train.npz", str(root), "data prepare cifar10"):  # fmt: skip
        assert part in said
    (root / "train").mkdir(parents=True)  # a folder of that name is no CIFAR-100 file
    assert "cifar-100-python/train" in refusal("cifar100")
    make(monkeypatch, root, "binary")
    assert "cifar10-jpeg/train.npz not found" in refusal(images="packed")
    (root / "cifar-10-batches-bin/data_batch_4.bin").unlink()
    assert "no such file" in refusal()


def test_prepare_downloads_and_unpacks(monkeypatch, root: Path, tmp_path: Path) -> None:
    tree, site = Cifar(), tmp_path / "site"
    folder = tree.python(site)
    publish(tree, monkeypatch, folder)
    with_labels(monkeypatch, site / "CIFAR-10_human.pt", tree)
    with tarfile.open(site / "cifar.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    known = torchvision_sets.CIFAR10
    with served(site) as address:
        monkeypatch.setattr(known, "url", f"{address}/cifar.tar.gz")
        monkeypatch.setattr(known, "filename", "cifar.tar.gz")
        monkeypatch.setattr(known, "tgz_md5", md5(site / "cifar.tar.gz"))
        monkeypatch.setattr(human, "URL", address)
        assert source("cifar10n").prepare() == root / "cifar-10-batches-py"
    assert torch.equal(load("cifar10n").train_x, torch.from_numpy(tree.train_x))
    source("cifar10n").prepare()  # all is there: the network is not asked
    with pytest.raises(InputError, match="cifar10-jpeg"):
        source(images="packed").prepare()


def test_published_files_follow_the_layout(monkeypatch, root: Path) -> None:
    assert source().published() == list(CIFAR10.python)
    assert (
        DataFile("CIFAR-10_human.pt", human.LABEL_FILES["cifar10n"].digest)
        in source("cifar10n").published()
    )
    make(monkeypatch, root, "binary")
    assert [f.path for f in source().published()][-1] == "test_batch.bin"
