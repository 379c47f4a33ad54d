"""The command line: what it prints, what it returns, and what it makes of bad input."""

import csv
import io
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prunebench.bench.cli import VERBS
from prunebench.bench.store import Store
from prunebench.datasets.packfile import write_packed
from prunebench.record import load
from prunebench.registry import METHODS
from support.command import Said, command, figures, files, process, prunebench

GRID = """
name = "small"
dataset = "digits"
noise = "symmetric:0.4"
method = ["full", "random", "small-loss"]
ratio = 0.5
seed = "0..1"
recipe_params = { epochs = 4 }
"""

PLUGIN = """
from prunebench.methods.base import DynamicPruner, Plan, register_method

@register_method("first-half")
class FirstHalf(DynamicPruner):
    def plan(self, progress, tables, rng):
        return Plan(self.everything().indices[: self.view.num_samples // 2])

@register_method("broken-promise")
class BrokenPromise(DynamicPruner):
    def plan(self, progress, tables, rng):
        raise RuntimeError("no plan today")
"""

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any((name + ".").startswith(heavy + ".") for heavy in {blocked!r}):
            raise RuntimeError(name + " was imported")

sys.meta_path.insert(0, Blocker())
from prunebench.bench.cli import main
main()
"""

ISSUE = shlex.split(
    "run --dataset digits --noise symmetric:0.4 --method infobatch+align --ratio 0.5 --seed 0"
)
SHORT = ("run", "--method", "random", "--ratio", "0.5", "--recipe-param", "epochs=2", "--no-mlflow")


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Works in an empty folder; grids with one worker run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, Path, Said]:
    """A grid file, the folder of its results, and what the call said."""
    folder = tmp_path_factory.mktemp("whole")
    toml, out = folder / "small.toml", folder / "results"
    toml.write_text(GRID)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEBENCH_INLINE", "1")
        said = prunebench("grid", toml, "--out", out, "-w", "1", "--no-mlflow", "--json")
    return toml, out, said


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    """A copy of the grid's results that a test may spoil."""
    for name, data in files(whole[1]).items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    return tmp_path / "copy"


@pytest.fixture
def plugin(tmp_path):
    """A plug-in file whose methods are forgotten afterwards."""
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    yield file
    for name in ("first-half", "broken-promise"):
        METHODS._entries.pop(name, None)
    for name in [n for n in sys.modules if n.startswith("prunebench_plugin_mine_")]:
        del sys.modules[name]


def key_of(root: Path, method: str) -> str:
    records = Store(root).scan().records
    return next(r.key for r in records if r.spec["method"]["name"] == method)


def edit(root: Path) -> Path:
    """Improves a record by hand."""
    path = root / "records" / f"{key_of(root, 'random')}.json"
    text = path.read_text()
    start = text.index('"test_accuracy":') + len('"test_accuracy":')
    path.write_text(text[:start] + "0.99" + text[text.index(",", start) :])
    return path


def one_line(said: Said, *parts: str) -> None:
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.endswith("\n")
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err, said.err


# What a run prints


def test_run_prints_one_record_and_repeats_bit_for_bit(tmp_path):
    words = [*ISSUE, "--json", "--out"]
    real = process(command(*words, tmp_path / "a"))
    assert real.code == 0, real.err
    one = real.json
    assert one["key"] == Store(tmp_path / "a").scan().records[0].key
    assert one["status"] == "done"
    assert one["spec"]["method"]["name"] == "infobatch+align"
    assert one["spec"]["noise"]["name"] == "symmetric:0.4"
    assert 0.5 < one["metrics"]["test_accuracy"] <= 1.0
    assert abs(one["metrics"]["realised_ratio"] - 0.5) <= 0.002
    assert one["ledger"]["trained"] == one["ledger"]["target"] > 0
    assert {"epochs.csv", "predictions.npz", "samples.npz"} <= one["artifacts"].keys()
    assert all(len(entry["sha256"]) == 64 for entry in one["artifacts"].values())
    assert one["environment"]["threads"] == 1
    assert one["environment"]["torch"] == torch.__version__

    again = prunebench(*words, tmp_path / "b", "--no-mlflow")
    assert again.code == 0
    for part in ("key", "spec", "metrics", "ledger", "artifacts", "info"):
        assert again.json[part] == one[part]

    synced = prunebench("sync", tmp_path / "a")
    assert synced.code == 0
    assert synced.out.startswith("0 runs written, 1 unchanged, 0 superseded, 0 without a record")
    assert not (tmp_path / "b" / "mlflow.db").exists()


