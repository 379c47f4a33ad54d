"""How a user calls a data set: on boards, in listings and filters, and in no key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import prunebench as pb
from prunebench.bench.results.store import Store
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.datasets.sources.folder import Folder
from prunebench.datasets.sources.hf import HuggingFace
from prunebench.datasets.sources.packed import Packed
from prunebench.errors import InputError
from prunebench.leaderboard.board.build import build
from support.command import prunebench

DICE = np.random.default_rng(0)
X = DICE.normal(size=(60, 4)).astype(np.float32)
Y = np.arange(60) % 3
FAST = {"epochs": 1, "batch_size": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a set named in Python, of a file of other content, and of a registered name."""
    root = tmp_path_factory.mktemp("titles")
    own = pb.task((X, Y), (X[:12], Y[:12]), name="flowers")
    pb.grid({"dataset": own, "method": ["full", "random"], "ratio": 0.5, "recipe_params": FAST},
            out=root / "out", mlflow=False, quiet=True, workers=1)  # fmt: skip
    for name, x in (("herbs", X + 1), ("digits", X + 2)):
        np.savez(root / f"{name}.npz", X=x, y=Y, X_test=x[:12], y_test=Y[:12])
        pb.run(f"arrays:{root / name}.npz", method="random", ratio=0.5, out=root / "out",
               recipe_params=FAST, mlflow=False, quiet=True)  # fmt: skip
    return root / "out"


def test_boards_and_listings_show_the_users_names(folder: Path) -> None:
    names = ["arrays:digits", "flowers", "herbs"]
    results = pb.load_results(folder)
    assert sorted(set(results.records["dataset"])) == names
    text = pb.leaderboard(results).markdown
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads[:4] == ["## What was found", *(f"## {name}, ratio 0.5" for name in names)]
    listed = prunebench("list", str(folder), "--json").json
    assert sorted({row["board"] for row in listed}) == names
    some = prunebench("list", str(folder), "--dataset", "herbs", "--json").json
    assert [row["board"] for row in some] == ["herbs"]
    all_of_them = prunebench("list", str(folder), "--dataset", "arrays", "--json").out
    assert len(json.loads(all_of_them)) == 4


def test_a_name_is_in_no_key_and_a_renamed_file_is_renamed_on_boards(
    folder: Path, tmp_path: Path
) -> None:
    old = folder.parent / "herbs.npz"
    keys = []
    for name in ("herbs", "spices"):
        file = tmp_path / f"{name}.npz"
        file.write_bytes(old.read_bytes())
        run = pb.run(f"arrays:{file}", method="random", ratio=0.5, out=tmp_path / "out",
                     recipe_params=FAST, mlflow=False, quiet=True)  # fmt: skip
        keys.append(run.key)
        assert run.record.dataset == name
    assert keys[0] == keys[1]
    store = Store(tmp_path / "out")
    record = store.get(keys[0])
    assert record is not None
    early = {k: v for k, v in record.info.items() if k != "data_name"}
    store.save(replace(record, info=early))
    again = pb.run(f"arrays:{tmp_path / 'herbs.npz'}", method="random", ratio=0.5,
                   out=tmp_path / "out", recipe_params=FAST, mlflow=False, quiet=True)  # fmt: skip
    assert again.record.dataset == "arrays", "records of earlier versions stay as they are"


def test_names_of_folders_and_of_odd_files(tmp_path: Path) -> None:
    for source in (Folder, HuggingFace, Packed):
        assert source(path=str(tmp_path / "pets" / ".")).title() == "pets"
    np.savez(tmp_path / "a@b.npz", X=X, y=Y, X_test=X, y_test=Y)
    cell = resolve_cell(dataset=f"arrays:{tmp_path / 'a@b.npz'}", method="random", ratio=0.5)
    assert (cell.title, cell.shown) == ("", "arrays clean random 0.5 s0")
    assert resolve_cell(dataset="digits").title == ""


def test_data_of_one_name_have_tables_of_their_own(folder: Path) -> None:
    records = [replace(r, info={**r.info, "data_name": "same"}) for r in pb.load_results(folder).all
               if r.dataset != "flowers"]  # fmt: skip
    labels = {table.dataset for table in build(records).tables}
    assert len(labels) == 2
    assert all(label.startswith("same (content ") for label in labels)
    forged = [replace(records[0], info={**records[0].info, "data_name": "\x1b[31m"})]
    with pytest.raises(InputError, match="data_name"):
        build(forged)
