"""CIFAR in its three layouts: what is read, every kind of damage, and a run of each."""

from __future__ import annotations

import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets as torchvision_sets
from torchvision.io import encode_jpeg

from prunebench.bench.cell import CellOptions, run_cell
from prunebench.bench.cells import build_cell
from prunebench.bench.store import Store
from prunebench.datasets import cifar, human
from prunebench.datasets.cifar_tables import CIFAR10, CIFAR100
from prunebench.datasets.content import label_digest
from prunebench.datasets.files import DataFile, limited_rows
from prunebench.datasets.packfile import write_packed
from prunebench.datasets.task import DataSource, RawData
from prunebench.errors import InputError
from prunebench.record import Record
from prunebench.registry import DATASETS
from support.published import Cifar, human_file, images, md5, python2_pickle, served

REAL = os.environ.get("PRUNEBENCH_DATA")
LAYOUTS = ("python", "binary", "packed")
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "root"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def publish(tree: Cifar, monkeypatch: pytest.MonkeyPatch, python: Path | None = None) -> None:
    """Makes a tiny tree the published one."""
    name = "CIFAR10" if tree.base is CIFAR10 else "CIFAR100"
    monkeypatch.setattr(cifar, name, tree.family(python))


def make(
    monkeypatch: pytest.MonkeyPatch, root: Path, layout: str, classes: int = 10, size: int = 10
) -> Cifar:
    tree = Cifar(classes, size)
    folder = getattr(tree, layout)(root)
    publish(tree, monkeypatch, folder if layout == "python" else None)
    return tree


def source(name: str = "cifar10", **options: Any) -> DataSource:
    made: DataSource = DATASETS.get(name).target(**options)
    return made


def load(name: str = "cifar10", **options: Any) -> RawData:
    return source(name, **options).load()


