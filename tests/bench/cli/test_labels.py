"""Rows with names of their own: in a grid, on the command line, on the board."""

import re
from pathlib import Path

import numpy as np
import pytest

from prunebench.bench.results.store import Store
from support.command import files, prunebench, refused

GRID = """
name = "named"
dataset = "digits"
noise = "clean"
method = ["full", "scores:a.npy", "scores:b.npy", "random"]
ratio = 0.5
seed = "0..1"
recipe_params = { epochs = 1 }
LABEL
"""
BOTH = 'label = { "scores:a.npy" = "mine", "scores:b.npy" = "theirs, low", random = "chance" }'


def grid(label: str, *words: str, method: str = ""):
    text = GRID.replace("LABEL", label)
    Path("g.toml").write_text(re.sub("method = .*", method, text) if method else text)
    return prunebench("grid", "g.toml", "--out", "r", "-w", "1", "--no-mlflow", "--json", *words)


@pytest.fixture
def scores(tmp_path):
    """Two score files of the whole training split of the digits."""
    for number, name in enumerate("ab"):
        np.save(f"{name}.npy", np.random.default_rng(number).random(1347))


def labels(name: str = "board") -> list[str]:
    said = prunebench("leaderboard", "r", "--out", name)
    assert said.code == 0, said.err
    rows = re.findall(r"^\| (\S.*?) +\|", said.out, re.M)
    return list(dict.fromkeys(row for row in rows if row != "method" and row[0] != ":"))


def test_two_files_stand_on_one_board_with_and_without_names(scores):
    assert grid("").code == 0
    keys = set(files(Path("r/records")))
    assert len(keys) == 8
    plain = labels()
    assert plain[0] == "full"
    contents = sorted({r.spec["method"]["identity"][:8] for r in Store("r").scan().records} - {""})
    assert sorted(plain[1:]) == ["random", *(f"scores (content={c})" for c in contents)]
    named = grid(BOTH)
    assert named.code == 0
    assert "6 recorded runs carry the label given now" in named.err
    assert set(files(Path("r/records"))) == keys
    assert sorted(labels()) == ["chance", "full", "mine", "theirs, low"]
    again = grid(BOTH)
    assert (again.code, again.err) == (0, "")
    assert grid("").code == 0  # a grid without labels takes none away
    assert sorted(labels()) == ["chance", "full", "mine", "theirs, low"]
    assert prunebench("compare", "mine", "theirs, low", "r").code == 0
    gone = next(r for r in Store("r").scan().records if r.info.get("label") == "mine")
    (Path("r/records") / f"{gone.key}.json").unlink()
    assert "digits, ratio 0.5, mine" in prunebench("audit", "r").out
    one = ("run", "--method", "scores:a.npy", "--ratio", "0.5", "--recipe-param", "epochs=1",
           "--seed", str(gone.spec["seed"]), "--no-mlflow", "--out", "r", "--json")  # fmt: skip
    fresh = prunebench(*one, "--label", "new name")
    assert fresh.json["key"] == gone.key
    assert fresh.json["info"]["label"] == "new name"
    assert "mine / new name" in labels()
    said = prunebench("rerun", gone.key, "--out", "r", "--method-file", "a.npy")
    assert "--label 'new name'" in said.out


def test_one_name_serves_a_block_with_one_method_that_prunes(scores):
    sweep = '[params.random]\n[[block]]\nlabel = "dice"\n'
    said = grid(sweep, method='method = ["full", "random"]')
    assert said.code == 0, said.err
    assert labels() == ["full", "dice"]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ('label = { random = "a@b" }', "label: 'a@b'; accepted: 1 to 60 signs"),
        ('label = { random = "" }', "label: ''"),
        ('label = { random = " x" }', "label: ' x'"),
        ('label = { random = "a\\u001bb" }', "label: "),
        ('label = { random = "full" }', "'full' is another method's name"),
        ('label = { full = "base" }', "'base' for full training"),
        ('label = { forgetting = "x" }', "a label for 'forgetting', which is not in 'method'"),
        ('label = "x"', "'x' for 3 methods; accepted: a table by method"),
        ('label = { random = "x" }\n[[block]]\n[[block]]\nlabel = { random = "y" }',
         "'x' and 'y' name one run"),
    ],
)  # fmt: skip
def test_bad_labels_are_refused_before_anything_runs(scores, label, words):
    said = grid(label)
    refused(said, words)
    assert not Path("r").exists()


def test_a_bad_label_of_a_run_is_refused():
    refused(prunebench("run", "--label", "a@b"), "label: 'a@b'")
