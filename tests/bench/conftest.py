"""Small real runs shared by the tests: handwritten digits, a few epochs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.record import Record
from support.cells import small_cell


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets worker processes import the made-up cells of this folder."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "executors"))


@pytest.fixture
def run(tmp_path) -> Callable[..., tuple[Record, Store]]:
    """Runs a small cell in a results folder of the test."""

    def call(
        method: str = "full",
        folder: str = "a",
        options: ExecutionOptions = ExecutionOptions(),
        losses: frozenset[int] | None = None,
        **fields: Any,
    ) -> tuple[Record, Store]:
        cell = replace(small_cell(method, **fields), losses=losses)
        store = Store.open(tmp_path / folder)
        return run_cell(cell, store, options)[0], store

    return call
