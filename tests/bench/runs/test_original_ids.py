"""Under ``limit`` every id that leaves or enters is a row of the original split."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.evidence import RecordedEvidence
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.export import export_csv
from prunebench.bench.runs.rerun import compare_records
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.spec.run_spec import HeldOut
from prunebench.bench.train.task import load_task
from prunebench.datasets.locate import limited_rows
from prunebench.errors import InputError
from prunebench.methods.base import EvidenceSpec
from prunebench.record import Record
from support.trees import write_tree

TRAIN, TEST, LIMIT, TEST_LIMIT = 60, 12, 24, 5
ROWS = limited_rows(TRAIN, LIMIT)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree"), train=TRAIN // 4, test=TEST // 4)


def cell_of(tree: Path, method: str = "full", **fields: Any) -> Any:
    return resolve_cell(
        dataset=f"folder:{tree}",
        dataset_params={"size": 8, "limit": LIMIT, "test_limit": TEST_LIMIT},
        recipe="packed",
        recipe_params={"epochs": 3, "batch_size": 8, "model": "mlp",
                       "model_params": {"width": 8, "depth": 1}},
        method=method,
        **{"ratio": 0.0 if method == "full" else 0.5, "reference": HeldOut(size=4), **fields},
    )  # fmt: skip


def run(tree: Path, folder: Path, method: str = "full", **fields: Any) -> tuple[Record, Store]:
    cell, store = cell_of(tree, method, **fields), Store.open(folder)
    return run_cell(replace(cell, losses=frozenset()), store)[0], store


def table(store: Store, key: str, what: str) -> dict[str, np.ndarray[Any, Any]]:
    rows = list(csv.DictReader(io.StringIO(export_csv(store, key, what))))
    numbers = [name for name in rows[0] if name != "name"]
    return {name: np.array([float(row[name]) for row in rows]) for name in numbers}


def test_tables_and_artifacts_hold_original_rows(tree: Path, tmp_path: Path) -> None:
    record, store = run(tree, tmp_path, "small-loss")
    assert record.status in ("done", "diverged"), record.reason
    cell = cell_of(tree, "small-loss")
    task = load_task(cell.spec, cell.data)
    trained = ROWS[task.train.sample_ids.numpy()]
    assert trained.max() >= LIMIT
    visits = table(store, record.key, "visits")
    assert visits["id"].tolist() == trained.tolist()
    scores = table(store, record.key, "scores")
    assert scores["id"].tolist() == trained.tolist()
    kept = table(store, record.key, "kept")["id"]
    assert kept.tolist() == visits["id"][visits["epochs"] > 0].tolist()
    with np.load(io.BytesIO(store.artifact(record.key, "losses.npz"))) as losses:
        assert losses["id"].tolist() == trained.tolist()
    predictions = table(store, record.key, "predictions")
    assert predictions["index"].tolist() == limited_rows(TEST, TEST_LIMIT).tolist()
    assert (record.info["original_train_size"], record.info["original_test_size"]) == (TRAIN, TEST)


def test_scores_of_the_whole_split_reach_their_samples(tree: Path, tmp_path: Path) -> None:
    scores = np.random.default_rng(0).random(TRAIN)
    np.save(tmp_path / "s.npy", scores)
    ids = np.random.default_rng(1).permutation(TRAIN)
    np.savez(tmp_path / "s.npz", ids=ids, scores=scores[ids])
    (tmp_path / "s.csv").write_text(
        "id,score\n" + "".join(f"{i},{float(scores[i])!r}\n" for i in ROWS.tolist())
    )
    kept = []
    for suffix in ("npy", "npz", "csv"):
        record, store = run(tree, tmp_path / suffix, f"scores:{tmp_path}/s.{suffix}")
        kept.append(table(store, record.key, "kept")["id"].astype(int))
        trained = table(store, record.key, "visits")["id"].astype(int)
        best = sorted(trained, key=lambda i: -scores[i])[: len(kept[-1])]
        assert kept[-1].tolist() == sorted(best)
    assert kept[0].tolist() == kept[1].tolist() == kept[2].tolist()


@pytest.mark.parametrize("count", [LIMIT, TRAIN - 1, TRAIN + 1])
def test_a_score_file_of_another_length_is_refused(tree: Path, tmp_path: Path, count: int) -> None:
    np.save(tmp_path / "s.npy", np.arange(count, dtype=float))
    with pytest.raises(InputError, match=rf"{count} scores.*{TRAIN}, one for each row"):
        run(tree, tmp_path / "r", f"scores:{tmp_path}/s.npy")
    assert not list((tmp_path / "r" / "records").iterdir())


def test_ids_beyond_the_original_split_are_refused(tree: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", ids=np.arange(TRAIN + 1), scores=np.zeros(TRAIN + 1))
    with pytest.raises(InputError, match=rf"id {TRAIN}; accepted: 0 to {TRAIN - 1}"):
        run(tree, tmp_path / "r", f"scores:{tmp_path}/s.npz")


def test_records_of_earlier_versions_say_what_their_ids_count(tree: Path, tmp_path: Path) -> None:
    """Such records lack the sizes, and their ids count the limited rows."""
    record, store = run(tree, tmp_path / "new", "random")
    info = {k: v for k, v in record.info.items() if not k.startswith("original_")}
    with np.load(io.BytesIO(store.artifact(record.key, "samples.npz"))) as arrays:
        samples = dict(arrays)
    for name in ("id", "kept"):
        samples[name] = np.searchsorted(ROWS, samples[name])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **samples)
    old = Store.open(tmp_path / "old")
    stored = old.save(replace(record, info=info, artifacts={}), {"samples.npz": buffer.getvalue()})
    assert list(table(old, record.key, "kept")) == ["limited_row"]
    assert table(old, record.key, "kept")["limited_row"].max() < LIMIT
    assert compare_records(stored, record)["identical"]
    assert list(table(store, record.key, "kept")) == ["id"]


def test_evidence_holds_original_rows_and_earlier_evidence_is_read(
    tree: Path, tmp_path: Path
) -> None:
    cell, store = cell_of(tree), Store.open(tmp_path)
    run_cell(replace(cell, evidence=EvidenceSpec(frozenset({"p_target"}))), store)
    folder, task = store.evidence_path(cell.spec.key), load_task(cell.spec, cell.data)
    ids = np.load(folder / "ids.npy")
    assert ids.tolist() == ROWS[task.train.sample_ids.numpy()].tolist()
    new = RecordedEvidence(task, 3, 1, [folder])
    assert new.ids.tolist() == ids.tolist()
    assert new.original_size == TRAIN
    np.save(folder / "ids.npy", task.train.sample_ids.numpy())
    old = RecordedEvidence(task, 3, 1, [folder])
    assert old.ids.tolist() == ids.tolist()
    assert torch.equal(old.p_target, new.p_target)
