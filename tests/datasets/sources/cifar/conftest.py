"""CIFAR's files lie below a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "root"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"
