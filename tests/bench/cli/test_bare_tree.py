"""The command from a tree that is not installed, on a machine without mlflow and optuna."""

import subprocess
import sys

import pytest

from prunebench.bench.results.store import Store
from support import bare

GRID = """
name = "small"
dataset = "digits"
method = ["infobatch", "full"]
ratio = 0.5
recipe_params = { epochs = 1 }
"""


def test_the_package_is_a_command(tmp_path):
    words = [sys.executable, "-m", "prunebench", "--version"]
    said = subprocess.run(
        words, env=bare.environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("prunebench, version ")


@pytest.mark.soak
def test_what_needs_a_missing_package_says_so_and_all_else_works(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    (tmp_path / "g.toml").write_text(GRID)
    small = ("--device", "cpu", "--grid", "g.toml", "--only", "cells")
    doctor, tune, card = bare.verbs(
        tmp_path, ("doctor", "--json"), ("tune", "--method", "infobatch"),
        ("card", "--out", "c", *small),
    )  # fmt: skip
    assert doctor.code == 0, doctor.out
    lines = {line["check"]: line for line in doctor.json}
    assert all(line["ok"] for line in lines.values())
    assert "no `sync`" in lines["mlflow"]["detail"]
    assert "no `tune`" in lines["optuna"]["detail"]
    assert tune.code == 2
    assert tune.err == "prunebench: optuna is not installed; accepted: `pip install optuna`\n"
    assert card.code == 0, card.err
    assert card.err == ""
    assert len(Store(tmp_path / "c/results").scan().records) == 2