def test_run_without_json_names_the_record(tmp_path):
    said = prunebench(*SHORT, "--out", "r", "--quiet")
    assert said.code == 0
    assert "test_accuracy" in said.out
    assert Store(tmp_path / "r").scan().records[0].key in said.out


def test_what_a_run_without_the_mirror_never_imports(tmp_path):
    blocked = ("mlflow", "optuna", "ray", "timm", "torch._dynamo")  # the last takes seconds
    said = process(
        [sys.executable, "-c", BLOCKER.format(blocked=blocked), *SHORT, "--out", "r", "--json"]
    )
    assert said.code == 0, said.err
    assert said.json["status"] == "done"


@pytest.mark.parametrize("verb", ["", "run", "status"])
def test_help_waits_for_nothing_heavy(verb):
    blocked = ("mlflow", "optuna", "torch", "torchvision", "sklearn", "scipy", "pandas", "numpy")
    words = [sys.executable, "-c", BLOCKER.format(blocked=blocked), *verb.split(), "--help"]
    said = process(words)
    assert said.code == 0, said.err
    assert "Example: prunebench" in said.out


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_of_every_verb_shows_an_example(verb):
    said = prunebench(verb, "--help")
    assert said.code == 0
    assert f"Example: prunebench {verb}" in said.out
    assert VERBS[verb][1] in prunebench("--help").out


# Grids


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


def test_run_with_four_workers_gives_what_one_gives():
    words = ("run", "--method", "small-loss", "--noise", "symmetric:0.4", "--ratio", "0.5",
             "--recipe-param", "epochs=4", "--no-mlflow", "--json")  # fmt: skip
    one, four = prunebench(*words, "--out", "one"), prunebench(*words, "--out", "four", "-w", "4")
    assert (one.code, four.code) == (0, 0)
    for part in ("key", "metrics", "ledger", "artifacts"):
        assert one.json[part] == four.json[part]
    assert figures(Path("one")) == figures(Path("four"))


# Looking at results


@pytest.mark.parametrize(
    ("what", "columns", "method"),
    [
        ("scores", ["id", "score"], "small-loss"),
        ("kept", ["id"], "small-loss"),
        ("visits", ["id", "epochs"], "random"),
        ("epochs", ["epoch", "trained", "lr"], "full"),
        ("classes", ["class", "name", "kept_share", "test_accuracy"], "random"),
        ("predictions", ["index", "predicted"], "full"),
    ],
)
def test_exports_are_csv(whole, tmp_path, what, columns, method):
    out = whole[1]
    key = key_of(out, method)
    said = prunebench("export", key, "--out", out, "--what", what)
    assert said.code == 0, said.err
    rows = list(csv.reader(io.StringIO(said.out)))
    assert rows[0][: len(columns)] == columns
    assert len({len(row) for row in rows}) == 1
    record = load(out / "records" / f"{key}.json")
    n, epochs = record.ledger["num_samples"], record.ledger["epochs"]
    length = {"scores": n, "kept": n // 2, "visits": n, "epochs": epochs, "classes": 10,
              "predictions": record.info["test_size"]}[what]  # fmt: skip
    assert abs(len(rows) - 1 - length) <= (what == "kept")
    filed = prunebench("export", key, "--out", out, "--what", what, "--to", "new/file.csv")
    assert filed.code == 0
    assert filed.out == ""
    assert (tmp_path / "new/file.csv").read_text() == said.out


