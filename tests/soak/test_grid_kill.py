"""Twenty kills of the real grid command, MLflow included."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import median

import pytest

from prunebench.bench.results.store import Store
from support.command import prunebench
from support.killing import GRID, Shots, agrees, needs_proc
from support.mirrored import mirrored

KILLS = 20


@pytest.mark.soak
def test_twenty_kills_of_a_real_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_proc()
    toml = tmp_path / "tiny.toml"
    toml.write_text(GRID.format(epochs=16, last=3))
    peace, shot = tmp_path / "peace", tmp_path / "shot"
    with monkeypatch.context() as patch:
        patch.setenv("PRUNEBENCH_INLINE", "1")
        assert prunebench("grid", toml, "--out", peace, "-w", "1", "--no-mlflow", "-q").code == 0
    cell = median(record.timing["train_s"] for record in Store(peace).scan().records)

    dice = random.Random(1)
    victims = ["driver", "worker"] * (KILLS // 2)
    dice.shuffle(victims)
    shots = Shots(toml, shot, dice)
    shots.fire(victims, cells=1, nap=cell / 4)
    shots.complete()
    agrees(shot, peace)

    said = prunebench("sync", shot)
    assert said.code == 0, said.err
    records = Store(shot).scan().records
    assert len(records) == 48
    assert mirrored(shot) == {record.key: record.digest for record in records}
    assert prunebench("sync", shot).out.startswith("0 runs written, 48 unchanged, 0 superseded")
