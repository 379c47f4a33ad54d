"""Subsets and suspicious labels from Python."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from api.own_loop import network
from torch.utils.data import TensorDataset

from prunebench.api.own_data import task
from prunebench.api.pruning import Pruning
from prunebench.api.results import load_results
from prunebench.api.runs import run
from prunebench.api.selection import find_label_issues, select
from prunebench.errors import InputError
from prunebench.methods.precomputed_ids import read_ids
from support.command import prunebench

DICE = np.random.default_rng(0)
CLEAN = np.arange(400) % 4
X = (DICE.normal(size=(400, 8)) + 5 * np.eye(8)[CLEAN]).astype(np.float32)
WRONG = DICE.random(400) < 0.2
GIVEN = np.where(WRONG, (CLEAN + 1) % 4, CLEAN)
QUIET: dict[str, Any] = {"quiet": True, "mlflow": False}
SHORT: dict[str, Any] = {"model": network, "recipe": {"epochs": 6, "batch_size": 32}}


def test_a_selection_is_what_the_method_keeps(tmp_path: Path) -> None:
    found = select((X, GIVEN), method="small-loss", ratio=0.4, out=tmp_path, **SHORT, **QUIET)
    assert len(found) == 240
    assert found.scores is not None
    kept, left = found.scores[found.indices], np.delete(found.scores, found.indices)
    assert kept.max() <= left.min()
    assert WRONG[found.indices].mean() < 0.1
    with pytest.raises(InputError, match="no torch Dataset"):
        found.subset()
    records = load_results(tmp_path)
    again = select((X, GIVEN), method="small-loss", ratio=0.4, out=tmp_path, **SHORT, **QUIET)
    assert np.array_equal(again.indices, found.indices)
    assert len(load_results(tmp_path)) == len(records) == 1
    harness = run(task((X, GIVEN), (X, GIVEN)), method="small-loss", ratio=0.4, reference_size=0,
                  out=tmp_path / "run", **SHORT, **QUIET)  # fmt: skip
    assert len(harness.kept) == 240


def test_a_selection_of_a_dataset_goes_home(tmp_path: Path) -> None:
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(GIVEN))
    found = select(data, method="dyn-unc", ratio=0.5, out=tmp_path, **SHORT, **QUIET)
    subset = found.subset()
    assert torch.equal(subset[0][0], data[int(found.indices[0])][0])
    found.to_csv(tmp_path / "kept.csv")
    assert read_ids(tmp_path / "kept.csv", 400).tolist() == found.indices.tolist()
    pruning = Pruning(data, found, epochs=1, budget="epochs")
    pruning.begin_epoch()
    assert sorted(pruning.sampler) == found.indices.tolist()
    with pytest.raises(InputError, match="chooses while it trains"):
        select(data, method="infobatch", out=tmp_path, **SHORT, **QUIET)


def test_wrong_labels_come_first(tmp_path: Path) -> None:
    table = find_label_issues((X, GIVEN), out=tmp_path, **SHORT, **QUIET)
    assert list(table.columns) == ["id", "given_label", "predicted_label", "label_quality",
                                   "is_label_issue", "score"]  # fmt: skip
    assert table["label_quality"].is_monotonic_increasing
    assert table["label_quality"].between(0, 1).all()
    assert sorted(table["id"]) == list(range(400))
    worst = table["id"][: WRONG.sum()].to_numpy()
    assert WRONG[worst].mean() > 0.8
    issues = table[table["is_label_issue"]]
    assert (issues["given_label"] != issues["predicted_label"]).all()
    row = table[table["id"] == worst[0]].iloc[0]
    assert row["predicted_label"] == f"class {CLEAN[worst[0]]}"


def test_labels_have_the_names_that_are_given(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"class_names": list("abcd"), "out": tmp_path, **QUIET}
    named = find_label_issues((X, GIVEN), model=network, recipe={"epochs": 1}, **fields)
    assert [*named["given_label"]] == ["abcd"[GIVEN[row]] for row in named["id"]]
    with pytest.raises(InputError, match="class_names"):
        find_label_issues("digits", **fields)


def test_the_verb_lists_the_labels_of_a_recorded_run(tmp_path: Path) -> None:
    made = run("digits", noise="symmetric:0.3", method="full", recipe={"epochs": 8}, out=tmp_path,
               **QUIET)  # fmt: skip
    said = prunebench("issues", made.key, tmp_path, "--top", "20")
    assert said.code == 0, said.err
    table = pd.read_csv(io.StringIO(said.out))
    assert len(table) == 20
    assert table["is_label_issue"].mean() > 0.8
    assert (table["label_quality"].diff().dropna() >= 0).all()
    assert load_results(tmp_path).run(made.key).record.digest == made.record.digest
