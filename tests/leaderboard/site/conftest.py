"""One small site, built once for all tests that read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import prunebench
from support.invented_paper import invented
from support.sites import two_published_boards

GUIDES = {
    "glossary.md": "# Words\n\nA [protocol](protocol.md#budgets) <b>binds</b>.\n",
    "protocol.md": "# Protocol\n\n## Budgets\n\n[first](leaderboards/first/README.md)\n",
    "methods/el2n.md": "# el2n: hard ones\n\nlead\n\n## As shipped and as published\n\nThe code "
    "differs: see [infobatch](infobatch.md).\n\n## Cost\n\nnone\n",
    "methods/infobatch.md": "# infobatch\n\n[words](../glossary.md)\n",
}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of two boards, with guides and the numbers of an invented paper."""
    folder = tmp_path_factory.mktemp("site")
    docs = folder / "docs"
    (docs / "methods").mkdir(parents=True)
    for name, text in GUIDES.items():
        (docs / name).write_text(text, encoding="utf-8")
    boards = two_published_boards(folder / "boards")
    said = prunebench("site", boards, "--out", folder / "out", "--docs", docs,
                      "--published", invented(folder), "--title", "A <small> site")  # fmt: skip
    assert said.code == 0, said.err
    return folder / "out"
