"""Data of a user's own: equal samples and labels have equal draws, whatever files hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import prunebench as pb
from prunebench.bench.runs.resolve import build_spec
from prunebench.datasets import cache
from prunebench.datasets.images.class_folders import read_tree
from prunebench.datasets.sources.folder import Folder
from prunebench.datasets.sources.hf import HuggingFace
from prunebench.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CLASSES = ("ant", "bee", "cat", "dog")
SIZES = ((20, 20), (24, 18), (17, 23), (32, 32), (28, 21))
Layouts = dict[str, tuple[str, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Content:
    """Images in the order of class folders, with labels of which a fifth is wrong."""

    tree: Path
    rows: Mapping[str, list[dict[str, Any]]]
    table: Path


def make(root: Path, train: int, test: int) -> Content:
    """``train`` and ``test`` images in five sizes."""
    dice = np.random.default_rng(0)
    centres = dice.integers(40, 216, (len(CLASSES), 4, 4, 3))
    for split, count in (("train", train), ("test", test)):
        for number in range(count):
            label = number % len(CLASSES)
            pixels = centres[label] + dice.normal(0, 40, (4, 4, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            folder = root / "pictures" / split / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{number:05d}.{'png' if number % 3 else 'jpg'}"
            image.resize(SIZES[number // len(CLASSES) % len(SIZES)]).save(folder / name)
    rows: dict[str, list[dict[str, Any]]] = {}
    for split in ("train", "test"):
        source = read_tree(root / "pictures" / split)
        wrong = dice.random(len(source.names)) < 0.2
        rows[split] = [
            {"image": {"bytes": (source.root / name).read_bytes(), "path": None},
             "label": int(label), "people": int((label + flip) % 4), "name": name}
            for name, label, flip in zip(source.names, source.labels, wrong, strict=True)
        ]  # fmt: skip
    table = root / "people.csv"
    lines = [f"{row['name']},{CLASSES[row['people']]}" for row in rows["train"]]
    table.write_text("\n".join(["file_name,label", *lines]))
    return Content(root / "pictures", rows, table)


def save(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)


def layouts(content: Content, root: Path, parts: int) -> Layouts:
    """The content as class folders with a table, one Parquet file a split, and several files."""
    for split, rows in content.rows.items():
        save(root / "one" / f"{split}.parquet", rows)
        step = -(-len(rows) // parts)
        for part in range(parts):
            # Another column's name and texts for numbers: no draw depends on them.
            own = [{"img": row["image"], "kind": CLASSES[row["label"]],
                    "people": CLASSES[row["people"]]}
                   for row in rows[part * step : (part + 1) * step]]  # fmt: skip
            save(root / "split" / split / f"{part:05d}.parquet", own)
    return {
        "folder": (f"folder:{content.tree}", {"labels": str(content.table)}),
        "one": (f"hf:{root / 'one'}", {"human": "people"}),
        "split": (f"hf:{root / 'split'}", {"human": "people", "label": "kind"}),
    }


def check_equal(found: Layouts, out: Path, methods: list[str], noises: list[str], **recipe: Any
                ) -> None:  # fmt: skip
    """Every method gives the same in every layout: bits of accuracy, ids, rows per epoch."""
    for method in methods:
        for noise in noises:
            runs = {
                name: pb.run(
                    dataset, noise=noise, method=method, ratio=0.5, out=out, mlflow=False,
                    quiet=True, dataset_params={"size": 16, **params},
                    recipe_params=recipe,
                )
                for name, (dataset, params) in found.items()
            }  # fmt: skip
            first = runs.pop("folder")
            assert first.record.status in ("done", "diverged"), first.record.reason
            for name, other in runs.items():
                where = f"{method}, {noise}, {name}"
                assert other.key != first.key, where
                assert other.record.metrics == first.record.metrics, where
                for fact in ("label_digest", "noise_rate"):
                    assert other.record.info[fact] == first.record.info[fact], where
                assert other.epochs.equals(first.epochs), where
                assert other.visits.equals(first.visits), where
                assert other.predictions.predicted.equals(first.predictions.predicted), where
                if method in ("random", "el2n"):
                    assert other.kept.tolist() == first.kept.tolist(), where


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Content:
    return make(tmp_path_factory.mktemp("small"), 80, 40)


def test_folders_and_parquet_files_of_one_content_give_one_result(
    small: Content, tmp_path: Path
) -> None:
    check_equal(layouts(small, tmp_path, 3), tmp_path / "out", ["random"], ["real"],
                epochs=1, batch_size=32)  # fmt: skip


@pytest.mark.soak
def test_two_thousand_images_in_five_sizes(tmp_path: Path) -> None:
    content = make(tmp_path, 2000, 400)
    found = layouts(content, tmp_path, 4)
    check_equal(found, tmp_path / "out", ["random", "el2n", "infobatch+align"],
                ["real", "symmetric:0.4"], epochs=3)  # fmt: skip


def salt(dataset: str, **options: Any) -> str:
    return build_spec(dataset=dataset, dataset_params=options).setting[0]


def test_other_content_has_other_draws(small: Content, tmp_path: Path) -> None:
    rows = small.rows["train"]
    test = small.rows["test"]
    changed = {
        "same": (rows, test),
        "order": ([rows[1], rows[0], *rows[2:]], test),
        "image": ([{**rows[0], "image": rows[1]["image"]}, *rows[1:]], test),
        "label": ([{**rows[0], "label": 3}, *rows[1:]], test),
        "people": ([{**rows[0], "people": (rows[0]["people"] + 1) % 4}, *rows[1:]], test),
        "test": (rows, test[1:]),
    }
    salts = {}
    for name, splits in changed.items():
        for split, own in zip(("train", "test"), splits, strict=True):
            save(tmp_path / name / f"{split}.parquet", own)
        salts[name] = salt(f"hf:{tmp_path / name}", human="people", size=16)
    assert len(set(salts.values())) == len(changed)
    options = {"labels": str(small.table), "size": 32}
    assert salt(f"folder:{small.tree}", **options) == salts["same"]
    assert salt(f"folder:{small.tree}") not in salts.values()


def test_arrays_are_equal_by_samples_and_labels(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    x, y = dice.integers(0, 256, (24, 3, 8, 8), dtype=np.uint8), np.arange(24) % 3

    def file(name: str, x: np.ndarray, y: np.ndarray, **more: Any) -> str:
        np.savez_compressed(tmp_path / name, X=x, y=y, X_test=x[:6], y_test=y[:6], **more)
        return f"arrays:{tmp_path / name}.npz"

    whole = file("a", x, y)
    moved = file("b", np.moveaxis(x, 1, 3), y.astype(np.uint8),
                 class_names=np.array(["a", "b", "c"]))  # fmt: skip
    own = pb.task((x, y), (x[:6], y[:6]), name="mine").write(tmp_path)
    assert salt(whole) == salt(moved) == salt(own) == salt(whole, augment="none")
    keys = [build_spec(dataset=dataset).key for dataset in (whole, own, moved)]
    assert keys[0] == keys[1]
    assert keys[1] != keys[2], "class names stand in records"
    flipped = x.copy()
    flipped[23, 0, 0, 0] ^= 1
    others = [file("c", flipped, y), file("d", x, (y + 1) % 3), file("e", x[::-1], y[::-1])]
    assert len({salt(dataset) for dataset in [whole, *others]}) == 4


def test_images_beside_parquet_files_belong_to_the_content(small: Content, tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = small.rows[split][:12] if split == "train" else small.rows[split][:6]
        named = []
        for number, row in enumerate(rows):
            name = f"{split}-{number}.img"
            (tmp_path / name).write_bytes(row["image"]["bytes"])
            named.append({"image": {"bytes": None, "path": name}, "label": number % 2})
        save(tmp_path / f"{split}.parquet", named)
    source = HuggingFace(path=str(tmp_path), size=16)
    before = source.identity()
    assert source.identity() == before
    (tmp_path / "train-3.img").write_bytes(small.rows["train"][30]["image"]["bytes"])
    assert source.identity() != before
    (tmp_path / "train-3.img").unlink()
    with pytest.raises(InputError, match=r"train-3\.img: cannot be read \(No such file"):
        source.identity()


def test_digests_of_large_data_are_kept_for_other_processes(
    small: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(cache, "KEPT_FROM", 100)
    monkeypatch.setattr(cache, "_digests", {})
    file, calls = tmp_path / "data.bin", []

    def digest() -> str:
        calls.append(1)
        return "0" * 64

    file.write_bytes(b"x" * 200)
    for _ in range(2):
        assert cache.digest_once([file], "test", digest) == "0" * 64
        monkeypatch.setattr(cache, "_digests", {})  # as another process begins
    assert len(calls) == 1
    (kept,) = (tmp_path / "digests").iterdir()
    kept.write_text("damaged")
    cache.digest_once([file], "test", digest)
    assert len(calls) == 2
    file.write_bytes(b"y" * 200)
    cache.digest_once([file], "test", digest)
    assert len(calls) == 3
    assert Folder(path=str(small.tree), labels=str(small.table)).identity().startswith("content:")
