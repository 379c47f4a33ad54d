"""A board with a submission, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.contributions import copied, published, submitted, trained


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
        copied(made / name, tmp_path / name)
    return tmp_path
