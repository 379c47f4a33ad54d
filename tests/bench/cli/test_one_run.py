"""Verbs on one run: named by key or by fields, what it holds, and what it trained on."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.runs.artifacts import npz_bytes
from prunebench.bench.runs.export import WHATS, export_csv
from prunebench.bench.runs.rerun import recorded_source
from prunebench.bench.train.task import load_task
from prunebench.errors import InputError
from prunebench.record import Record
from support.command import prunebench, refused
from support.published import idx_tree
from support.small_grid import key_of

FIELDS = ("--method", "small-loss", "--noise", "symmetric:0.4", "--ratio", "0.5", "--seed", "1")


def table(text: str) -> list[dict[str, str]]:
    """CSV as rows."""
    return list(csv.DictReader(io.StringIO(text)))


def test_fields_name_a_run_as_its_key_does(whole):
    out = whole[1]
    rows = prunebench("status", out, "--json").json["records"]
    row = next(r for r in rows if r["method"] == "small-loss" and r["seed"] == 1)
    assert (row["noise"], row["ratio"], row["dataset"]) == ("symmetric:0.4", 0.5, "digits")
    assert 0 < row["accuracy"] < 1
    by_key = prunebench("export", row["key"], out)
    by_fields = prunebench("export", out, *FIELDS)
    assert by_key.code == by_fields.code == 0
    assert by_key.out == by_fields.out
    said = prunebench("rerun", out, *FIELDS, "-q")
    assert said.code == 0
    assert said.out.startswith(f"{row['key']}: identical")


def test_out_still_names_the_folder_read_and_says_so(whole):
    key, out = key_of(whole[1], "full"), whole[1]
    for verb in (("export", key, "--what", "visits"), ("rerun", key, "-q")):
        said = prunebench(*verb, "--out", out)
        assert said.code == 0
        assert said.out == prunebench(verb[0], key, out, *verb[2:]).out
        assert said.err.startswith("warning: --out names the folder that is read")
        assert f"accepted: the folder as an argument: {key} {out}" in said.err
        assert said.err.count("\n") == 1
        assert "--out" not in prunebench(verb[0], "--help").out.replace("--out-", "")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["{out}"], ["no KEY and no field", "KEY RESULTS"]),
        ([], ["no KEY and no field"]),
        (
            ["{out}", "--method", "small-loss"],
            ["2 runs have --method small-loss", "seed 0", "seed 1"],
        ),
        (["{out}", "--method", "smal-loss"], ["no record has method 'smal-loss'", "small-loss"]),
        (["{out}", "--method", "full", "--ratio", "0.5"], ["no run has --method full --ratio 0.5"]),
        (["0123456789abcdef", "{out}", "--seed", "1"], ["a key and --seed 1", "one of the two"]),
        (["0123456789abcdef", "{out}"], ["no record '0123456789abcdef'", "list"]),
        (["nowhere", "--seed", "1"], ["'nowhere' is neither a key nor a results folder"]),
        (["a", "b", "c"], ["'a b c'"]),
    ],
)
def test_what_names_no_single_run_is_refused(whole, words, parts):
    words = [word.format(out=whole[1]) for word in words]
    for verb in ("export", "rerun"):
        refused(prunebench(verb, *words), *parts)


def test_a_kept_set_can_be_trained_elsewhere_as_the_run_was(whole, monkeypatch):
    out = whole[1]
    store = Store(out)
    record = next(r for r in store.scan().records if r.spec["method"]["name"] == "small-loss")
    rows = table(prunebench("export", record.key, out, "--what", "training").out)
    assert list(rows[0]) == ["id", "split", "label", "flipped", "kept", "epochs"]
    train = [row for row in rows if row["split"] == "train"]
    spec, source = recorded_source(record, {})
    task = load_task(spec, source.params)
    assert [int(row["id"]) for row in train] == task.train.sample_ids.tolist()
    assert [int(row["label"]) for row in train] == task.train.labels.tolist()
    assert [int(row["flipped"]) for row in train] == task.flipped.int().tolist()
    kept = table(prunebench("export", record.key, out, "--what", "kept").out)
    assert [row["id"] for row in train if row["kept"] == "1"] == [row["id"] for row in kept]
    reference = [row for row in rows if row["split"] == "reference"]
    assert task.reference is not None
    assert [int(row["id"]) for row in reference] == task.reference.sample_ids.tolist()
    assert {row["flipped"] for row in reference} == {"0"}
    assert all((row["epochs"] == "0") == (row["kept"] == "0") for row in rows)
    other = replace(record, info={**record.info, "label_digest": "0" * 64}).sealed()
    monkeypatch.setattr(Store, "get", lambda self, key: other)
    with pytest.raises(InputError, match="labels made now are not those of the run"):
        export_csv(store, record.key, "training")


def test_a_run_says_what_it_holds(whole):
    out = whole[1]
    held = prunebench("export", key_of(out, "small-loss"), out, "--list").out
    assert [line.split()[0] for line in held.splitlines()] == list(WHATS)
    held = prunebench("export", key_of(out, "full"), out, "--list").out
    assert [line.split()[0] for line in held.splitlines()] == [
        "visits", "epochs", "classes", "predictions", "training"]  # fmt: skip
    accepted = "visits, epochs, classes, predictions, training"
    refused(prunebench("export", key_of(out, "full"), out), f"no scores; accepted: {accepted}")


def test_predictions_carry_the_names_of_the_classes(whole):
    out = whole[1]
    rows = table(prunebench("export", key_of(out, "full"), out, "--what", "predictions").out)
    assert all(row["name"] == row["predicted"] for row in rows)  # digits are called 0 to 9


@pytest.fixture
def edited(copied: Path) -> Callable[[str, bytes], tuple[Path, str]]:
    """Puts another artifact into a run, digests made to fit."""

    def edit(name: str, data: bytes) -> tuple[Path, str]:
        store = Store.open(copied)
        key = key_of(copied, "small-loss")
        old: Record | None = store.get(key)
        assert old is not None
        files = {n: store.artifact(key, n) for n in old.artifacts}
        store.save(replace(old, artifacts={}), {**files, name: data})
        return copied, key

    return edit


IDS, TEXT = np.arange(3), np.array(["=1+1"] * 3)


@pytest.mark.parametrize(
    ("name", "what", "data"),
    [
        ("samples.npz", "scores", b"nothing"),
        ("samples.npz", "scores", npz_bytes({"id": IDS})),
        ("samples.npz", "scores", npz_bytes({"id": IDS, "visits": IDS, "score": IDS[:2] * 0.5})),
        ("samples.npz", "scores", npz_bytes({"id": IDS, "visits": IDS, "score": TEXT})),
        ("samples.npz", "visits", npz_bytes({"id": IDS.reshape(1, 3), "visits": IDS})),
        ("samples.npz", "visits", npz_bytes({"id": TEXT, "visits": IDS})),
        ("samples.npz", "kept", npz_bytes({"id": IDS, "visits": IDS, "kept": IDS * 0.5})),
        ("samples.npz", "kept", npz_bytes({"id": IDS, "visits": IDS, "kept": np.array(3)})),
        ("samples.npz", "training", npz_bytes({"id": IDS, "visits": IDS})),
        ("predictions.npz", "predictions", npz_bytes({"other": IDS})),
        ("predictions.npz", "predictions", npz_bytes({"predicted": IDS, "id": IDS[:2]})),
        ("predictions.npz", "predictions", npz_bytes({"predicted": np.array(["@x"] * 3)})),
        ("epochs.csv", "epochs", b"\xff\xfe"),
        ("classes.csv", "classes", b'a,b\n"c'),
    ],
)  # fmt: skip
def test_artifacts_of_another_form_are_refused(edited, name, what, data):
    root, key = edited(name, data)
    refused(prunebench("export", key, root, "--what", what), key)


def test_no_formula_leaves_an_artifact(edited):
    text = b"class,name,kept_share\n0,=1+1,-0.5\n1, @x,+1e3\n2,\xef\xbc\x8bx,nan\n3,-,0\n"
    root, key = edited("classes.csv", text)
    rows = table(prunebench("export", key, root, "--what", "classes").out)
    assert [row["name"] for row in rows] == ["'=1+1", "' @x", "'\uff0bx", "-"]
    assert [row["kept_share"] for row in rows] == ["-0.5", "+1e3", "nan", "0"]
    root, key = edited("predictions.npz", npz_bytes({"predicted": np.array([0, 1, 2])}))
    rows = table(prunebench("export", key, root, "--what", "predictions").out)
    assert [row["name"] for row in rows] == ["'=1+1", "' @x", "'\uff0bx"]


def test_a_repeat_of_a_plug_in_names_it(plugin, tmp_path):
    words = ("run", "--method", "first-half", "--ratio", "0.5", "--recipe-param", "epochs=1",
             "--no-mlflow", "--out", tmp_path / "r", "--json")  # fmt: skip
    key = prunebench("--plugin", plugin, *words).json["key"]
    said = prunebench("--plugin", plugin, "rerun", key, tmp_path / "r", "-q", "--json")
    assert said.json["command"].startswith(f"prunebench --plugin {plugin} run --dataset digits")


def test_data_that_were_found_without_a_path_are_found_again(tmp_path, monkeypatch):
    draw, out = np.random.default_rng(0), tmp_path / "r"
    splits = [(draw.integers(0, 256, (size, 28, 28), np.uint8),
               draw.integers(0, 10, size, np.uint8)) for size in (200, 50)]  # fmt: skip
    idx_tree(tmp_path / "data/mnist", *splits)
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "data"))
    words = ("run", "--dataset", "mnist", "--method", "random", "--ratio", "0.5",
             "--recipe-param", "epochs=1", "--no-mlflow", "--out", out, "--json")  # fmt: skip
    key = prunebench(*words).json["key"]
    assert prunebench("rerun", key, out, "-q").out.startswith(f"{key}: identical")
    rows = table(prunebench("export", key, out, "--what", "training").out)
    train = [row for row in rows if row["split"] == "train"]
    assert sum(row["kept"] == "1" for row in train) == len(train) / 2
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "elsewhere"))
    refused(prunebench("rerun", key, out, "-q"), "elsewhere", "PRUNEBENCH_DATA=FOLDER")
    given = ("--dataset-param", f"path={tmp_path / 'data'}")
    assert prunebench("rerun", key, out, "-q", *given).out.startswith(f"{key}: identical")
