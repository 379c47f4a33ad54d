"""Kept ids and scores published with a board: what they hold, that they train the same run again,
and what is refused."""

from __future__ import annotations

import csv
import hashlib
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.published_ids import _licence, ids_files
from prunebench.datasets.source import data_mark
from prunebench.errors import InputError
from prunebench.methods.precomputed import FromFile, read_scores
from prunebench.methods.precomputed_ids import read_ids
from prunebench.parquet import read_columns, read_note, write_columns
from prunebench.record import Record
from support.cells import small_cell
from support.command import prunebench

pytest.importorskip("pyarrow")
SMALL = {"epochs": 2, "batch_size": 256}


class Published(NamedTuple):
    """A results folder, its publication, and the records by method and ratio."""

    store: Store
    folder: Path
    records: dict[tuple[str, float], Record]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = tmp_path_factory.mktemp("published")
    store = Store.open(root / "out")
    records = {}
    for method, ratio in (("full", 0.0), ("small-loss", 0.5), ("small-loss", 0.8),
                          ("random", 0.5), ("infobatch", 0.5)):  # fmt: skip
        cell = small_cell(method, ratio=ratio, recipe_params=SMALL)
        records[method, ratio] = run_cell(cell, store)[0]
    said = prunebench("leaderboard", store.root, "--publish", root / "board", "--with-ids",
                      "--no-figures")  # fmt: skip
    assert said.code == 0, said.err
    return Published(store, root / "board", records)


