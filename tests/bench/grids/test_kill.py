"""A grid that is killed and started again is the grid that was left in peace."""

import random

from support.command import prunebench
from support.killing import GRID, Shots, agrees, needs_proc


def test_a_kill_of_a_real_grid(tmp_path, monkeypatch):
    """Its driver; `make soak` kills twenty times, workers too."""
    needs_proc()
    toml = tmp_path / "tiny.toml"
    toml.write_text(GRID.format(epochs=3, last=0))
    shots = Shots(toml, tmp_path / "shot", random.Random(0), ["--no-mlflow"])
    shots.fire(["driver"], cells=3, nap=0.2)
    shots.complete()
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    words = ["--out", tmp_path / "peace", "-w", "1", "--no-mlflow", "-q"]
    assert prunebench("grid", toml, *words).code == 0
    agrees(tmp_path / "shot", tmp_path / "peace")
