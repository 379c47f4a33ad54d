"""MNIST and Fashion-MNIST from idx files: what is read, every kind of damage, and a run."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.datasets.locate import limited_rows
from prunebench.datasets.sources.idx import FashionMnist, Idx, Mnist, read_idx
from prunebench.datasets.verify import verify
from prunebench.errors import InputError
from support.origins import check_ids
from support.published import idx_bytes, idx_tree

RNG = np.random.default_rng(0)
TRAIN_Y, TEST_Y = (RNG.permutation(np.arange(n) % 10).astype(np.uint8) for n in (60, 20))
TRAIN_X = RNG.integers(0, 256, (60, 28, 28)).astype(np.uint8)
TEST_X = RNG.integers(0, 256, (20, 28, 28)).astype(np.uint8)
NAMES = [file.path.removesuffix(".gz") for file in Mnist().published()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    idx_tree(tmp_path / "mnist", (TRAIN_X, TRAIN_Y), (TEST_X, TEST_Y))
    return tmp_path / "mnist"


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        Mnist(path=str(folder), **options).load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_content(source: Idx) -> None:
    source.check()
    raw = source.load()
    assert torch.equal(raw.train_x[:, 0], torch.from_numpy(TRAIN_X))
    assert torch.equal(raw.test_x[:, 0], torch.from_numpy(TEST_X))
    assert (raw.train_y.tolist(), raw.test_y.tolist()) == (TRAIN_Y.tolist(), TEST_Y.tolist())
    assert (raw.num_classes, raw.augment, raw.train_y.dtype) == (10, "none", torch.int64)
    assert raw.mean[0] == pytest.approx(TRAIN_X.mean() / 255)
    assert raw.asymmetric == source.asymmetric_rule()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "mnist"])
def test_reads_what_was_written(tmp_path: Path, monkeypatch, packed: bool, place: str) -> None:
    idx_tree(tmp_path / place, (TRAIN_X, TRAIN_Y), (TEST_X, TEST_Y), packed=packed)
    check_content(Mnist(path=str(tmp_path)))
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path))
    check_content(Mnist())


def test_the_two_sets(tmp_path: Path) -> None:
    idx_tree(tmp_path / "fashion-mnist", (TRAIN_X, TRAIN_Y), (TEST_X, TEST_Y))
    raw = FashionMnist(path=str(tmp_path)).load()
    assert (raw.class_names[9], raw.asymmetric) == ("Ankle boot", "next_class")
    with pytest.raises(InputError, match=r"not found below .*data prepare mnist"):
        Mnist(path=str(tmp_path)).load()
    assert Mnist.rule == "asym_digits"


def test_limits_are_nested_and_in_the_key(folder: Path) -> None:
    small = Mnist(path=str(folder), limit=10, test_limit=4).load()
    rows = limited_rows(60, 10)
    assert torch.equal(small.train_x[:, 0], torch.from_numpy(TRAIN_X[rows]))
    assert small.train_y.tolist() == TRAIN_Y[rows].tolist()
    assert len(small.test_y) == 4
    check_ids(small, Mnist(path=str(folder)).load())
    large = Mnist(path=str(folder), limit=30)
    assert np.isin(rows, limited_rows(60, 30)).all()
    assert small.fingerprint != large.load().fingerprint
    assert large.portable() == {"limit": 30, "test_limit": None}


def test_identity_follows_the_bytes_not_the_path(folder: Path, tmp_path: Path) -> None:
    idx_tree(tmp_path / "copy", (TRAIN_X, TRAIN_Y), (TEST_X, TEST_Y))
    here, copy = Mnist(path=str(folder)), Mnist(path=str(tmp_path / "copy"))
    assert here.identity() != ""
    for name in NAMES:
        (tmp_path / "copy" / f"{name}.gz").write_bytes((folder / f"{name}.gz").read_bytes())
    assert here.identity() == copy.identity()
    idx_tree(tmp_path / "copy", (TRAIN_X, TRAIN_Y[::-1]), (TEST_X, TEST_Y))
    assert here.identity() != copy.identity()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(idx_bytes(TRAIN_X))[:-500], "damaged"),
        (b"no gzip at all", "damaged"),
        (gzip.compress(idx_bytes(TRAIN_X)[:-1]), "values for sizes [60, 28, 28]"),
        (gzip.compress(idx_bytes(TRAIN_X) + b"x"), "values for sizes [60, 28, 28]"),
        (gzip.compress(idx_bytes(TRAIN_X)[:9]), "no idx header"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\x01\0"), "no idx header"),
        (gzip.compress(b""), "no idx header"),
        (gzip.compress(idx_bytes(TRAIN_X[:-1])), "60 labels for 59 images"),
        (gzip.compress(idx_bytes(TRAIN_X.reshape(60, -1))), "2 dimensions"),
        (gzip.compress(idx_bytes(TRAIN_X[:, :20])), "accepted: (20, 28)"),
    ],
    ids=range(10),
)
def test_damaged_images(folder: Path, content: bytes, said: str) -> None:
    (folder / f"{NAMES[0]}.gz").write_bytes(content)
    assert said in refusal(folder)


def test_damaged_labels(folder: Path) -> None:
    wrong = TRAIN_Y.copy()
    wrong[7] = 10
    (folder / f"{NAMES[1]}.gz").write_bytes(gzip.compress(idx_bytes(wrong)))
    assert "label 10 at image 7; accepted: 0 to 9" in refusal(folder)
    with pytest.raises(InputError, match="label 10"):
        Mnist(path=str(folder)).check()
    (folder / f"{NAMES[3]}.gz").unlink()
    assert "no such file" in refusal(folder)


def test_an_idx_file_of_any_rank(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (3, 4, 5, 2)).astype(np.uint8)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    assert np.array_equal(read_idx(tmp_path / "a"), array)


def test_verify_sees_through_the_packing(folder: Path, monkeypatch) -> None:
    source = Mnist(path=str(folder))
    assert {f.state for f in verify(source)} == {"differs"}
    plain = {name: gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in NAMES}
    inside = {name: f"md5:{hashlib.md5(data).hexdigest()}" for name, data in plain.items()}
    monkeypatch.setattr(Mnist, "contents", inside)
    found = verify(source)
    assert [(f.state, "packed again" in f.detail) for f in found] == [("ok", True)] * 4
    first = folder / NAMES[0]
    first.write_bytes(plain[NAMES[0]])
    (folder / f"{NAMES[0]}.gz").unlink()
    assert (verify(source)[0].file, verify(source)[0].state) == (str(first), "ok")
    first.write_bytes(plain[NAMES[0]][:-1])
    assert verify(source)[0].state == "differs"
    first.unlink()
    assert verify(source)[0].state == "missing"


def test_a_run(folder: Path, tmp_path: Path) -> None:
    cell = resolve_cell(
        dataset=f"mnist:{folder}", noise="asymmetric:0.4", method="infobatch", ratio=0.3,
        recipe="digits", recipe_params={"epochs": 2, "batch_size": 16},
    )  # fmt: skip
    record, _ = run_cell(cell, Store.open(tmp_path / "out"))
    assert record.status in ("done", "diverged"), record.reason
    assert record.spec["noise"]["rule"] == "asym_digits"
    assert (record.info["train_size"], record.info["test_size"]) == (56, 20)
    assert str(folder) not in str(record.spec)


def test_real_mnist() -> None:
    folder = os.environ.get("PRUNEBENCH_DATA")
    if not folder:
        pytest.skip("PRUNEBENCH_DATA is unset: no real MNIST")
    source = Mnist(path=folder, limit=100)
    assert [f.state for f in verify(source)] == ["ok"] * 4
    raw = source.load()
    assert (len(raw.train_x), len(raw.test_x)) == (100, 10_000)
    assert raw.test_y.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