def test_rerun_tells_identical_from_different(copied):
    key = key_of(copied, "random")
    same = prunebench("rerun", key, "--out", copied, "--quiet")
    assert same.code == 0, same.err
    assert f"{key}: identical" in same.out

    path = copied / "records" / f"{key}.json"
    record = load(path)
    better = {**record.metrics, "test_accuracy": 0.99}
    path.write_text(replace(record, metrics=better).sealed().dumps() + "\n")
    assert prunebench("status", copied).code == 0  # the digest was computed anew
    forged = prunebench("rerun", key, "--out", copied, "--quiet", "--json")
    assert forged.code == 1
    assert forged.json["identical"] is False
    assert forged.json["differences"][0].startswith("test_accuracy: 0.99 -> ")
    assert "DIFFERENT" in prunebench("rerun", key, "--out", copied, "--quiet").out


def test_the_printed_command_gives_the_same_key(copied):
    key = key_of(copied, "small-loss")
    said = prunebench("rerun", key, "--out", copied, "--quiet", "--json", "--into", "again")
    assert said.code == 0, said.err
    words = shlex.split(said.json["command"])
    assert words[:2] == ["prunebench", "run"]
    again = prunebench(*words[1:], "--out", "again", "--no-mlflow", "--json")
    assert again.code == 0, again.err
    assert again.json["key"] == key


def test_rerun_asks_for_the_file_of_scores():
    np.save("mine.npy", np.random.default_rng(0).random(2000))
    np.save("other.npy", np.zeros(2000))
    first = prunebench(*SHORT, "--method", "scores:mine.npy", "--out", "r", "--json")
    assert first.code == 0, first.err
    again = ["rerun", first.json["key"], "--out", "r", "--quiet"]
    one_line(prunebench(*again), "--method-file")
    one_line(prunebench(*again, "--method-file", "other.npy"), "other.npy", "not the file")
    same = prunebench(*again, "--method-file", "mine.npy")
    assert same.code == 0, same.err
    assert "--method scores:PATH" in same.out


def test_lists_are_tables_and_json(whole):
    known = {card["name"]: card for card in prunebench("methods", "--json").json}
    assert {"full", "random", "infobatch", "infobatch+align", "small-loss"} <= known.keys()
    assert known["small-loss"]["kind"] == "static"
    assert known["infobatch"]["options"]["r"]["default"] == 0.5
    card = prunebench("methods", "infobatch+align")
    assert card.code == 0
    assert "delta" in card.out
    assert "reference" in card.out
    assert "infobatch+align" in prunebench("methods").out
    sets = {card["usage"] for card in prunebench("datasets", "--json").json}
    assert {"digits", "synthetic", "packed:PATH"} <= sets
    assert "packed:PATH" in prunebench("datasets").out
    shown = prunebench("status", whole[1], "--json").json
    assert shown["counts"] == {"done": 6}
    assert len(shown["records"]) == 6
    assert shown["problems"] == shown["running"] == []


def test_doctor_says_what_works_and_what_does_not(tmp_path):
    well = prunebench("doctor", "--json", "--out", tmp_path / "new")
    assert well.code == 0, well.out
    assert {check["check"] for check in well.json} >= {"python", "torch + torchvision", "mlflow"}
    assert all(check["ok"] for check in well.json)
    (tmp_path / "file").touch()
    ill = prunebench("doctor", "--out", tmp_path / "file" / "results")
    assert ill.code == 1
    assert "FAIL  results folder" in ill.out


# Bad input: one line, exit code 2, nothing made


@pytest.fixture
def place(tmp_path):
    """Files that no verb should swallow."""
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "malformed.toml").write_text(GRID + "seed = [\n")
    (tmp_path / "misspelt.toml").write_text(GRID.replace("noise =", "nosie ="))
    (tmp_path / "ratio.toml").write_text(GRID.replace("0.5", "1.5"))
    (tmp_path / "good.toml").write_text(GRID)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    images = torch.arange(20 * 64, dtype=torch.int64).remainder(251).to(torch.uint8)
    for name in ("truncated", "foreign", "other"):
        for part in ("train", "test"):
            (tmp_path / name).mkdir(exist_ok=True)
            write_packed(tmp_path / name / f"{part}.npz", images.view(20, 1, 8, 8), [0, 1] * 10)
    train = tmp_path / "truncated" / "train.npz"
    train.write_bytes(train.read_bytes()[:-200])
    (tmp_path / "foreign" / "train.npz").write_bytes(b"\x89PNG something else")
    (tmp_path / "other" / "test.npz").write_bytes(train.read_bytes()[:20])
    return tmp_path


