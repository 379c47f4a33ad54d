"""The notebooks of examples/ run from top to bottom, and show the same kinds of things."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from support.notebooks import NOTEBOOKS, executed, kinds


@pytest.mark.soak
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    committed = nbformat.read(path, as_version=4)
    assert kinds(executed(path, tmp_path)) == kinds(committed)
