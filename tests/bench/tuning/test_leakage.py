"""What a tuning run may see, and where its options may go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.grids.pinned import Pinned, read_pinned, write_pinned
from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import Validation
from prunebench.bench.train.task import load_task
from prunebench.bench.tuning.study import tune
from prunebench.errors import InputError
from prunebench.leaderboard.board.build import build
from prunebench.record import Record
from support.cells import small_cell
from support.tuning import Fake, tiny

HELD = {"role": "tune", "validation": Validation(size=150)}


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Pinned:
    """The file of a small study of InfoBatch on digits."""
    root = tmp_path_factory.mktemp("study")
    return tune(tiny(trials=8), Store(root), ExecutionOptions(mlflow=False), "s", run=Fake())[0]


def test_a_tuning_run_reads_its_validation_split_and_no_test_sample() -> None:
    cell = small_cell("infobatch", **HELD)
    task = load_task(cell.spec, cell.data)
    plain = load_task(cell.spec.replace(role="eval"), cell.data)
    assert plain.validation is not None
    assert len(plain.test) == 450
    # The same split in both roles; in the tuning role it stands where the test split was.
    assert torch.equal(task.raw.test_x, plain.raw.train_x[plain.validation.sample_ids])
    assert torch.equal(task.test.labels, plain.validation.labels)
    assert len(task.test) == len(task.raw.test_y) == len(task.raw.test_x) == 150
    assert not set(plain.validation.sample_ids.tolist()) & set(task.train.sample_ids.tolist())
    assert task.reference is not None
    assert not set(plain.validation.sample_ids.tolist()) & set(task.reference.sample_ids.tolist())
    assert (
        task.test.labels != plain.raw.train_y[plain.validation.sample_ids]
    ).double().mean() > 0.25
    clean = small_cell("infobatch", role="tune", validation=Validation(size=150, labels="clean"))
    labels = load_task(clean.spec, clean.data).test.labels
    assert torch.equal(labels, plain.raw.train_y[plain.validation.sample_ids])


@pytest.mark.parametrize("method", ["infobatch+align", "forgetting"])
def test_its_record_holds_no_test_figure(method: str, tmp_path: Path) -> None:
    cell = small_cell(method, recipe_params={"epochs": 4, "eval_every": 2}, **HELD)
    store = Store.open(tmp_path)
    record, _ = run_cell(cell, store)
    records = store.scan().records
    assert record.status == "done"
    assert len(records) == (2 if method == "forgetting" else 1)  # the scoring run is held to it too
    for each in records:
        assert "test_accuracy" not in each.metrics
        assert 0 <= (each.metrics["validation_accuracy"] or 0) <= 1
        assert each.info["validation_size"] == 150
        assert "test_size" not in each.info
        for name in ("epochs.csv", "classes.csv"):
            head = store.artifact(each.key, name).decode().splitlines()[0]
            assert "validation_accuracy" in head
            assert "test" not in head
        with np.load(store.artifact_path(each.key, "predictions.npz")) as arrays:
            assert len(arrays["predicted"]) == 150


def test_clean_validation_labels_are_declared(tmp_path: Path) -> None:
    def used(**fields: Any) -> str:
        cell = small_cell("infobatch", recipe_params={"epochs": 1}, **fields)
        record, _ = run_cell(cell, Store.open(tmp_path))
        return str(record.info["clean_labels_used"])

    assert used(**HELD) == ""
    assert used(role="tune", validation=Validation(size=150, labels="clean")) == "validation split"
    mark = {"study": "0" * 16, "seeds": [9], "labels": "clean"}
    assert used(tuned=mark) == "validation split"


def test_keys_without_a_study_stand_and_a_mark_changes_them() -> None:
    spec = small_cell("infobatch").spec
    assert "tuned" not in spec.content
    mark = {"study": "0" * 16, "seeds": [9]}
    marked = spec.replace(tuned=mark)
    assert marked.content["tuned"]["metric"] == "validation_accuracy"
    assert marked.key != spec.key
    assert marked.replace(tuned=None).key == spec.key
    assert marked.scoring_spec().key == spec.scoring_spec().key
    with pytest.raises(ValueError, match="seed 9 was seen"):
        marked.replace(seed=9)
    with pytest.raises(ValueError, match="has a validation split"):
        spec.replace(role="tune")


def grid(tmp_path: Path, pinned: Pinned, text: str = "") -> list[Any]:
    """The cells of a small grid beside the pinned file."""
    (tmp_path / "best.json").write_bytes(pinned.path.read_bytes())
    lines = {
        "name": '"g"', "dataset": '"digits"', "noise": '["clean", "symmetric:0.4"]',
        "method": '["full", "random", "infobatch"]', "ratio": "[0.3, 0.5]", "seed": '"0..1"',
        "tuned": '"best.json"',
    }  # fmt: skip
    for line in filter(None, text.split("\n")):
        name, _, value = line.partition("=")
        lines[name.strip()] = value.strip()
    file = tmp_path / "g.toml"
    file.write_text("".join(f"{name} = {value}\n" for name, value in lines.items() if value))
    return expand(*read_grid(file))


def test_a_grid_gets_a_tuned_row_beside_the_default_one(tmp_path: Path, pinned: Pinned) -> None:
    cells = [cell.spec for cell in grid(tmp_path, pinned)]
    tuned = [spec for spec in cells if spec.tuned is not None]
    assert len(tuned) == 2 * 2 * 2
    for spec in tuned:
        assert spec.method.name == "infobatch"
        assert {name: spec.method.params[name] for name in pinned.params} == pinned.params
        assert spec.tuned is not None
        assert (spec.tuned.study, spec.tuned.transfer) == (pinned.hash, False)
        assert set(spec.tuned.seeds) == set(range(1_000_000, 1_000_004))
    plain = [spec.key for spec in cells if spec.tuned is None]
    untuned = [c.spec.key for c in grid(tmp_path, pinned, "tuned =")]
    assert plain == untuned


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('seed = "1000001"', r"g\.toml: seed: seed 1000001 was seen by the study of best\.json"),
        ('seed = "1000003"', r"seed 1000003 was seen"),
        ('dataset = "synthetic"', r"g\.toml: tuned: best\.json was tuned on data set digits, not"),
        ('method = ["seta"]', r"holds options of 'infobatch', which is not in 'method'"),
        ('method = ["infobatch+align"]', r"transfer = true for its variant"),
        ('criterion = "sop"', r"was tuned on criterion ce, not sop"),
        ('tuned = "none.json"', r"none\.json: cannot be read"),
    ],
)
def test_what_leaks_or_is_foreign_is_refused(
    text: str, line: str, tmp_path: Path, pinned: Pinned
) -> None:
    with pytest.raises(InputError, match=line):
        grid(tmp_path, pinned, text)


def test_transfer_is_asked_for_and_marked(tmp_path: Path, pinned: Pinned) -> None:
    for text in ('dataset = "synthetic"', 'method = ["infobatch+align", "random"]'):
        cells = grid(tmp_path, pinned, f"{text}\ntransfer = true")
        marks = [cell.spec.tuned for cell in cells if cell.spec.tuned is not None]
        assert len(marks) == 8
        assert all(mark.transfer for mark in marks)
    with pytest.raises(InputError, match="which is not in 'method'"):
        grid(tmp_path, pinned, 'method = ["seta"]\ntransfer = true')
    with pytest.raises(InputError, match="was seen"):
        grid(tmp_path, pinned, 'dataset = "synthetic"\ntransfer = true\nseed = 1000000')


def test_an_edited_or_foreign_file_is_refused(tmp_path: Path, pinned: Pinned) -> None:
    body = json.loads(pinned.path.read_text())
    file = tmp_path / "x.json"
    for change in ({"params": {"r": 0.31}}, {"seeds": {"trials": [5, 6], "final": [7]}}):
        file.write_text(json.dumps({**body, **change}))
        with pytest.raises(InputError, match=r"x\.json: was edited"):
            read_pinned(file)
    for text in ("{", "[]", '{"schema": 1}', '{"schema": 1, "hash": "0"}'):
        file.write_text(text)
        with pytest.raises(InputError, match=r"x\.json: is no"):
            read_pinned(file)
    other = {k: v for k, v in body.items() if k != "hash"}
    write_pinned(file, {**other, "method": {"name": "infobatch", "version": "0"}})
    with pytest.raises(InputError, match="tuned version 0 of infobatch; accepted: version 1"):
        read_pinned(file)
    assert read_pinned(pinned.path).hash == pinned.hash == body["hash"]


def board(cells: list[Any], **mark: Any) -> Any:
    """A leaderboard of made-up runs; ``mark`` changes what tuned runs say of their study."""
    records = []
    for number, cell in enumerate(cells):
        spec = dict(cell.spec.content)
        if "tuned" in spec:
            spec["tuned"] = {**spec["tuned"], **mark}
        from prunebench.record import content_key

        info = {"test_size": 450, "num_classes": 10, "label_digest": "x"}
        metrics = {"test_accuracy": 0.9 - 0.001 * (number % 17)}
        records.append(Record(content_key(spec), spec, "done", metrics=metrics, info=info).sealed())
    return build(records)


def test_a_board_keeps_default_and_tuned_rows_apart(tmp_path: Path, pinned: Pinned) -> None:
    cells = grid(tmp_path, pinned)
    table = board(cells).tables[0]
    assert sorted(row.label for row in table.rows) == [
        "full", "infobatch", "infobatch (tuned)", "random",
    ]  # fmt: skip
    other = tmp_path / "other.json"
    body = {**pinned.body, "study": "another"}
    write_pinned(other, dict(body))
    both = grid(tmp_path, pinned, 'tuned = ["best.json", "other.json"]')
    labels = {row.label for row in board(both).tables[0].rows}
    assert f"infobatch (tuned, study {pinned.hash[:8]})" in labels
    assert len(labels) == 5
    moved = grid(tmp_path, pinned, 'method = ["full", "infobatch+align"]\ntransfer = true')
    assert "infobatch+align (tuned, transferred)" in {r.label for r in board(moved).tables[0].rows}


@pytest.mark.parametrize(
    ("mark", "line"),
    [
        ({"seeds": [1, 1_000_000]}, "saw evaluation seed 1"),
        ({"metric": "test_accuracy"}, "maximised 'test_accuracy'"),
        ({"metric": None}, "maximised None"),
        ({"seeds": []}, "does not name its seeds"),
    ],
)
def test_a_board_refuses_options_from_a_study_that_saw_too_much(
    mark: dict[str, Any], line: str, tmp_path: Path, pinned: Pinned
) -> None:
    with pytest.raises(InputError, match=f"leaderboard: record .*{line}"):
        board(grid(tmp_path, pinned), **mark)
