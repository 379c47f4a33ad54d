"""A method in a package of its own: installed for real, then listed, checked, run and ranked."""

import csv
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from prunebench.registry import REGISTRIES
from support.command import Said, command, process, prunebench
from support.faults import Child

SOURCE = Path(__file__).parents[2] / "plugin"
NAME = "drop-highest"
GRID = """
name = "plugin"
dataset = "digits"
noise = "symmetric:0.4"
ratio = 0.5
seed = "0..1"
method = ["full", "random", "drop-highest", "drop-highest+align"]
recipe_params = {epochs = 4}
params = {"drop-highest" = {r = 0.3}}
"""


def installer() -> list[str]:
    """The environment's own pip, or uv."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("neither pip nor uv is installed here")
    return [uv, "pip", "install", "--offline", "--python", sys.executable]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into; the sources stay as they are."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed here, so nothing can be built offline")
    root = tmp_path_factory.mktemp("plugin")
    sources = shutil.copytree(
        SOURCE,
        root / "sources",
        ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"),
    )
    done = subprocess.run(
        [*installer(), "--quiet", "--no-deps", "--no-build-isolation", "--target",
         str(root / "site"), str(sources)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((root / "site").glob("*.dist-info/entry_points.txt"))
    return root / "site"


@pytest.fixture
def call(site: Path) -> Callable[..., Said]:
    """Runs ``prunebench`` in a fork that finds the installed package."""

    def installed() -> None:
        sys.path.insert(0, str(site))
        for registry in REGISTRIES:
            registry._loaded = False

    return lambda *words: Child(*words, before=installed).wait()


def test_the_method_takes_at_most_thirty_lines():
    lines = (SOURCE / "drop_highest.py").read_text().splitlines()
    assert len(lines) <= 30


@pytest.mark.soak
def test_an_installed_method_is_listed_checked_run_and_ranked(call, site, tmp_path):
    """One test, as one user would go about it; without the package the name is unknown. The grid
    runs as real processes, driver and worker."""
    assert prunebench("methods", NAME).code == 2

    (card,) = call("methods", NAME, "--json").json
    assert card["options"]["r"]["default"] == 0.2
    (card,) = call("methods", f"{NAME}+align", "--json").json
    assert card["clean_data"] == "reference set"

    checked = call("check", NAME, "--json")
    assert checked.code == 0, checked.out
    assert checked.json["name"] == NAME

    grid = tmp_path / "grid.toml"
    grid.write_text(GRID)
    out = tmp_path / "results"
    words = command("grid", grid, "--out", out, "--workers", "1", "--no-mlflow", "--json")
    ran = process(words, PYTHONPATH=str(site), OMP_NUM_THREADS="1")
    assert ran.code == 0, ran.err
    assert ran.json["done"] == 4 * 2

    records = Store(out).scan().records
    named = {
        r.environment["plugins"]["method"] for r in records if NAME in r.spec["method"]["name"]
    }
    assert len(named) == 1
    assert named.pop().startswith("drop_highest.py ")

    board = call("leaderboard", out)
    assert board.code == 0, board.err
    assert f"| {NAME}+align " in board.out
    table = csv.DictReader((out / "leaderboard" / "leaderboard.csv").open())
    ranks = {row["method"]: row["rank"] for row in table}
    assert ranks.pop("full") == ""
    assert ranks.keys() == {"random", NAME, f"{NAME}+align"}
    assert {int(rank) for rank in ranks.values()} <= {1, 2, 3}


def test_contributing_shows_this_very_method():
    root = Path(__file__).parents[3]
    guide = (root / "CONTRIBUTING.md").read_text()
    assert (root / "tests/plugin/drop_highest.py").read_text() in guide
