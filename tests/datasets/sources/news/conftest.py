"""A tiny collection in both layouts, and a cache of the test's own."""

from pathlib import Path

import pytest

from prunebench.datasets.cache import CACHE_VARIABLE
from prunebench.datasets.sources.news.files import FOLDERS, JSONL
from support.newsgroups import posts, write_jsonl


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / JSONL[0], posts())


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for row in posts():
        folder = root / FOLDERS[row["split"]] / row["group"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / row["id"]).write_text(row["text"], encoding="latin-1")
    return root