def refusal(name: str = "cifar10", **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def with_labels(
    monkeypatch: pytest.MonkeyPatch, path: Path, tree: Cifar, clean: Any = None
) -> dict[str, np.ndarray]:
    """Writes a human label file beside a tree and makes it the published one."""
    dataset = "cifar10n" if tree.base is CIFAR10 else "cifar100n"
    classes, n = len(tree.base.class_names), len(tree.train_y)
    rng = np.random.default_rng(7)
    arrays = {
        name: tree.train_y if name == human.CLEAN
        else np.where(rng.random(n) < 0.4, rng.integers(0, classes, n), tree.train_y)
        for name in human.LABEL_FILES[dataset].arrays
    }  # fmt: skip
    if clean is not None:
        arrays[human.CLEAN] = clean
    monkeypatch.setitem(human.LABEL_FILES, dataset, human_file(path, arrays, dataset))
    return arrays


@pytest.mark.parametrize("layout", LAYOUTS)
def test_human_labels_follow_the_rows(monkeypatch, root: Path, layout: str) -> None:
    tree = make(monkeypatch, root, layout)
    arrays = with_labels(monkeypatch, root / "cifar-n/CIFAR-10_human.pt", tree)
    rows = limited_rows(50, 20)
    raw = load("cifar10n", limit=20)
    assert set(raw.human) == {"aggregate", "worst", "random1", "random2", "random3"}
    assert set(source("cifar10n").variants() or ()) == set(raw.human)
    for name, labels in raw.human.items():
        assert labels.tolist() == arrays[name][rows].tolist()
    assert raw.train_y.tolist() == tree.train_y[rows].tolist()
    assert "CC BY-NC 4.0" in raw.licence
    source("cifar10n").check()


def test_the_label_file_is_part_of_the_identity(monkeypatch, root: Path, tmp_path: Path) -> None:
    tree = make(monkeypatch, root, "packed")
    with_labels(monkeypatch, tmp_path / "CIFAR-10_human.pt", tree)
    given = str(tmp_path / "CIFAR-10_human.pt")
    first = source("cifar10n", labels=given)
    assert "labels" not in first.portable()
    assert first.identity() != source("cifar10").identity()
    (root / "cifar-n").mkdir()
    shutil.copy(given, root / "cifar-n/CIFAR-10_human.pt")
    assert source("cifar10n").identity() == first.identity()
    (root / "cifar-n/CIFAR-10_human.pt").write_bytes(b"x")
    assert source("cifar10n").identity() != first.identity()
    assert "the published file" in refusal("cifar10n")


def test_labels_in_another_order_are_refused(monkeypatch, root: Path) -> None:
    tree = make(monkeypatch, root, "packed")
    path = root / "cifar-n/CIFAR-10_human.pt"
    wrong = tree.train_y.copy()
    wrong[[4, 5]] = (wrong[[4, 5]] + 1) % 10
    with_labels(monkeypatch, path, tree, clean=wrong)
    assert "clean labels differ from those of the images, first at 4" in refusal("cifar10n")
    path.unlink()
    assert "CIFAR-10_human.pt not found" in refusal("cifar10n")


def run(tmp_path: Path, **fields: Any) -> Record:
    fields.setdefault("recipe_params", {"epochs": 2, "batch_size": 16})
    cell = build_cell(recipe="digits", **fields)
    store = Store.open(tmp_path / "results")
    return run_cell(cell.spec, store, CellOptions(data=cell.data))[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_on_each_layout(monkeypatch, root: Path, tmp_path: Path, layout: str) -> None:
    tree = make(monkeypatch, root, layout)
    arrays = with_labels(monkeypatch, root / "cifar-n/CIFAR-10_human.pt", tree)
    record = run(tmp_path, dataset=f"cifar10n:{root}", noise="real:worst", method="infobatch",
                 ratio=0.3)  # fmt: skip
    assert record.status in ("done", "diverged"), record.reason
    assert record.spec["dataset"]["params"]["images"] == layout
    assert record.spec["noise"]["rule"] == "real:worst"
    assert str(root) not in str(record.spec)
    assert record.info["label_digest"] == label_digest(torch.from_numpy(arrays["worst"]))
    assert record.info["train_size"] == 47  # 7 % of 50 held out


def test_cifar100n_has_one_set_of_human_labels(monkeypatch, root: Path, tmp_path: Path) -> None:
    tree = make(monkeypatch, root, "binary", 100, 200)
    arrays = with_labels(monkeypatch, root / "cifar-n/CIFAR-100_human.pt", tree)
    record = run(tmp_path, dataset="cifar100n", noise="real")
    assert record.spec["noise"]["rule"] == "real"
    assert record.info["label_digest"] == label_digest(torch.from_numpy(arrays[""]))
    noisy = run(tmp_path, dataset="cifar100n", noise="asymmetric:0.5")
    assert noisy.spec["noise"]["rule"] == "asym_super_uniform"
    with pytest.raises(InputError, match=r"unknown variant 'worst'; accepted: real$"):
        build_cell(dataset="cifar100n", noise="real:worst", recipe="digits")


def test_real_needs_a_variant_on_cifar10n(monkeypatch, root: Path) -> None:
    tree = make(monkeypatch, root, "packed")
    with_labels(monkeypatch, root / "cifar-n/CIFAR-10_human.pt", tree)
    for noise in ("real", "real:best"):
        with pytest.raises(InputError, match=r"real:aggregate, real:random1, .*, real:worst"):
            build_cell(dataset="cifar10n", noise=noise, recipe="digits")


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


def test_real_images_and_labels(monkeypatch, tmp_path: Path) -> None:
    if not REAL:
        pytest.skip("PRUNEBENCH_DATA is unset: no real CIFAR-10")
    monkeypatch.setenv("PRUNEBENCH_DATA", REAL)
    record = run(tmp_path, dataset="cifar10n", noise="real:worst",
                 dataset_params={"limit": 500, "test_limit": 200})  # fmt: skip
    assert record.status in ("done", "diverged")
    raw = load("cifar10n", limit=500, test_limit=200)
    assert record.info["label_digest"] == label_digest(raw.human["worst"])
    rate = (raw.human["worst"] != raw.train_y).double().mean().item()
    assert rate == pytest.approx(0.402, abs=0.07)  # three sigma of 500 draws
    assert record.info["data"] == raw.fingerprint
    pixels = raw.train_x.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(pixels, torch.tensor(raw.mean).double(), rtol=0, atol=0.03)
