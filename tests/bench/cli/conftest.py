"""A small grid computed once, copies of it, a forgotten plug-in, and a board with a submission."""

import sys
from pathlib import Path

import pytest

from prunebench.registry import METHODS
from support.command import Said, files, prunebench
from support.contributions import copied as copy_into
from support.contributions import published, submitted, trained
from support.small_grid import GRID, PLUGIN


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Works in an empty folder; grids with one worker run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with a published board, another's results and their submission."""
    root = tmp_path_factory.mktemp("contributed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEBENCH_INLINE", "1")
        patch.chdir(root)
        published(trained(root, "base", '["full", "random", "small-loss"]'), root / "board")
        trained(root, "theirs", '["full", "infobatch"]')
        said = submitted(root / "theirs", root / "submission", "--board", root / "board")
    assert said.code == 0, said
    assert "6 runs" not in said.out
    assert said.out.startswith("12 runs of infobatch in ")
    return root


@pytest.fixture
def place(made, tmp_path) -> Path:
    """A copy of board and submission."""
    for name in ("board", "submission"):
        copy_into(made / name, tmp_path / name)
    return tmp_path
