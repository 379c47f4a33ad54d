"""Cells per hour by slots, 100,000 records seen and resumed, and runs mirrored per second."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest
from mlflow import MlflowClient

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.tracking.database import default_uri
from prunebench.bench.tracking.sync import sync
from prunebench.record import Record
from support.command import command, process
from support.timing import machine

pytestmark = pytest.mark.perf

#: Settings times seeds: 119 x 841 = 100,079 cells.
LARGE = """
name = "large"
dataset = "digits"
noise = ["clean", "symmetric:0.2", "symmetric:0.4", "asymmetric:0.2", "asymmetric:0.4",
         "pairflip:0.2", "pairflip:0.4"]
ratio = [0.3, 0.5]
method = ["full", "random", "random-dynamic", "infobatch", "infobatch+align", "seta", "divbs",
          "ies", "moderate"]
seed = "0..840"
"""
SMALL = """
name = "small"
dataset = "digits"
method = ["random-dynamic", "infobatch"]
ratio = 0.5
seed = "0..3"
recipe_params = {{ epochs = {epochs} }}
"""
BARE = """
import sys
from pathlib import Path
from prunebench.record import load
print(sum(len(load(path).key) > 0 for path in sorted(Path(sys.argv[1]).iterdir())))
"""


def seconds(words: Sequence[str]) -> tuple[float, str]:
    start = time.perf_counter()
    said = process(words)
    assert said.code == 0, said.err
    return time.perf_counter() - start, said.out


def stored(store: Store, cells: Sequence[Cell]) -> None:
    """A record of usual size for every cell."""
    for cell in cells:
        record = Record(
            key=cell.spec.key,
            spec=cell.spec.content,
            status="done",
            metrics={f"metric_{i}": 0.5 + i / 100 for i in range(12)},
            ledger={f"count_{i}": 1000 * i for i in range(8)},
            artifacts={"epochs.csv": {"sha256": "0" * 64, "bytes": 2000}},
            timing={"train_s": 1.5, "wall_s": 2.0},
            environment={"device": "cpu", "torch": "2", "threads": 1},
        ).sealed()
        (store.records / f"{record.key}.json").write_text(record.dumps() + "\n")


def test_a_hundred_thousand_records_are_seen_and_resumed(tmp_path: Path) -> None:
    """Whole commands, the start of Python included, on both sides."""
    toml = tmp_path / "large.toml"
    toml.write_text(LARGE)
    cells = expand(*read_grid(toml))
    store = Store.open(tmp_path / "r")
    stored(store, cells)
    contenders = {
        "bare": [sys.executable, "-c", BARE, str(store.records)],
        "status": command("status", store.root),
        "resume": command("grid", toml, "--out", store.root, "--no-mlflow", "-q"),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(3):
        for name, words in contenders.items():
            taken, out = seconds(words)
            times[name].append(taken)
            assert str(len(cells)) in out.replace(",", "")
    ratios = {
        name: sorted(a / b for a, b in zip(times[name], times["bare"], strict=True))
        for name in ("status", "resume")
    }
    shown = {name: [round(r, 2) for r in found] for name, found in ratios.items()}
    print(f"\n{len(cells)} records against bare reading, 3 repeats, {machine()}: {shown}")
    assert median(ratios["status"]) <= 2
    assert median(ratios["resume"]) <= 2


def rate(folder: Path, slots: int) -> float:
    """Cells per hour once every slot has ended its first one: processes start once per grid."""
    records = Store(folder).scan().records
    ends = sorted(float(record.timing["finished"]) for record in records)
    return 3600 * (len(ends) - slots) / (ends[-1] - ends[slots - 1])


def test_two_slots_against_one(tmp_path: Path) -> None:
    """Twelve cells of about two seconds; the same worker processes start anew in every run."""
    toml = tmp_path / "small.toml"

    def wall(epochs: int, slots: int, name: str) -> float:
        toml.write_text(SMALL.format(epochs=epochs).replace("0..3", "0..5"))
        words = ("grid", toml, "--out", tmp_path / name, "-w", slots, "--no-mlflow", "-q")
        return seconds(command(*map(str, words)))[0]

    wall(20, 1, "first")
    cell = median(record.timing["train_s"] for record in Store(tmp_path / "first").scan().records)
    epochs = max(20, round(20 * 2.0 / cell))
    walls, rates = [], []
    for turn in range(5):
        one, two = (wall(epochs, slots, f"{slots}-{turn}") for slots in (1, 2))
        walls.append(one / two)
        rates.append(rate(tmp_path / f"2-{turn}", 2) / rate(tmp_path / f"1-{turn}", 1))
    done = Store(tmp_path / "1-0").scan().records
    taken = median(record.timing["train_s"] for record in done)
    shown = {"cell_s": round(taken, 2), "epochs": epochs, "machine": machine(),
             "cells per hour": [round(r, 2) for r in sorted(rates)],
             "whole commands": [round(w, 2) for w in sorted(walls)]}  # fmt: skip
    print(json.dumps(shown))
    assert median(rates) >= 1.7


def test_rate_of_the_mirror(tmp_path: Path) -> None:
    """Beside MLflow's own limit: runs that hold nothing, which take two calls of its client; ours
    take four, with all values of a run in one batch."""
    toml = tmp_path / "small.toml"
    toml.write_text(SMALL.format(epochs=20).replace("0..3", "0..19"))
    store = Store.open(tmp_path / "r")
    stored(store, expand(*read_grid(toml)))
    records = store.scan().records
    sync(store.root, records[:1])
    client = MlflowClient(default_uri(tmp_path))
    experiment = client.create_experiment("empty")
    ours, bare = [], []
    for part in range(3):
        start = time.perf_counter()
        chosen = records[: 1 + 13 * (part + 1)]
        report = sync(store.root, chosen)
        ours.append(report.created / (time.perf_counter() - start))
        assert report.created == 13
        start = time.perf_counter()
        for _ in range(40):
            client.set_terminated(client.create_run(experiment).info.run_id)
        bare.append(40 / (time.perf_counter() - start))
    shown = {"ours": [round(r) for r in ours], "empty runs": [round(r) for r in bare]}
    print(f"\nMLflow on SQLite, runs/s: {shown}, {machine()}")
    assert median(ours) >= median(bare) / 5
    again = time.perf_counter()
    assert sync(store.root, records[:40]).created == 0
    print(f"40 runs that stand: {40 / (time.perf_counter() - again):.0f} records/s")