CELL = ["run", "--out", "made", "--no-mlflow", "--json"]
MADE = ["--out", "made", "--no-mlflow"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([*CELL, "--method", "infobacth"], ["unknown method 'infobacth'", "infobatch"]),
        ([*CELL, "--method", "random+align"], ["random+align", "score-based"]),
        ([*CELL, "--method", "scores:absent.npy", "--ratio", "0.5"], ["absent.npy"]),
        ([*CELL, "--dataset", "digit"], ["unknown dataset 'digit'", "digits"]),
        ([*CELL, "--dataset", "packed:absent"], ["absent", "train.npz"]),
        ([*CELL, "--dataset", "packed:truncated"], ["truncated/train.npz"]),
        ([*CELL, "--dataset", "packed:foreign"], ["foreign/train.npz"]),
        ([*CELL, "--dataset", "packed:other"], ["other/test.npz"]),
        ([*CELL, "--noise", "symetric:0.4"], ["unknown noise", "symmetric"]),
        ([*CELL, "--noise", "symmetric:1.4"], ["1.4", "0 to below 1"]),
        ([*CELL, "--noise", "symmetric:x"], ["x"]),
        ([*CELL, "--noise", "symmetric:nan"], ["nan"]),
        ([*CELL, "--method", "random", "--ratio", "1.0"], ["ratio", "1.0", "less than 1"]),
        ([*CELL, "--method", "random", "--ratio", "-0.1"], ["ratio", "-0.1"]),
        ([*CELL, "--method", "random", "--ratio", "nan"], ["ratio", "nan"]),
        ([*CELL, "--method", "random", "--ratio", "half"], ["--ratio", "half"]),
        ([*CELL, "--method", "full", "--ratio", "0.5"], ["ratio of full", "0.5"]),
        ([*CELL, "--seed", "-1"], ["seed", "-1"]),
        ([*CELL, "--budget", "steps"], ["--budget", "samples", "paper", "epochs"]),
        ([*CELL, "--recipe", "digit"], ["unknown recipe", "digits"]),
        ([*CELL, "--criterion", "sopp"], ["unknown criterion", "sop"]),
        ([*CELL, "--reference-size", "-1"], ["--reference-size"]),
        ([*CELL, "--method", "random", "--param", "r=0.5"], ["unknown option 'r'"]),
        ([*CELL, "--method", "infobatch", "--param", "r=1.5"], ["infobatch.r", "1.5"]),
        ([*CELL, "--method", "infobatch", "--param", "r=NaN"], ["infobatch.r", "nan"]),
        ([*CELL, "--method", "infobatch", "--param", "r"], ["--param", "'r'", "name=value"]),
        ([*CELL, "--recipe-param", "epoch=2"], ["unknown field 'epoch'"]),
        ([*CELL, "--recipe-param", "epochs=none"], ["epochs"]),
        ([*CELL, "--recipe-param", "model=resnet1"], ["unknown model 'resnet1'"]),
        ([*CELL, "--recipe-param", 'model_params={"wide": 3}'], ["wide"]),
        ([*CELL, "--dataset-param", "size=3"], ["unknown option 'size'"]),
        ([*CELL, "--record-losses", "0"], ["--record-losses"]),
        ([*CELL, "--device", "gpu0"], ["unknown device 'gpu0'", "cpu"]),
        ([*CELL, "--device", "cuda:99"], ["cuda:99"]),
        ([*CELL, "--device", ""], ["--device"]),
        ([*CELL, "--workers", "0"], ["--workers"]),
        (["run", "--out", "file/below", "--no-mlflow"], ["file/below", "writ"]),
        (["run", "--out", "file", "--no-mlflow"], ["file", "writ"]),
        (["run", "--nosie", "clean"], ["--nosie"]),
        (["grid", "malformed.toml", *MADE], ["malformed.toml", "malformed TOML"]),
        (["grid", "misspelt.toml", *MADE], ["misspelt.toml", "'nosie'", "noise"]),
        (["grid", "ratio.toml", *MADE], ["ratio.toml", "ratio", "1.5"]),
        (["grid", "absent.toml", *MADE], ["absent.toml"]),
        (["grid", "dem", *MADE], ["'dem'", "demo"]),
        (["grid", "good.toml", "--out", "file/below", "--no-mlflow"], ["file/below", "writ"]),
        (["grid", "good.toml", *MADE, "--shard", "3/2"], ["--shard", "3/2", "I/N"]),
        (["grid", "good.toml", *MADE, "--shard", "half"], ["--shard", "half"]),
        (["grid", "good.toml", *MADE, "--shard", "²/2"], ["--shard"]),
        (["grid"], ["GRID"]),
        (["demo", "--out", "file/below", "--no-mlflow"], ["file/below", "writ"]),
        (["status", "absent"], ["absent", "records"]),
        (["leaderboard", "absent"], ["absent", "records"]),
        (["leaderboard"], ["RESULTS"]),
        (["sync", "absent"], ["absent"]),
        (["export"], ["KEY"]),
        (["rerun"], ["KEY"]),
        (["export", "0123456789abcdef", "--out", "absent"], ["absent"]),
        (["methods", "infobacth"], ["unknown method", "infobatch"]),
        (["train"], ["unknown command 'train'"]),
        (["--plugin", "absent.py", "methods"], ["absent.py"]),
        (["--plugin", "broken.py", "methods"], ["broken.py", "nothing_of_that_name"]),
        (["--verbose"], ["--verbose"]),
    ],
    ids=lambda value: " ".join(value).replace(" ".join(CELL), "run")[:60],
)
def test_bad_input_is_one_line(place, words, parts):
    before = files(place)
    one_line(prunebench(*words), *parts)
    assert files(place) == before
    assert not (place / "made").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["export", "nonsense", "--out", "copy"], ["nonsense"]),
        (["export", "0123456789abcdef", "--out", "copy"], ["0123456789abcdef"]),
        (["export", "{random}", "--out", "copy", "--what", "logits"], ["--what", "scores"]),
        (["export", "{full}", "--out", "copy", "--what", "kept"], ["full leaves no kept"]),
        (
            ["export", "{full}", "--what", "epochs", "--out", "copy", "--to", "copy/file/y"],
            ["copy/file/y", "written"],
        ),
        (["rerun", "../records/x", "--out", "copy"], ["records/x"]),
        (["rerun", "0123456789abcdef", "--out", "copy"], ["0123456789abcdef"]),
        (["leaderboard", "copy", "--out", "copy/file/y"], ["copy/file/y", "written"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_questions_about_results_are_one_line(copied, words, parts):
    (copied / "file").touch()
    words = [word.format(random=key_of(copied, "random"), full=key_of(copied, "full"))
             for word in words]  # fmt: skip
    before = files(copied)
    one_line(prunebench(*words), *parts)
    assert files(copied) == before


def test_an_edited_record_is_reported_and_never_ranked(copied):
    path = edit(copied)
    before = files(copied)
    shown = prunebench("status", copied, "--json")
    assert shown.code == 1
    assert [problem["path"] for problem in shown.json["problems"]] == [str(path)]
    assert "edited" in shown.json["problems"][0]["reason"]
    table = prunebench("status", copied)
    assert table.code == 1
    assert f"{path.name}: digest mismatch" in table.out
    one_line(prunebench("leaderboard", copied), path.name, "digest mismatch")
    one_line(prunebench("rerun", path.stem, "--out", copied), path.name, "digest mismatch")
    one_line(prunebench("export", path.stem, "--out", copied), path.name, "digest mismatch")
    assert files(copied) == before


def test_what_only_the_data_can_refute_leaves_no_record():
    said = prunebench(*CELL, "--reference-size", "100000")
    one_line(said, "reference_size", "100000", "below 1347")
    assert not Store(Path("made")).keys()


def test_bad_input_of_a_real_process():
    said = process(command("run", "--method", "infobacth", "--out", "made"))
    one_line(said, "infobatch")
    assert not Path("made").exists()


def test_json_is_one_value_for_status_of_an_empty_folder(tmp_path):
    Store.open(tmp_path / "empty")
    said = prunebench("status", "empty", "--json")
    assert said.code == 0
    assert json.loads(said.out)["records"] == []
