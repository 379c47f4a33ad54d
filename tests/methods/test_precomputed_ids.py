"""``ids:FILE``: exactly the samples that a file names, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.export import export_csv
from prunebench.errors import InputError
from prunebench.methods.compose import resolve_method
from prunebench.methods.interfaces import kept_count
from prunebench.methods.precomputed_ids import matching_ratio, read_ids
from prunebench.rng import Stream
from support.cells import small_cell
from support.command import prunebench


def evidence(ids: list[int], original: int = 10) -> Any:
    return SimpleNamespace(ids=torch.tensor(ids), original_size=original)


def written(folder: Path, suffix: str, ids: list[int]) -> Path:
    path = folder / f"kept.{suffix}"
    if suffix == "npy":
        np.save(path, np.array(ids))
    elif suffix == "npz":
        np.savez(path, ids=np.array(ids, dtype=np.uint16))
    elif suffix == "csv":
        path.write_text("name,id\n" + "".join(f"x,{i}\n" for i in ids))
    else:
        path.write_text(json.dumps(ids if folder.name.endswith("0") else {"indices": ids}))
    return path


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "json"])
def test_every_format_keeps_the_same_samples(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, suffix, [7, 1, 4])
    assert read_ids(path, 10).tolist() == [1, 4, 7]
    method: Any = resolve_method(f"ids:{path}").build()
    subset = method.keep(evidence([0, 1, 4, 5, 7, 9]), 3, Stream(0))
    assert subset.indices.tolist() == [1, 2, 4]
    assert subset.scores is None
    assert len(method.identity()) == 64
    assert method.portable() == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2, 2]", "id 2 is there 2 times"),
        ("[1, 10]", "id 10"),
        ("[-1]", "id -1"),
        ("[]", "one or more"),
        ("[1.5]", "no list of whole numbers"),
        ("[true]", "no list of whole numbers"),
        ('{"ids": [1]}', "no list of whole numbers"),
        ("[[[[", "cannot be read"),
        ("[1, 3, 5]", "1 of 3 ids are no training samples, 3 the first"),
        ("[1, 5]", "the file names 2 of 4 samples, 3 are kept at this ratio; accepted: 0.5"),
    ],
)
def test_bad_files_end_with_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text)
    method: Any = resolve_method(f"ids:{path}").build()
    with pytest.raises(InputError) as caught:
        method.keep(evidence([1, 5, 6, 7]), 3, Stream(0))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("total", [1, 7, 1247, 50_000])
def test_the_ratio_of_the_error_line_keeps_that_many(total: int) -> None:
    for kept in {1, total // 3 or 1, total // 2 or 1, total}:
        assert kept_count(total, matching_ratio(kept, total)) == kept


def test_what_a_run_kept_gives_the_same_run_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    first = small_cell("small-loss", recipe_params={"epochs": 3})
    run_cell(first, store)
    (tmp_path / "kept.csv").write_text(export_csv(store, first.spec.key, "kept"))
    again = small_cell(f"ids:{tmp_path / 'kept.csv'}", recipe_params={"epochs": 3})
    record, _ = run_cell(again, store)
    assert record.status == "done"
    whole = store.get(first.spec.key)
    assert whole is not None
    assert record.metrics["test_accuracy"] == whole.metrics["test_accuracy"]
    assert record.artifacts["predictions.npz"] == whole.artifacts["predictions.npz"]


def test_kept_ids_go_out_and_come_back_in_every_form(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    cell = small_cell("random", recipe_params={"epochs": 1})
    run_cell(cell, store)
    wanted = None
    for suffix in ("csv", "npy", "json"):
        file = tmp_path / f"kept.{suffix}"
        said = prunebench("export", cell.spec.key, store.root, "--what", "kept", "--to", file)
        assert said.code == 0, said.err
        found = read_ids(file, 1347).tolist()
        wanted = wanted or found
        assert found == wanted
    assert json.loads((tmp_path / "kept.json").read_text()) == {"indices": wanted}
    given = json.loads((tmp_path / "kept.json").read_text())
    subset: Any = torch.utils.data.Subset(range(1347), **given)
    assert [subset[place] for place in range(len(subset))] == wanted
    assert list(torch.utils.data.Subset(range(1347), np.load(tmp_path / "kept.npy"))) == wanted
    with suppress(ImportError):
        from datasets import Dataset  # the library, where it is installed; else this checkout's

        rows = Dataset.from_dict({"id": list(range(1347))})
        assert rows.select(**given)["id"][:] == wanted
    refused = prunebench("export", cell.spec.key, store.root, "--to", tmp_path / "scores.npy")
    assert refused.code == 2
    assert "--what kept" in refused.err
