"""A script with DeepCore's command line and output, as a clone that a user names, beside ours."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perf.benchmarks import deepcore
from perf.benchmarks.deepcore_setting import OURS, THEIRS, Setting, grid
from prunebench.bench.grids.grid_file import read_grid
from prunebench.bench.perf.timing import Taken
from prunebench.errors import InputError
from support.command import prunebench
from support.published import idx_tree

# What DeepCore's main.py takes, prints and leaves, without its training.
CLONE = """
import argparse, datetime, os, sys
p = argparse.ArgumentParser()
for name in ("--fraction", "--lr"):
    p.add_argument(name, type=float, required=True)
for name in ("--num_exp", "--workers", "--epochs", "--batch", "--seed"):
    p.add_argument(name, type=int, required=True)
for name in ("--dataset", "--data_path", "--optimizer", "--selection", "--model"):
    p.add_argument(name, required=True)
p.add_argument("--uncertainty", default="Entropy")
p.add_argument("--selection_epochs", "-se", type=int, required=True)
p.add_argument("--save_path", "-sp", required=True)
a = p.parse_args()
assert os.path.isfile(os.path.join(a.data_path, a.dataset, "raw", "train-images-idx3-ubyte"))
print("\\n================== Exp 0 ==================\\n")
if a.selection == "kCenterGreedy":
    raise AttributeError("module 'numpy' has no attribute 'bool'")
print(round(a.fraction * 60))
for epoch in range(a.epochs):
    accuracy = 90 + a.seed + (epoch + 1) % a.epochs
    print("Test: [0/1]\\tTime 0.1 (0.1)\\tLoss 0.5 (0.5)\\tPrec@1 11.000 (12.000)")
    print(" * Prec@1 %.3f" % accuracy)
best = 90.0 + a.seed + a.epochs - 1
name = "{}_{}_{}_exp0_epoch{}_{}_{}_{:f}.ckpt".format(
    a.dataset, a.model, a.selection, a.epochs, datetime.datetime.now(), a.fraction, best)
open(os.path.join(a.save_path, name.replace(":", "-")), "wb").close()
print("| Best accuracy: ", best, "", end="\\n\\n")
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    clone, rng = tmp_path / "clone", np.random.default_rng(0)
    clone.mkdir()
    (clone / "main.py").write_text(CLONE)
    images = [rng.integers(0, 255, (n, 28, 28), dtype=np.uint8) for n in (60, 20)]
    labels = [np.arange(n, dtype=np.uint8) % 10 for n in (60, 20)]
    raw = tmp_path / "data" / "MNIST" / "raw"
    idx_tree(raw, (images[0], labels[0]), (images[1], labels[1]), packed=False)
    given = {"official": clone, "data": tmp_path / "data", "out": tmp_path / "out"}
    return [word for name, path in given.items() for word in (f"--{name}", str(path))]


def here(words, folder, more, limit):
    """As ``deepcore.process``, ours in this process."""
    if words[1] != "-c":
        return deepcore.process(words, folder, more, limit)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**more, "PRUNEBENCH_INLINE": "1"}.items():
            patch.setenv(name, value)
        said = prunebench(*words[3:])
    return deepcore.Ended(said.code, said.out, said.err)