def artifact(published: Published, record: Record) -> Any:
    return np.load(published.store.artifact_path(record.key, "samples.npz"))


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "ids" / "table.csv").open(newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def test_every_static_run_has_its_ids_and_scores(published: Published) -> None:
    rows = table(published.folder)
    static = {key: r for key, r in published.records.items() if key[0] in ("small-loss", "random")}
    assert set(rows) == {record.key for record in static.values()}
    for (method, ratio), record in static.items():
        row, arrays = rows[record.key], artifact(published, record)
        assert (row["method"], row["ratio"]) == (method, f"{ratio:g}")
        assert (row["setting"], row["seed"]) == ("symmetric:0.4", "0")
        file = published.folder / "ids" / row["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
        assert read_ids(file, 1347).tolist() == sorted(arrays["kept"])
        assert int(row["kept"]) == len(arrays["kept"])
        assert read_columns(file, ["id"], 1347)["id"].dtype == np.int32
        assert read_note(file)["method"][0] == method
    one, other = (rows[static["small-loss", ratio].key] for ratio in (0.5, 0.8))
    assert one["scores"] == other["scores"] != ""
    scored = published.folder / "ids" / one["scores"]
    assert hashlib.sha256(scored.read_bytes()).hexdigest() == one["scores_sha256"]
    ids, scores = read_scores(scored, 1347)
    arrays = artifact(published, static["small-loss", 0.5])
    assert ids.tolist() == sorted(arrays["id"])
    assert scores.tolist() == arrays["score"][arrays["id"].argsort()].astype(np.float32).tolist()
    assert rows[static["random", 0.5].key]["scores"] == ""


def test_the_card_says_what_they_are_and_its_command_trains_one_again(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = (published.folder / "ids" / "README.md").read_text()
    data = next(iter(published.records.values())).info["data"]
    for words in (f"digits version 1, content `{data}`", "CC BY 4.0", "recipe digits v1",
                  "| small-loss", "table.csv"):  # fmt: skip
        assert words in card
    assert "[ids/](ids/README.md)" in (published.folder / "README.md").read_text()
    command = shlex.split(card.split("```")[1])
    assert command[:2] == ["prunebench", "run"]
    monkeypatch.chdir(published.folder / "ids")
    said = prunebench(*command[1:], "--out", tmp_path / "out", "--no-mlflow")
    assert said.code == 0, said.err
    (again,) = Store(tmp_path / "out").scan().records
    key = command[command.index("--method") + 1].removeprefix("ids:").removesuffix(".parquet")
    first = next(record for record in published.records.values() if record.key == key)
    assert again.spec["method"]["name"] == "ids"
    assert again.metrics["test_accuracy"] == first.metrics["test_accuracy"]
    assert again.artifacts["predictions.npz"] == first.artifacts["predictions.npz"]


def test_scores_choose_what_their_method_chose(published: Published) -> None:
    first = published.records["small-loss", 0.5]
    file = published.folder / "ids" / table(published.folder)[first.key]["scores"]
    scores = artifact(published, first)["score"]
    assert len(np.unique(scores.astype(np.float32))) == len(scores)  # else ties decide
    cell = small_cell(f"scores:{file}", recipe_params=SMALL, params={"side": "low"})
    again = run_cell(cell, published.store)[0]
    assert again.metrics["test_accuracy"] == first.metrics["test_accuracy"]


def test_published_again_without_or_with_fewer(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "board"
    publish = ("leaderboard", published.store.root, "--publish", place, "--no-figures")
    assert prunebench(*publish, "--with-ids").code == 0
    whole = sorted(path.name for path in (place / "ids").iterdir())
    bundle = ("leaderboard", place / "records.jsonl.gz", "--publish", place, "--no-figures")
    assert prunebench(*bundle).code == 0
    assert "[ids/](ids/README.md)" in (place / "README.md").read_text()
    assert sorted(path.name for path in (place / "ids").iterdir()) == whole
    said = prunebench(*publish, "--ratio", "0.8")
    assert said.code == 0

    def full(*given: Any, **named: Any) -> None:
        raise InputError("cannot be written (disk full)")

    with monkeypatch.context() as patch:  # nothing is removed before all is written
        patch.setattr("prunebench.bench.reports.boards.write_files", full)
        assert prunebench(*publish, "--with-ids", "--ratio", "0.8").code == 2
    assert sorted(path.name for path in (place / "ids").iterdir()) == whole
    fewer = prunebench(*publish, "--with-ids", "--no-scores", "--ratio", "0.8")
    assert fewer.code == 0, fewer.err
    kept = published.records["small-loss", 0.8].key
    assert sorted(p.name for p in (place / "ids").iterdir()) == sorted(
        ["README.md", "table.csv", f"{kept}.parquet"]
    )
    assert prunebench("audit", place / "records.jsonl.gz").code == 0
    merged = prunebench("leaderboard", "merge", place / "records.jsonl.gz", "--out", tmp_path / "m")
    assert merged.code == 0


def test_ids_without_their_records_are_not_named(published: Published, tmp_path: Path) -> None:
    place, other = tmp_path / "board", Store.open(tmp_path / "other")
    run_cell(small_cell(recipe_params={"epochs": 1}), other)
    assert prunebench("leaderboard", published.store.root, "--publish", place, "--with-ids",
                      "--no-figures").code == 0  # fmt: skip
    said = prunebench("leaderboard", other.root, "--publish", place, "--no-figures")
    assert said.code == 0
    assert "is of other records" in said.err
    assert "ids/README.md" not in (place / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--with-ids"], "--with-ids: goes with --publish DIR"),
        (["--publish", "board", "--no-scores"], "--no-scores: goes with --with-ids"),
    ],
)
def test_options_that_go_together(
    published: Published, words: list[str], line: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    said = prunebench("leaderboard", published.store.root, *words)
    assert said.code == 2
    assert line in said.err


def test_records_alone_hold_no_ids(published: Published, tmp_path: Path) -> None:
    bundle = published.folder / "records.jsonl.gz"
    said = prunebench("leaderboard", bundle, "--publish", tmp_path / "b", "--with-ids",
                      "--no-figures")  # fmt: skip
    assert said.code == 2
    assert "no static run whose artifacts are here" in said.err
    assert not (tmp_path / "b").exists()


def test_ids_of_another_data_set_are_refused(published: Published) -> None:
    key = published.records["random", 0.5].key
    with pytest.raises(InputError) as caught:
        small_cell(f"ids:{published.folder / 'ids' / key}.parquet", dataset="synthetic")
    assert 'ids of the data set {"name":"digits","params":{},"version":"1"}' in str(caught.value)
    assert '"name":"synthetic"' in str(caught.value)


def test_options_that_leave_ids_their_meaning_accept_them(published: Published) -> None:
    key = published.records["random", 0.5].key
    file = published.folder / "ids" / f"{key}.parquet"
    cell = small_cell(f"ids:{file}", dataset_params={"pca": 8}, recipe="linear-probe")
    assert cell.spec.dataset.params == {"pca": 8}


def test_ids_of_posts_name_their_split(tmp_path: Path) -> None:
    def mark(split: str, **options: Any) -> dict[str, Any]:
        params = {"split": split, "classes": 20, **options}
        return data_mark({"name": "news", "version": "1", "identity": "ab", "params": params})

    # Files that were published before a split was named are those of the default.
    assert mark("bydate") == {"name": "news", "version": "1", "content": "ab"}
    assert mark("first70", limit=9) == mark("first70") != mark("bydate")
    file = tmp_path / "a.parquet"
    file.write_bytes(write_columns({"id": np.arange(3, dtype=np.int32)}, {"data": mark("first70")}))
    FromFile.check_data(str(file), mark("first70", representation="words"))
    with pytest.raises(InputError, match="first70"):
        FromFile.check_data(str(file), mark("bydate"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": [1, 2, 2]}, "id 2 is there 2 times"),
        ({"id": [*range(11)]}, "11 rows; accepted: up to 10"),
        ({"id": [1, 10]}, "id 10; accepted: 0 to 9"),
        ({"row": [1]}, "lacks the column 'id'"),
        ({"id": []}, "one or more"),
        ({"id": [1.5]}, "whole numbers"),
    ],
)
def test_bad_tables_end_with_one_line(
    columns: dict[str, list[float]], words: str, tmp_path: Path
) -> None:
    kinds = {"id": np.float32 if columns.get("id") == [1.5] else np.int32, "row": np.int32}
    file = tmp_path / "kept.parquet"
    arrays = {name: np.array(values, dtype=kinds[name]) for name, values in columns.items()}
    file.write_bytes(write_columns(arrays, {}))
    with pytest.raises(InputError) as caught:
        read_ids(file, 10)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_others_and_damaged_ones(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    file = tmp_path / "kept.parquet"
    parquet.write_table(pa.table({"name": ["a", "b"], "id": pa.array([7, 1], pa.uint64())}), file)
    assert read_ids(file, 10).tolist() == [1, 7]
    assert read_note(file) == {}
    parquet.write_table(pa.table({"id": ["1"]}), file)
    with pytest.raises(InputError, match="column 'id' holds string"):
        read_ids(file, 10)
    parquet.write_table(pa.table({"id": pa.array([1, None])}), file)
    with pytest.raises(InputError, match="has empty rows"):
        read_ids(file, 10)
    whole = write_columns({"id": np.arange(1000, dtype=np.int32)}, {})
    for cut in (whole[:100], whole[:-1], b""):
        file.write_bytes(cut)
        with pytest.raises(InputError, match=r"kept\.parquet: cannot be read"):
            read_ids(file, 1000)


def test_ids_that_count_limited_rows_are_left_out() -> None:
    spec = {"dataset": {"name": "digits", "params": {"limit": 9}}}
    record = SimpleNamespace(key="0" * 16, info={"kind": "static"}, spec=spec)
    run = SimpleNamespace(record=record, accuracy=0.5)
    board = SimpleNamespace(tables=[SimpleNamespace(runs={"random": {"0": run}})])
    with pytest.raises(InputError, match="no static run whose artifacts are here"):
        ids_files(cast(Any, board), lambda run, name: b"no archive")


def test_the_licence_is_named_without_reading_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path))  # there are no files
    assert _licence({"name": "mnist", "params": {}}) == "LeCun, Cortes and Burges; CC BY-SA 3.0"
    assert "Lang 1995" in _licence({"name": "news", "params": {}})
    assert _licence({"name": "cifar10", "params": {}}) == "as the origin of the files says"

    def unreadable(self: Any) -> None:
        raise OSError("disk")

    monkeypatch.setattr("prunebench.datasets.sources.digits.Digits.load", unreadable)
    assert _licence({"name": "digits", "params": {}}) == "as the origin of the files says"
