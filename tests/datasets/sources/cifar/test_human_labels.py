"""Human labels of CIFAR: which rows they follow, when they are refused, runs with them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from prunebench.bench.runs.resolve import resolve_cell
from prunebench.datasets.digests import label_digest
from prunebench.datasets.locate import limited_rows
from prunebench.errors import InputError
from support.cifar import LAYOUTS, load, make, refusal, run, source, with_labels

REAL = os.environ.get("PRUNEBENCH_DATA")
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


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
        resolve_cell(dataset="cifar100n", noise="real:worst", recipe="digits")


def test_real_needs_a_variant_on_cifar10n(monkeypatch, root: Path) -> None:
    tree = make(monkeypatch, root, "packed")
    with_labels(monkeypatch, root / "cifar-n/CIFAR-10_human.pt", tree)
    for noise in ("real", "real:best"):
        with pytest.raises(InputError, match=r"real:aggregate, real:random1, .*, real:worst"):
            resolve_cell(dataset="cifar10n", noise=noise, recipe="digits")


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
