"""The compiler proper, over seeds: what it moves is rounding, and less than the seeds move."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from prunebench.bench.results.store import Store
from support.command import command, process

pytestmark = pytest.mark.soak

GRID = """
name = "compiled"
dataset = "digits"
noise = ["clean", "symmetric:0.4"]
method = ["full", "infobatch+align"]
ratio = 0.5
seed = "0..4"
"""


def grid(folder: Path, name: str, *words: str) -> dict[tuple[str, str], dict[int, float]]:
    """Test accuracies by seed, for each method and noise."""
    toml, out = folder / "compiled.toml", folder / name
    toml.write_text(GRID)
    # The compiler's cache is shared by default, and does not tell sets of instructions apart.
    own = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    said = process(command("grid", toml, "--out", out, "--no-mlflow", "-q", *words), **own)
    assert said.code == 0, said.err
    found: dict[tuple[str, str], dict[int, float]] = {}
    for record in Store(out).scan().records:
        assert record.info.get("steps") == ("compiled" if words else None), record.info
        row = record.spec["method"]["name"], record.spec["noise"]["name"]
        found.setdefault(row, {})[record.spec["seed"]] = record.metrics["test_accuracy"]
    return found


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="no C++ compiler here")
def test_compiled_accuracies_lie_within_the_spread_of_seeds(tmp_path: Path) -> None:
    plain, compiled = grid(tmp_path, "plain"), grid(tmp_path, "compiled", "--compile")
    assert plain.keys() == compiled.keys()
    assert len(plain) == 4
    for row, seeds in plain.items():
        assert seeds.keys() == compiled[row].keys() == set(range(5))
        before, after = (np.array([found[s] for s in range(5)]) for found in (seeds, compiled[row]))
        # Five unrelated seeds would differ by 0.63 standard deviations in the mean.
        assert abs((after - before).mean()) <= 2 * before.std(ddof=1), (row, before, after)
    # Rounding does move: otherwise nothing was compiled.
    assert any(plain[row] != compiled[row] for row in plain)
