"""Every method on classes of one to a few samples: none fails, and none keeps another number."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from prunebench.methods.compose import list_methods
from prunebench.registry import SAMPLERS
from support.command import prunebench

pytestmark = pytest.mark.soak

GRID = """
name = "tail"
dataset = "digits"
imbalance = "exp:200"
noise = ["clean", "symmetric:0.4"]
method = {methods}
ratio = [0.5, 0.9]
recipe_params = {{ epochs = 4 }}
"""


def test_every_method_runs_on_a_long_tail(tmp_path: Path) -> None:
    methods = [info.name for info in list_methods() if not info.target.argument]
    methods += [f"el2n@{name}" for name in SAMPLERS.names()]
    toml = tmp_path / "tail.toml"
    toml.write_text(GRID.format(methods=methods))
    assert prunebench("grid", toml, "--out", tmp_path / "r", "--no-mlflow", "-q").code == 0
    records = Store(tmp_path / "r").scan().records
    ran = {record.spec["method"]["name"] for record in records}
    assert len(ran) >= len(methods) - len(SAMPLERS.names())
    for record in records:
        assert record.status in ("done", "diverged"), (record.spec["method"], record.reason)
        assert record.info["smallest_class"] == 1
        if record.spec["method"]["name"] != "full+reference":
            assert record.ledger["trained"] <= record.ledger["num_samples"] * 4
