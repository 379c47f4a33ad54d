"""Groups of test samples: what is accepted, and where their accuracies end up."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import prunebench
from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.train.metrics import balanced_accuracy
from prunebench.bench.train.task import load_task, validation_for_test
from prunebench.datasets.groups import class_groups, sample_groups
from prunebench.datasets.images.class_folders import read_tree
from prunebench.datasets.source import identity_of
from prunebench.datasets.sources.arrays import Arrays
from prunebench.datasets.sources.folder import Folder
from prunebench.errors import InputError
from support.command import prunebench as command
from support.trees import write_tree

DICE = np.random.default_rng(3)
Y = np.arange(120) % 3
X = DICE.normal(size=(120, 6)) + 4 * np.eye(6)[Y]
#: Test samples 0 to 19 lie where those of the next class are: whoever learns X has them wrong.
Y_TEST = np.arange(50) % 3
X_TEST = DICE.normal(size=(50, 6)) + 4 * np.eye(6)[(Y_TEST + (np.arange(50) < 20)) % 3]
GROUPS = np.where(np.arange(50) < 20, "=hidden", "seen")
RECIPE = {"epochs": 8, "batch_size": 16}


def own(**parts):
    return prunebench.task((X, Y), (X_TEST, Y_TEST), name="grouped", **parts)


def test_groups_of_own_samples_end_in_a_table_and_a_metric(tmp_path: Path) -> None:
    data = own(test_groups=list(GROUPS)).write(tmp_path)
    said = command("run", "--dataset", data, "--noise", "clean", "--method", "random", "--ratio",
                   "0.3", "--out", tmp_path / "out", "--no-mlflow", "--recipe-param", "epochs=8",
                   "--recipe-param", "batch_size=16", "--reference-size", "20")  # fmt: skip
    assert said.code == 0, said.err
    store = Store.open(tmp_path / "out")
    (record,) = store.scan().records
    table = pd.read_csv(io.BytesIO(store.artifact(record.key, "groups.csv")))
    assert table["group"].tolist() == ["'=hidden", "seen"]  # no formula in a spreadsheet
    assert table["samples"].tolist() == [20, 30]
    hidden, seen = table["test_accuracy"]
    assert hidden < 0.3 < 0.9 < seen
    assert record.metrics["worst_group_accuracy"] == hidden
    whole = (20 * hidden + 30 * seen) / 50
    assert record.metrics["test_accuracy"] == pytest.approx(whole)
    assert record.metrics["balanced_accuracy"] != record.metrics["test_accuracy"]  # 17, 17, 16


def test_groups_change_no_draw_and_enter_the_key(tmp_path: Path) -> None:
    def cell(data: str):
        return resolve_cell(dataset=data, noise="symmetric:0.2", method="random", ratio=0.5,
                            seed=0, reference={"size": 20},
                            recipe_params=RECIPE)  # fmt: skip

    plain, grouped = (cell(one.write(tmp_path)) for one in (own(), own(test_groups=GROUPS)))
    assert plain.spec.key != grouped.spec.key
    first, second = (load_task(one.spec, one.data) for one in (plain, grouped))
    assert torch.equal(first.train.labels, second.train.labels)
    assert first.test_groups is None
    assert second.test_groups is not None
    record, _ = run_cell(plain, Store.open(tmp_path / "out"))
    assert "groups.csv" not in record.artifacts
    assert "worst_group_accuracy" not in record.metrics
    assert record.metrics["balanced_accuracy"] is not None


def test_a_limited_test_split_keeps_the_groups_of_its_rows(tmp_path: Path) -> None:
    path = own(test_groups=np.arange(50) // 25).write(tmp_path).partition(":")[2]
    found = Arrays(path=path, test_limit=10).load()
    assert found.test_groups is not None
    assert found.test_origin is not None
    assert found.test_groups.names == ("0", "1")
    assert torch.equal(found.test_groups.ids, found.test_origin.ids // 25)
    assert identity_of(Arrays(path=path)) == identity_of(Arrays(path=path, test_limit=10))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (GROUPS[:49], "49 groups for 50 test samples"),
        (np.zeros(50, dtype=int), "a single group, 0"),
        (np.ones((50, 1), dtype=int), r"int64 of shape \(50, 1\)"),
        (np.arange(50) / 3, "float64"),
        (np.where(np.arange(50) < 5, " ", "a"), "the name ' '"),
    ],
)
def test_groups_that_do_not_cover_the_test_split_are_refused(groups, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        own(test_groups=groups)
    assert "test_group" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_super_classes_are_groups_and_a_tuning_run_has_none_of_the_test_split() -> None:
    found = class_groups((7, 3, 7), torch.tensor([0, 1, 2, 2]))
    assert found is not None
    assert found.ids.tolist() == [1, 0, 1, 1]
    assert found.names == ("super-class 3", "super-class 7")
    assert class_groups((1, 1), torch.tensor([0, 1])) is None
    cell = resolve_cell(dataset="digits", noise="clean", method="full", ratio=0, seed=0,
                        validation={"size": 50})  # fmt: skip
    task = load_task(cell.spec, {})
    marked = sample_groups(np.arange(len(task.test)) % 2, len(task.test), "here")
    task = replace(task, raw=replace(task.raw, test_groups=marked, groups=tuple(range(10))))
    assert task.test_groups is marked
    tuning = validation_for_test(task)
    assert tuning.raw.test_groups is None
    assert tuning.test_groups is not None
    assert len(tuning.test_groups.ids) == 50


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_are_there() -> None:
    labels = torch.tensor([0] * 8 + [1] * 3 + [3])
    predicted = torch.tensor([0] * 8 + [1, 0, 0] + [0])
    assert balanced_accuracy(predicted, labels, 5) == float((1 + 1 / 3 + 0) / 3)
    even = torch.arange(30) % 3
    guess = torch.where(torch.arange(30) < 7, 0, even)
    assert balanced_accuracy(guess, even, 3) == float((guess == even).double().mean())


def test_a_table_of_groups_beside_class_folders(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", train=4, test=3, classes=2)
    test = read_tree(root / "test")
    file = tmp_path / "groups.csv"
    lines = [f"test/{name},{'left' if place % 2 else 'right'}"
             for place, name in enumerate(test.names)]  # fmt: skip
    file.write_text("\n".join(["file_name,group", *reversed(lines)]) + "\n")
    plain = Folder(path=str(root), size=8)
    source = Folder(path=str(root), size=8, test_groups=str(file))
    found = source.load().test_groups
    assert found is not None
    assert found.of_samples == ["right", "left"] * 3
    assert plain.portable() == source.portable()
    assert identity_of(plain) != identity_of(source)
    labels = tmp_path / "labels.csv"
    train = read_tree(root / "train")
    labels.write_text("\n".join(["file_name,label", *(f"{n},0" for n in train.names)]) + "\n")
    salts = [identity_of(Folder(path=str(root), size=8, labels=str(labels), test_groups=one))
             .split(":")[1] for one in (None, str(file))]  # fmt: skip
    assert salts[0] == salts[1]  # groups enter the key and no draw
    for text, said in (
        ("\n".join(["file_name,group", *lines[1:]]), "1 of 6 test images have no group"),
        ("\n".join(["file_name,group", *lines, "x.png,left"]), "no test image 'x.png'"),
        ("\n".join(["file_name,group", *(f"{n},all" for n in test.names)]), "a single group, all"),
    ):
        file.write_text(text + "\n")
        with pytest.raises(InputError, match=said) as refused:
            source.check()
        assert str(file) in str(refused.value)
