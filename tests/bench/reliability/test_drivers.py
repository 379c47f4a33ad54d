"""Two commands on one results folder whose grids overlap; one of them is killed."""

from __future__ import annotations

import os
import signal

import pytest

from prunebench.bench.results.store import Store
from support.command import figures
from support.faults import Child, at_step, grid, same_results, tiny_grid

SHARED = ["random", "small-loss", "forgetting"]


def inline(toml, root, *words, before=lambda: None):
    def prepare() -> None:
        os.environ["PRUNEBENCH_INLINE"] = "1"
        before()

    line = ("grid", toml, "--out", root, "-w", "1", "--no-mlflow", "-q", *words)
    return Child(*line, before=prepare)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_overlapping_grids_share_a_folder_and_one_driver_dies(number, tmp_path):
    one = tiny_grid(tmp_path / "one.toml", [*SHARED, "infobatch"], epochs=12)
    two = tiny_grid(tmp_path / "two.toml", [*SHARED, "random-dynamic"], epochs=12)
    calm, root = tmp_path / "calm", tmp_path / "r"
    for toml in (one, two):
        assert grid(toml, calm).code == 0

    def die() -> None:
        os.kill(os.getpid(), number)

    first = inline(one, root, "--checkpoint-s", "0", before=lambda: at_step(150, die))
    second = inline(two, root)
    assert first.wait().code == (1 if number == signal.SIGTERM else -signal.SIGKILL)
    assert second.wait().code == 0
    wanted = {record.key for record in Store(calm).scan().records}
    missing = wanted - figures(root).keys()
    own = {r.key for r in Store(calm).scan().records if r.spec["method"]["name"] == "infobatch"}
    assert missing <= own  # whatever the dead one held of the other's grid has been taken over
    assert grid(one, root).code == 0
    same_results(root, calm)
    assert not list((root / "quarantine").iterdir())
