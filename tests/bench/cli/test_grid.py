"""Grids from the command line: resumed, sharded, spread over workers."""

from pathlib import Path

from prunebench.bench.store import Store
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


def test_dry_runs_change_nothing(whole, tmp_path):
    toml, out, _ = whole
    fresh = prunebench("grid", toml, "--out", "fresh", "--dry-run", "--json").json
    assert (fresh["cells"], fresh["recorded already"], fresh["to run"]) == (6, 0, 6)
    assert fresh["of these shared scoring runs"] == 2
    assert not (tmp_path / "fresh").exists()
    assert prunebench("grid", toml, "--out", out, "--dry-run", "--json").json["to run"] == 0


def test_two_shards_make_the_whole(whole):
    toml, out, _ = whole
    for shard in ("1/2", "2/2"):
        said = prunebench(
            "grid", toml, "--out", "shards", "-w", "1", "--no-mlflow", "--shard", shard
        )
        assert said.code == 0, said.err
    assert figures(Path("shards")) == figures(out)


def test_four_workers_give_what_one_gives(whole, plugin):
    """The plug-in's methods run in the worker processes; the one that fails stops no other."""
    toml, out, _ = whole
    names = '"small-loss", "first-half", "broken-promise"]'
    toml = Path("plugin.toml")
    toml.write_text(GRID.replace('"small-loss"]', names))
    said = prunebench("--plugin", plugin, "grid", toml, "--out", "many", "-w", "4", "--no-mlflow")
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
