"""The package as others install it: built as a wheel, used without the checkout."""

from __future__ import annotations

import os
import re
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
    """The interpreter of a fresh environment that holds the wheel and what it needs, no more."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
    if uv is None:
        pytest.skip("uv is not installed")
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
    built = _uv(uv, folder / "source", "build", "--wheel", "--out-dir", folder / "dist")
    made = _uv(uv, folder, "venv", "--python", sys.executable, folder / "env")
    python = folder / "env" / "bin" / "python"
    (wheel,) = (folder / "dist").glob("*.whl") if not built else ("",)
    put = built or made or _uv(uv, folder, "pip", "install", "--python", python,
                               "--constraint", ROOT / "constraints.txt", wheel)  # fmt: skip
    if put:
        pytest.skip(f"no package index can be reached: {put}")
    shutil.rmtree(folder / "source")
    return python


def _uv(uv: str, where: Path, *words: str | Path) -> str:
    """Runs uv; the line that says what could not be fetched, empty where all went well.

    A failure that is not the index's fails the test.
    """
    done = subprocess.run([uv, *map(str, words)], cwd=where, text=True, capture_output=True,
                          check=False, timeout=300)  # fmt: skip
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    away = [line for line in lines if re.search("connect|Failed to fetch|dns|timed out", line)]
    assert away, done.stderr
    return away[0].strip()


def python(installed: Path, where: Path, *words: str) -> str:
    """Output of the fresh interpreter in a folder outside the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**kept, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([installed, *words], cwd=where, env=environment, text=True,
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
    assert Path(file).is_relative_to(installed.parents[1])
    assert "infobatch+align" in said
    python(installed, tmp_path, *command, "leaderboard", "results/six", "--publish", "board",
           "--copy-from-paper", "alignprune")  # fmt: skip
    page = (tmp_path / "board" / "leaderboard.html").read_text(encoding="utf-8")
    assert "<script" in page
    assert "cells" in python(installed, tmp_path, *command, "grid", "table-b", "--dry-run").lower()
    assert (tmp_path / "board" / "records.jsonl.gz").is_file()
