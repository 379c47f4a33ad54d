"""What a run and the help print, and what they never import."""

import sys
from pathlib import Path

import pytest
import torch

from prunebench.bench.cli import VERBS
from prunebench.bench.results.store import Store
from support.command import command, figures, process, prunebench
from support.small_grid import BLOCKER, ISSUE, SHORT


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
    # Slow to import, and of no use to this run.
    blocked = ("mlflow", "optuna", "ray", "timm", "torch._dynamo", "sklearn", "scipy")
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


def test_run_with_two_workers_gives_what_one_gives():
    words = ("run", "--method", "small-loss", "--noise", "symmetric:0.4", "--ratio", "0.5",
             "--recipe-param", "epochs=4", "--no-mlflow", "--json")  # fmt: skip
    one, two = prunebench(*words, "--out", "one"), prunebench(*words, "--out", "two", "-w", "2")
    assert (one.code, two.code) == (0, 0)
    for part in ("key", "metrics", "ledger", "artifacts"):
        assert one.json[part] == two.json[part]
    assert figures(Path("one")) == figures(Path("two"))
