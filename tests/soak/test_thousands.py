"""A short form of the long soak."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.killing import needs_proc
from support.thousands import FULL_AT, soak


@pytest.mark.soak
def test_cells_under_kills_a_full_disk_and_no_mlflow(tmp_path: Path) -> None:
    needs_proc()
    found = soak(tmp_path, cells=100, epochs=6, burst=15)
    print(json.dumps(found))
    assert found["records"] == 100
    assert found["disk full"] == found["MLflow down"] == len(FULL_AT)
    assert found["workers killed"]
