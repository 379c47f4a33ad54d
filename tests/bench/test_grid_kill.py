"""A grid that is killed twice and started again is the grid that was left in peace."""

import random

from support.command import prunebench
from support.killing import GRID, Shots, agrees, needs_proc


def test_two_kills_of_a_real_grid(tmp_path, monkeypatch):
    needs_proc()
    toml = tmp_path / "tiny.toml"
    toml.write_text(GRID.format(epochs=4, last=1))
    shots = Shots(toml, tmp_path / "shot", random.Random(0), ["--no-mlflow"])
    shots.fire(["worker", "driver"], cells=4, nap=0.2)
    shots.complete()
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    words = ["--out", tmp_path / "peace", "-w", "1", "--no-mlflow", "-q"]
    assert prunebench("grid", toml, *words).code == 0
    agrees(tmp_path / "shot", tmp_path / "peace")
