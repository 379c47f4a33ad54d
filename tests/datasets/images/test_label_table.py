"""A table of labels beside class folders: human labels, and every way it can be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.datasets.images.class_folders import Tree, read_tree
from prunebench.datasets.images.label_table import read_labels
from prunebench.datasets.sources.folder import Folder
from prunebench.errors import InputError
from support.trees import write_tree


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree"), train=10, test=3)


def table(path: Path, tree: Tree, labels: Sequence[object], clean: Sequence[object] = ()) -> Path:
    lines = ["file_name,label" + ",clean_label" * bool(clean)]
    columns = (tree.names, labels, clean) if clean else (tree.names, labels)
    lines += [",".join(str(value) for value in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_names_and_numbers_of_classes_and_all_spellings_of_a_path(
    root: Path, tmp_path: Path
) -> None:
    tree = read_tree(root / "train")
    wanted = (tree.labels + 1) % 4
    by_name = table(tmp_path / "a.csv", tree, [tree.classes[label] for label in wanted])
    found = read_labels(by_name, tree)
    assert found.given.tolist() == wanted.tolist()
    assert found.clean.tolist() == tree.labels.tolist()
    text = table(tmp_path / "b.csv", tree, list(wanted), list(wanted[::-1])).read_text()
    head, *lines = text.splitlines()
    turned = [head, *(f"train/{line}" for line in reversed(lines))]
    (tmp_path / "b.csv").write_text("\n".join(turned))
    found = read_labels(tmp_path / "b.csv", tree)
    assert found.given.tolist() == wanted.tolist()
    assert found.clean.tolist() == wanted[::-1].tolist()


def test_the_labels_are_real_noise_and_part_of_the_key(root: Path, tmp_path: Path) -> None:
    tree = read_tree(root / "train")
    wanted = np.where(np.arange(40) % 5 == 0, (tree.labels + 1) % 4, tree.labels)
    file = table(tmp_path / "human.csv", tree, list(wanted))
    plain, source = Folder(path=str(root), size=12), Folder(path=str(root), size=12,
                                                            labels=str(file))  # fmt: skip
    assert plain.portable() == source.portable()
    assert plain.identity() != source.identity()
    assert (plain.variants(), source.variants()) == ((), ("",))
    raw = source.load()
    assert raw.human[""].tolist() == wanted.tolist()
    assert raw.train_y.tolist() == tree.labels.tolist()
    part = Folder(path=str(root), size=12, labels=str(file), limit=7).load()
    assert part.human[""].tolist() == wanted[part.train_origin.ids].tolist()  # type: ignore[union-attr]
    cell = resolve_cell(
        dataset=f"folder:{root}", dataset_params={"size": 12, "labels": str(file)}, noise="real",
        method="full", ratio=0.0, seed=0, recipe_params={"epochs": 1, "batch_size": 16},
    )  # fmt: skip
    record, _ = run_cell(cell, Store.open(tmp_path / "out"))
    assert record.status == "done", record.reason
    assert record.info["noise_rate"] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[:-1], "1 of 40 training images have no label"),
        (lambda lines: [*lines, lines[-1]], "is there in row 40 too"),
        (lambda lines: [*lines[:-1], "class_9/x.png,0"], "no training image 'class_9/x.png'"),
        (lambda lines: [*lines[:-1], "0001.jpg,0"], "4 images have the name '0001.jpg'"),
        (lambda lines: [*lines[:-1], lines[-1].split(",")[0] + ",dog"], "label 'dog'"),
        (lambda lines: [*lines[:-1], lines[-1].split(",")[0] + ",4"], "number from 0 to 3"),
        (lambda lines: ["file,label", *lines[1:]], "file_name"),
        (lambda lines: [*lines[:-1], lines[-1].split(",")[0]], "no value for 'label'"),
    ],
)
def test_bad_tables_end_with_one_line(root: Path, tmp_path: Path, change, words: str) -> None:  # type: ignore[no-untyped-def]
    tree = read_tree(root / "train")
    file = table(tmp_path / "t.csv", tree, list(tree.labels))
    file.write_text("\n".join(change(file.read_text().splitlines())))
    with pytest.raises(InputError) as caught:
        Folder(path=str(root), labels=str(file)).check()
    assert words in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bare_name_that_one_image_has(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", train=2, test=1, classes=2)
    for folder in (tmp_path / "tree" / "train").iterdir():
        for image in folder.iterdir():
            image.rename(folder / f"{folder.name}-{image.name}")
    tree = read_tree(tmp_path / "tree" / "train")
    file = tmp_path / "t.csv"
    file.write_text("File_Name;Label\n" + "".join(f"{n.split('/')[1]};1\n" for n in tree.names))
    assert read_labels(file, tree).given.tolist() == [1, 1, 1, 1]
