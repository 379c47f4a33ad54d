"""Grids from the command line: resumed, sharded, spread over workers."""

from pathlib import Path

import pytest

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.grids.mixture import mixture, of_cells
from prunebench.bench.results.store import Store
from support.command import figures, files, prunebench
from support.small_grid import GRID, key_of


def test_a_grid_reports_its_cells(whole):
    _, out, said = whole
    assert said.code == 0, said.err
    assert said.json == {"out": str(out), "cells": 6, "stood": 0, "done": 6}
    assert len(figures(out)) == 6


def test_a_second_grid_trains_nothing_and_prints_the_same_board(whole, copied):
    toml = whole[0]
    for name in (key_of(copied, "random"), "0123456789abcdef"):  # as killed workers leave them
        (copied / "checkpoints" / name).mkdir(parents=True)
    first = prunebench("leaderboard", copied)
    assert first.code == 0
    assert "small-loss" in first.out
    board, records = files(copied / "leaderboard"), files(copied / "records")
    again = prunebench("grid", toml, "--out", copied, "-w", "1", "--no-mlflow", "--json")
    assert again.json == {"out": str(copied), "cells": 6, "stood": 6}
    assert files(copied / "records") == records
    assert [path.name for path in (copied / "checkpoints").iterdir()] == ["0123456789abcdef"]
    assert prunebench("leaderboard", copied).out == first.out
    assert files(copied / "leaderboard") == board
    written = prunebench("leaderboard", copied, "--json", "--out", "elsewhere").json
    assert {Path(path).name for path in written} == set(board)
    assert files(Path("elsewhere")) == board


def test_a_missing_cell_alone_is_run_again(whole, copied):
    (copied / "records" / f"{key_of(copied, 'small-loss')}.json").unlink()
    again = prunebench("grid", whole[0], "--out", copied, "-w", "1", "--no-mlflow", "--json")
    assert again.json == {"out": str(copied), "cells": 6, "stood": 5, "done": 1}
    assert figures(copied) == figures(whole[1])


def test_dry_runs_change_nothing(whole, tmp_path, monkeypatch):
    monkeypatch.delenv("PRUNEBENCH_INLINE")  # what a dry run times has a limit, so a process
    toml, out, _ = whole
    fresh = prunebench("grid", toml, "--out", "fresh", "--dry-run", "--json", "-w", "1").json
    assert (fresh["cells"], fresh["recorded already"], fresh["to run"]) == (6, 0, 6)
    assert fresh["of these shared scoring runs"] == 2
    assert not (tmp_path / "fresh").exists()
    words = ("grid", toml, "--out", out, "--dry-run", "--json", "-w", "1")
    assert prunebench(*words).json["to run"] == 0


def test_two_shards_make_the_whole(whole):
    toml, out, _ = whole
    for shard in ("1/2", "2/2"):
        said = prunebench(
            "grid", toml, "--out", "shards", "-w", "1", "--no-mlflow", "--shard", shard
        )
        assert said.code == 0, said.err
    assert figures(Path("shards")) == figures(out)


def test_two_workers_give_what_one_gives(whole, plugin):
    """The plug-in's methods run in the worker processes; the one that fails stops no other."""
    toml, out, _ = whole
    names = '"small-loss", "first-half", "broken-promise"]'
    toml = Path("plugin.toml")
    toml.write_text(GRID.replace('"small-loss"]', names))
    said = prunebench("--plugin", plugin, "grid", toml, "--out", "many", "-w", "2", "--no-mlflow")
    assert said.code == 1
    assert "no plan today" in said.err
    assert "Traceback" not in said.err
    many = figures(Path("many"))
    mine = {key: entry for key, entry in many.items() if key not in figures(out)}
    assert {key: entry for key, entry in many.items() if key not in mine} == figures(out)
    assert sorted(entry[0] for entry in mine.values()) == ["done", "done", "failed", "failed"]

    shown = prunebench("status", "many", "--json")
    assert shown.code == 0
    assert shown.json["counts"] == {"done": 8, "failed": 2}
    assert shown.json["running"] == []
    reasons = [r["reason"] for r in shown.json["records"] if r["status"] == "failed"]
    assert reasons == ["RuntimeError: no plan today (method broken-promise, in plan())"] * 2
    assert prunebench("status", "many").out.count("no plan today") == 2
    key = next(key for key, entry in mine.items() if entry[0] == "failed")
    assert b"in plan" in Store(Path("many")).artifact(key, "traceback.txt")

    words = ("run", "--method", "first-half", "--noise", "symmetric:0.4", "--ratio", "0.5",
             "--recipe-param", "epochs=4", "--no-mlflow", "--json")  # fmt: skip
    alone = prunebench("--plugin", plugin, *words, "--out", "alone")
    assert alone.code == 0
    assert figures(Path("alone"))[alone.json["key"]] == many[alone.json["key"]]


