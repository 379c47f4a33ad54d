"""Parquet files as Hugging Face has them: equal to class folders, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.datasets.images.class_folders import read_tree
from prunebench.datasets.sources.folder import Folder
from prunebench.datasets.sources.hf import HuggingFace
from prunebench.errors import InputError
from support.origins import check_ids
from support.trees import write_tree

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(file: Path, rows: list[dict[str, Any]], names: list[str] | None = None) -> Path:
    table = pa.Table.from_pylist(rows)
    if names:
        info = {"info": {"features": {"label": {"_type": "ClassLabel", "names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=7)
    return file


def rows_of(root: Path, split: str) -> list[dict[str, Any]]:
    tree = read_tree(root / split)
    return [
        {"image": {"bytes": (tree.root / name).read_bytes(), "path": None}, "label": int(label),
         "people": int(label + (number % 6 == 0)) % 4}
        for number, (name, label) in enumerate(zip(tree.names, tree.labels, strict=True))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    tree = write_tree(tmp_path_factory.mktemp("tree"), train=14, test=3)
    parquet = tmp_path_factory.mktemp("parquet")
    train = rows_of(tree, "train")
    names = [f"class_{n}" for n in range(4)]
    write(parquet / "data" / "train-00000-of-00002.parquet", train[:30], names)
    write(parquet / "data" / "train-00001-of-00002.parquet", train[30:], names)
    write(parquet / "data" / "validation-00000-of-00001.parquet", rows_of(tree, "test"), names)
    return tree, parquet


def test_pixels_labels_and_ids_are_those_of_class_folders(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    tree, parquet = both
    table = tmp_path / "people.csv"
    lines = [f"{name},{row['people']}" for name, row in
             zip(read_tree(tree / "train").names, rows_of(tree, "train"), strict=True)]  # fmt: skip
    table.write_text("\n".join(["file_name,label", *lines]))
    folder = Folder(path=str(tree), size=16, labels=str(table)).load()
    found = HuggingFace(path=str(parquet), size=16, human="people").load()
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert torch.equal(getattr(found, name), getattr(folder, name)), name
    assert torch.equal(found.human[""], folder.human[""])
    assert (found.class_names, found.mean, found.std) == (folder.class_names, folder.mean,
                                                          folder.std)  # fmt: skip
    check_ids(HuggingFace(path=str(parquet), size=16, limit=20, test_limit=5).load(), found)
    digests = []
    for dataset, options in ((f"folder:{tree}", {"labels": str(table)}),
                             (f"hf:{parquet}", {"human": "people"})):  # fmt: skip
        cell = resolve_cell(
            dataset=dataset, dataset_params={"size": 16, **options}, noise="real", ratio=0.5,
            method="random", seed=0, recipe_params={"epochs": 2, "batch_size": 16},
        )  # fmt: skip
        record, _ = run_cell(cell, Store.open(tmp_path / "out"))
        assert record.status in ("done", "diverged"), record.reason
        digests.append(record.info["label_digest"])
    assert digests[0] == digests[1]


def test_texts_paths_and_folders_of_splits(both: tuple[Path, Path], tmp_path: Path) -> None:
    tree, _ = both
    for split in ("train", "test"):
        source = read_tree(tree / split)
        rows = [
            {"img": {"bytes": None, "path": f"images/{split}/{name}"},
             "kind": source.classes[label]}
            for name, label in zip(source.names, source.labels, strict=True)
        ]  # fmt: skip
        write(tmp_path / split / "0.parquet", rows)
        target = tmp_path / "images" / split
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(tree / split)
    found = HuggingFace(path=str(tmp_path), size=16, label="kind").load()
    wanted = Folder(path=str(tree), size=16).load()
    assert torch.equal(found.train_x, wanted.train_x)
    assert torch.equal(found.test_y, wanted.test_y)
    assert found.class_names == wanted.class_names


Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda rows: [{"picture": 1, "label": 0}], {}, "no column image or img"),
        (lambda rows: rows, {"label": "kind"}, "no column kind"),
        (lambda rows: rows, {"human": "kind"}, "no column kind"),
        (lambda rows: [{**r, "label": None} for r in rows[:2]] + rows, {}, "have no label"),
        (lambda rows: [{**r, "label": 0.5} for r in rows], {}, "labels of type double"),
        (lambda rows: [{**r, "label": r["label"] - 1} for r in rows], {}, "-1 at image 0"),
        (lambda rows: [{**r, "label": r["label"] + 4} for r in rows], {}, "class 0 has no"),
        (lambda rows: [{**r, "image": "a.png"} for r in rows], {}, "is of type string"),
        (lambda rows: [{**rows[0], "image": {"bytes": None, "path": "../x"}}, *rows[1:]], {},
         "row 0: no image"),
        (lambda rows: [{**rows[0], "image": {"bytes": b"-", "path": None}}, *rows[1:]], {},
         "row 0: unknown or damaged image format"),
        (lambda rows: [{**r, "image": {"other": 1}} for r in rows], {}, "row 0: no image"),
        (lambda rows: [*rows[:9], {**rows[9], "image": {"bytes": b"-", "path": None}}, *rows[10:]],
         {}, "row 9: unknown or damaged image format"),
        (lambda rows: [{**r, "label": str(r["label"])} for r in rows], {},
         "whole numbers for labels"),
        (lambda rows: [{**r, "people": r["people"] + 9} for r in rows], {"human": "people"},
         "human"),
        (lambda rows: [], {}, "no column image or img"),
    ],
)  # fmt: skip
def test_bad_files_end_with_one_line(
    both: tuple[Path, Path], tmp_path: Path, change: Change, options: dict[str, Any], words: str
) -> None:
    rows = rows_of(both[0], "train")
    write(tmp_path / "train.parquet", change(rows))
    write(tmp_path / "test.parquet", rows_of(both[0], "test"))
    with pytest.raises(InputError) as caught:
        HuggingFace(path=str(tmp_path), size=16, **options).load()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_without_files_and_damaged_ones(tmp_path: Path) -> None:
    for path in ("", str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(InputError, match=r"train-\*\.parquet"):
            HuggingFace(path=path).check()
    for name in ("train", "test"):
        (tmp_path / f"{name}.parquet").write_bytes(b"PAR1" + np.arange(40).tobytes() + b"PAR1")
    with pytest.raises(InputError, match="cannot be read"):
        HuggingFace(path=str(tmp_path)).check()
