"""Two processes share a run of ``Pruning``: together they train what one process trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from api import shared_run

METHODS = ("infobatch+align", "ies")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    jobs = [
        subprocess.Popen(
            [sys.executable, shared_run.__file__, str(rank), "2", str(folder), *METHODS],
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    said = [job.communicate(timeout=180)[1].decode() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_what_one_trains(method: str, shared: Path) -> None:
    both: list[dict[str, Any]] = [
        json.loads((shared / f"{method}-{rank}.json").read_text()) for rank in range(2)
    ]
    alone: dict[str, Any] = shared_run.fit(method, batch=8)
    assert both[0]["tables"] == both[1]["tables"]
    for epoch, batches in enumerate(alone["order"]):
        for number, batch in enumerate(batches):
            one, two = (run["order"][epoch][number] for run in both)
            pairs = [sample for pair in zip(one, two, strict=True) for sample in pair]
            assert pairs == batch[: len(pairs)]
            assert len(batch) - len(pairs) == len(batch) % 2
        if sum(map(len, batches)) % 2:
            return  # two processes leave the odd sample out: from here on they differ
    assert both[0]["tables"] == alone["tables"]
