"""Arrays of one's own: layouts, parts of the file, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.datasets.sources.arrays import Arrays
from prunebench.errors import InputError
from support.command import prunebench
from support.origins import check_ids

DICE = np.random.default_rng(0)
IMAGES = DICE.integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
LABELS = np.arange(40) % 4


def write(path: Path, **arrays: Any) -> Path:
    usual = {"X": IMAGES, "y": LABELS, "X_test": IMAGES[:8], "y_test": LABELS[:8]}
    np.savez(path, **{k: v for k, v in {**usual, **arrays}.items() if v is not None})
    return path


def load(path: Path, **options: Any) -> Any:
    return Arrays(path=str(path), **options).load()


def test_the_layout_of_the_channels_does_not_matter(tmp_path: Path) -> None:
    first = load(write(tmp_path / "first.npz"))
    assert (first.train_x.shape, first.num_classes, first.augment) == ((40, 3, 16, 16), 4,
                                                                       "crop_flip")  # fmt: skip
    last = [np.moveaxis(x, 1, 3) for x in (IMAGES, IMAGES[:8])]
    found = load(write(tmp_path / "last.npz", X=last[0], X_test=last[1]))
    assert torch.equal(found.train_x, first.train_x)
    assert torch.equal(found.test_x, first.test_x)
    grey = load(write(tmp_path / "grey.npz", X=IMAGES[:, 0], X_test=IMAGES[:8, 0]))
    assert grey.train_x.shape == (40, 1, 16, 16)


def test_channels_that_could_be_at_either_end_have_to_be_named(tmp_path: Path) -> None:
    odd = IMAGES[:, :, :, :3]
    file = write(tmp_path / "odd.npz", X=odd, X_test=odd[:8])
    with pytest.raises(InputError, match="either end"):
        load(file)
    assert load(file, layout="channels-first").train_x.shape == (40, 3, 16, 3)
    assert load(file, layout="channels-last").train_x.shape == (40, 3, 3, 16)


def test_vectors_train_with_a_perceptron(tmp_path: Path) -> None:
    x = DICE.normal(size=(200, 6)) + 4 * np.eye(6)[np.arange(200) % 3]
    file = write(tmp_path / "v.npz", X=x, y=np.arange(200) % 3, X_test=x[:30],
                 y_test=np.arange(30) % 3)  # fmt: skip
    cell = resolve_cell(
        dataset=f"arrays:{file}",
        noise="symmetric:0.2",
        method="infobatch",
        ratio=0.3,
        seed=0,
        recipe_params={"epochs": 10, "batch_size": 16},
    )
    assert cell.spec.recipe.model == "mlp"
    record, _ = run_cell(cell, Store.open(tmp_path / "out"))
    assert record.status == "done"
    assert (record.metrics["test_accuracy"] or 0) > 0.8
    moved = tmp_path / "moved.npz"
    file.rename(moved)
    again = resolve_cell(
        dataset=f"arrays:{moved}",
        noise="symmetric:0.2",
        method="infobatch",
        ratio=0.3,
        seed=0,
        recipe_params={"epochs": 10, "batch_size": 16},
    )
    assert again.spec.key == cell.spec.key


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_embeddings_of_any_precision_train_a_linear_probe(tmp_path: Path, dtype: str) -> None:
    """Features of other sizes and places, one of them constant."""
    x = (DICE.normal(size=(200, 6)) + 4 * np.eye(6)[np.arange(200) % 3]) * [9, 1, 0.1, 1, 1, 0] + 5
    y = np.arange(200) % 3
    file = write(tmp_path / "e.npz", X=x.astype(dtype), y=y, X_test=x[:30].astype(dtype),
                 y_test=y[:30])  # fmt: skip
    cell = resolve_cell(dataset=f"arrays:{file}", recipe="linear-probe")
    record, _ = run_cell(cell, Store.open(tmp_path / "out"))
    assert record.status == "done"
    assert (record.metrics["test_accuracy"] or 0) > 0.9


def test_names_groups_human_labels_and_a_reference_set(tmp_path: Path) -> None:
    noisy = (LABELS + 1) % 4
    file = write(
        tmp_path / "all.npz", class_names=np.array(["a", "b", "c", "d"]), groups=[0, 0, 1, 1],
        human=np.stack([noisy]), human_names=np.array(["worst"]),
        X_reference=IMAGES[8:12], y_reference=LABELS[8:12],
    )  # fmt: skip
    source, raw = Arrays(path=str(file)), load(file)
    assert (raw.class_names, raw.groups, raw.asymmetric) == (
        ("a", "b", "c", "d"), (0, 0, 1, 1), "asym_super_uniform")  # fmt: skip
    assert source.variants() == ("worst",)
    assert source.asymmetric_rule() == raw.asymmetric
    assert raw.human["worst"][:40].tolist() == noisy.tolist()
    assert raw.reference_rows.tolist() == [40, 41, 42, 43]
    assert torch.equal(raw.train_x[raw.reference_rows], torch.from_numpy(IMAGES[8:12]))
    assert raw.original_size == 40
    part = load(file, limit=10)
    assert part.original_size == 40
    assert part.train_ids(part.reference_rows).tolist() == [40, 41, 42, 43]
    assert torch.equal(part.train_x[:10], raw.train_x[part.train_ids(torch.arange(10))])


def test_a_limited_part_keeps_original_ids(tmp_path: Path) -> None:
    file = write(tmp_path / "a.npz")
    check_ids(load(file, limit=12, test_limit=4), load(file))


def test_labels_that_are_not_known_to_be_clean_are_the_real_ones(tmp_path: Path) -> None:
    file = write(tmp_path / "web.npz", clean_known=np.array(False))
    raw = load(file)
    assert not raw.clean_known
    assert raw.human[""].tolist() == LABELS.tolist()
    assert Arrays(path=str(file)).variants() == ("",)


NAN = np.zeros((40, 5))
NAN[7, 2] = np.nan


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y_test": None}, "lacks the array 'y_test'"),
        ({"X_reference": IMAGES[:2]}, "lacks the array 'y_reference'"),
        ({"X": IMAGES / 255.0}, "X: float64 of shape (40, 3, 16, 16)"),
        ({"X": NAN, "X_test": NAN[:8] * 0}, "X: sample 7 holds a number that is not finite"),
        ({"X": np.full((40, 5), 1e300), "X_test": NAN[:8]}, "X: sample 0 holds a number"),
        ({"X": np.ones((40, 5), np.int64)}, "X: int64 of shape (40, 5)"),
        ({"X_test": IMAGES[:8, :, :8]}, "X_test: samples of shape (3, 8, 16)"),
        ({"X": IMAGES[:0], "y": LABELS[:0]}, "X: no samples"),
        ({"y": LABELS / 2}, "y: float64 of shape (40,)"),
        ({"y": LABELS[:39]}, "y: 39 labels"),
        ({"y": LABELS - 1}, "y: -1 at sample 0"),
        ({"y": LABELS * 2}, "y: class 1 has no training sample"),
        ({"y_test": LABELS[:8] + 1}, "y_test: 4 at sample 3"),
        ({"y": np.array([[0]] * 40)}, "y: int64 of shape (40, 1)"),
        ({"class_names": np.array(["a", "b"])}, "y: 2 at sample 2"),
        ({"groups": [0, 1]}, "2 super-class ids"),
        ({"human": np.stack([LABELS]), "human_names": np.array(["a", "b"])}, "human"),
        ({"clean_known": np.array("yes")}, "clean_known"),
        ({"X": np.array([None] * 40, dtype=object)}, "X"),
    ],
)  # fmt: skip
def test_bad_files_end_with_one_line_that_names_the_array(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    file = write(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError) as caught:
        load(file)
    text = str(caught.value)
    assert words in text
    assert str(file) in text
    assert "\n" not in text


def test_a_bad_file_ends_the_command_with_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    for arrays in ({"X": np.array([None] * 40, dtype=object)}, {"X": None}, {"X_test": IMAGES[:0]}):
        file = write(tmp_path / "bad.npz", **arrays)
        said = prunebench("run", "--dataset", f"arrays:{file}", "--method", "random", "--ratio",
                          "0.5", "--out", tmp_path / "out", "--no-mlflow")  # fmt: skip
        assert said.code == 2
        assert len(said.err.strip().splitlines()) == 1, said.err
        assert str(file) in said.err
        assert not list((tmp_path / "out").rglob("*.json"))


def test_a_missing_file_and_no_file(tmp_path: Path) -> None:
    for path in ("", str(tmp_path / "none.npz")):
        with pytest.raises(InputError, match=r"arrays:FILE\.npz with X, y, X_test, y_test"):
            Arrays(path=path).load()
