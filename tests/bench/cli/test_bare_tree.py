"""The command from a tree that is not installed, on a machine without mlflow and optuna."""

import json
import subprocess

import pytest

from support import bare


@pytest.fixture
def said(tmp_path):
    def call(*words):
        environment = bare.environment(tmp_path / "hide")
        return subprocess.run(
            bare.command(*words), env=environment, cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    return call


def test_doctor_names_what_will_not_work_and_ends_well(said):
    found = said("doctor", "--quick", "--json")
    assert found.returncode == 0, found.stdout + found.stderr
    lines = {line["check"]: line for line in json.loads(found.stdout)}
    assert all(line["ok"] for line in lines.values())
    assert "not installed" in lines["mlflow"]["detail"]
    assert "no `sync`" in lines["mlflow"]["detail"]
    assert "no `tune`" in lines["optuna"]["detail"]


def test_what_needs_a_missing_package_says_so_in_one_line(said):
    version = said("--version")
    assert (version.returncode, version.stderr) == (0, "")
    tune = said("tune", "--method", "infobatch")
    assert tune.returncode == 2
    assert tune.stderr == ("prunebench: optuna is not installed; accepted: `pip install optuna`\n")
