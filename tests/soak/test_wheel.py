"""The package as others install it: built as a wheel, used without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GRID = """
name = "six"
dataset = "digits"
noise = ["clean", "symmetric:0.4"]
method = ["full", "random", "infobatch+align"]
ratio = 0.5
recipe_params = { epochs = 3 }
"""

SCRIPT = """
import prunebench as pb
found = pb.load_results("results/six")
print(len(found), pb.__file__)
print(pb.leaderboard(found).markdown)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the unpacked wheel."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    parts = ("bench", "methods", "datasets", "leaderboard", "src", "pyproject.toml", "README.md",
             "LICENSE")  # fmt: skip
    (folder / "source").mkdir()
    for part in parts:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / part, folder / "source" / part, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built = [*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", str(folder / "dist")]
    subprocess.run(built, cwd=folder / "source", check=True, timeout=300)
    (wheel,) = (folder / "dist").glob("*.whl")
    target = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True,
                   timeout=300)  # fmt: skip
    shutil.rmtree(folder / "source")
    return target


def python(installed: Path, where: Path, *words: str) -> str:
    """Output of an interpreter that finds the wheel first."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([sys.executable, *words], cwd=where, env=environment, text=True,
                          capture_output=True, check=False, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.soak
def test_a_wheel_gives_command_api_grids_and_pages(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "six.toml").write_text(GRID)
    command = ["-m", "prunebench"]
    python(installed, tmp_path, *command, "grid", "six.toml", "--no-mlflow", "-q", "-w", "2")
    said = python(installed, tmp_path, "-c", SCRIPT)
    count, file = said.splitlines()[0].split(" ", 1)
    assert int(count) == 6
    assert Path(file).is_relative_to(installed)
    assert "infobatch+align" in said
    python(installed, tmp_path, *command, "leaderboard", "results/six", "--publish", "board",
           "--copy-from-paper", "alignprune")  # fmt: skip
    page = (tmp_path / "board" / "leaderboard.html").read_text(encoding="utf-8")
    assert "<script" in page
    assert "cells" in python(installed, tmp_path, *command, "grid", "table-b", "--dry-run").lower()
    assert (tmp_path / "board" / "records.jsonl.gz").is_file()