def test_another_recipe_is_refused_before_it_trains_or_added_on_request(whole, copied, tmp_path):
    before = files(copied)
    other = tmp_path / "other.toml"
    other.write_text(GRID.replace("epochs = 4", "epochs = 5"))
    words = ("grid", other, "--out", copied, "-w", "1", "--no-mlflow", "--json")
    refused = prunebench(*words)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "this grid has recipe.epochs 5 (there: 4); accepted: another --out; --add" in refused.err
    assert f"prunebench drop {copied} --where recipe.epochs=4" in refused.err
    assert files(copied) == before
    added = prunebench(*words, "--add", "--shard", "1/6")
    assert added.code == 0
    assert "recipe.epochs 5 (there: 4); each gets tables of its own" in added.err
    assert added.json["cells"] in (1, 2)  # a static method brings its scoring run
    again = prunebench(*words, "--shard", "1/6")  # what the folder was asked for is no news
    assert (again.code, again.err) == (0, "")
    shown = prunebench("leaderboard", copied, "--out", "board")
    assert shown.code == 0
    listed = prunebench("list", copied, "--json").json
    assert {row["board"] for row in listed} == {"digits, 4 epochs", "digits, 5 epochs"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs = 4", "epochs = 5", "recipe.epochs 5 (there: 4)"),
        ('"digits"', '"digits"\nbudget = "paper"', "budget paper (there: samples)"),
        ('"digits"', '"digits"\nreference = { size = 9 }', "reference.size 9 (there: none)"),
        ('"small-loss"]', '"small-loss"]\nrecipe = "mnist-small"', "recipe.name mnist-small"),
        ('"digits"', '"synthetic"', ""),
        ('"symmetric:0.4"', '"clean"', ""),
        ("0.5", "0.3", ""),
        ('"0..1"', '"0..7"', ""),
        ('"digits"', '"digits"\ncriterion = "sop"', ""),
    ],
)
def test_what_a_grid_brings_beside_other_runs(whole, tmp_path, old, new, said):
    other = tmp_path / "other.toml"
    other.write_text(GRID.replace(old, new))
    found = mixture(Store(whole[1]), of_cells(expand(*read_grid(other))))
    assert (found is not None) == bool(said)
    if found:
        assert said in found.line
        assert found.foreign
        both = of_cells([*expand(*read_grid(other)), *expand(*read_grid(whole[0]))])
        named = mixture(Store(whole[1]), both)
        assert named is not None
        assert not named.foreign  # a grid that names all that is there means it


def test_a_run_beside_other_runs_says_so_in_one_line(copied):
    words = ("run", "--noise", "symmetric:0.4", "--out", copied, "-q", "--no-mlflow")
    first = prunebench(*words, "--recipe-param", "epochs=1")
    assert first.code == 0
    assert first.err == (
        f"note: {copied} holds other runs of digits: this run has recipe.epochs 1 (there: 4); "
        "each gets tables of its own\n"
    )
    assert prunebench(*words, "--recipe-param", "epochs=1").err == ""  # it is there by now
    assert prunebench(*words, "--recipe-param", "epochs=4").err == ""


def test_every_cell_of_the_grid_is_expected(whole, copied):
    assert prunebench("audit", copied).out.endswith("nothing to report\n")
    store = Store(copied)
    for record in store.scan().records:
        if record.spec["method"]["name"] == "full" or record.spec["seed"] == 1:
            (store.records / f"{record.key}.json").unlink()
    said = prunebench("audit", copied)
    assert said.code == 0
    assert "digits, ratio 0, full" in said.out
    assert "lacks symmetric:0.4 seed 0, symmetric:0.4 seed 1: 2 of 2 cells" in said.out
    for method in ("random", "small-loss"):
        assert f"digits, ratio 0.5, {method}" in said.out
    assert said.out.count("lacks symmetric:0.4 seed 1: 1 of 2 cells") == 2
    listed = prunebench("list", copied, "--status", "planned", "--json").json
    assert sorted((row["method"], row["seed"]) for row in listed) == [
        ("full", 0), ("full", 1), ("random", 1), ("small-loss", 1),
    ]  # fmt: skip
    for path in (copied / "planned").iterdir():
        path.unlink()  # as in folders of earlier versions
    assert "seed 1" not in prunebench("audit", copied).out
    assert "no run of full training" in prunebench("audit", copied).out
    assert prunebench("audit", copied, "--grid", whole[0]).out == said.out