def test_both_tables_side_by_side(words, tmp_path, capsys):
    given = ["--methods", "uniform,margin,k-center", "--epochs", "2", "--selection-epochs", "1",
             "--repeats", "2", "--cores", "1", "--fraction", "0.4"]  # fmt: skip
    assert deepcore.main([*words, *given], run=here) == 0
    report = json.loads((tmp_path / "out" / "deepcore.json").read_text())
    theirs, ours = (report["outcomes"][side] for side in (THEIRS, OURS))
    assert [(o["last"], o["best"], o["kept"]) for o in theirs["margin"]] == [
        (90, 91, 24),
        (91, 92, 24),
    ]
    assert [o["kept"] for o in ours["margin"]] == [24, 24]
    assert all(0 <= o["last"] <= 100 for every in ours.values() for o in every)
    # What DeepCore cannot end is told, is no part of the times, and is trained by ours once.
    assert [o["status"] for o in theirs["k-center"]] == [
        "AttributeError: module 'numpy' has no attribute 'bool'"
    ]
    assert len(ours["k-center"]) == 1
    [result] = report["results"]
    assert "uniform, margin:" in result["what"]
    assert [row["name"] for row in result["rows"]] == [THEIRS, OURS]
    first = [sum(theirs[n][turn]["spent"] for n in ("uniform", "margin")) for turn in (0, 1)]
    assert result["rows"][0]["low"] == pytest.approx(min(first))
    names = [p.name for p in (tmp_path / "out" / "official").rglob("*.ckpt")]
    assert len(names) == 4
    shown = capsys.readouterr().out
    assert "| 90.50 ± 0.71 " in shown
    assert "- k-center, DeepCore, seed 0: AttributeError" in shown
    assert shown == (tmp_path / "out" / "deepcore.md").read_text() + "\n"
    # A second call does not mix its turns with those of the first.
    assert deepcore.main([*words, *given], run=here) == 2
    assert "--out" in capsys.readouterr().err


def test_what_was_measured_before_ours_fails_is_written(words, tmp_path, capsys):
    def run(asked, folder, more, limit):
        if asked[1] == "-c":
            return deepcore.Ended(1, "", "prunebench: out of luck")
        return deepcore.Ended(0, "30\n * Prec@1 88.000\n", "")

    assert deepcore.main([*words, "--methods", "uniform"], run=run) == 2
    assert "out of luck" in capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "deepcore.json").read_text())
    assert report["outcomes"][THEIRS]["uniform"][0]["last"] == 88
    assert report["results"] == []


def test_our_grid_asks_for_what_deepcore_is_asked_for(tmp_path):
    setting = Setting(tmp_path, tmp_path, tmp_path, fraction=0.3, epochs=7, batch=64)
    text = grid(setting, setting.methods, 5)
    (tmp_path / "grid.toml").write_text(text)
    read, _ = read_grid(tmp_path / "grid.toml")
    assert (read.ratio, list(read.seed), read.reference.size) == ([0.7], [5], 0)
    assert read.method == ["random", "forgetting", "grand", "margin", "k-center"]
    assert read.params == {"grand": {"repeats": 10}}
    assert read.recipe_params["batch_size"] == 64
    assert read.recipe_params["epochs"] == 7
    assert read.scoring_params["warmup"] == setting.selection_epochs


def test_a_method_that_takes_too_long_is_stopped(tmp_path):
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    ended = deepcore.process(words, tmp_path, {}, 0.2)
    outcome = deepcore.read(ended, Taken(0.2, 0.1))
    assert (outcome.last, outcome.status) == (None, "stopped after 0.2 s")


@pytest.mark.parametrize(("field", "value", "line"), [
    ("official", Path("nowhere"), "no main.py there"),
    ("data", Path("nowhere"), "no MNIST/raw/train-images-idx3-ubyte there"),
    ("methods", ("uniform", "grant"), "no method 'grant'.*grand"),
    ("fraction", 1.0, "--fraction: 1.0"),
    ("repeats", 0, "--repeats: 0"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_line(words, field, value, line):
    official, data, out = (Path(word) for word in words[1::2])
    setting = replace(Setting(official, data, out), **{field: value})
    with pytest.raises(InputError, match=line) as caught:
        setting.checked()
    assert "\n" not in str(caught.value)


@pytest.mark.perf
def test_the_users_clone_beside_ours(tmp_path):
    if "PRUNEBENCH_DEEPCORE" not in os.environ:
        pytest.skip("PRUNEBENCH_DEEPCORE names no clone of the DeepCore repository")
    given = {"official": os.environ["PRUNEBENCH_DEEPCORE"], "data": os.environ["PRUNEBENCH_DATA"],
             "out": str(tmp_path)}  # fmt: skip
    assert deepcore.main([w for k, v in given.items() for w in (f"--{k}", v)]) == 0
