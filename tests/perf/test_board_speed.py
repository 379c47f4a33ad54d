"""Rendering against the bare reading and parsing of the same records, side by side in one process;
its own time, to which other programs do not add."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from prunebench.bench.reports.boards import gather, make_board, texts
from prunebench.bench.results.store import Store
from prunebench.record import Record, load
from support.records import record

pytestmark = pytest.mark.perf

NOISES = ("clean", "symmetric:0.2", "symmetric:0.5", "symmetric:0.8", "asymmetric:0.2",
          "asymmetric:0.4", "pairflip:0.45")  # fmt: skip
METHODS = (*(f"method-{i}" for i in range(18)), "infobatch", "infobatch+align")
#: Test images: accuracies are shares of them, as those of all records.
TESTED = 10_000
#: Records of one data set: 7 noises x 5 seeds x (20 methods x 3 ratios + full training).
PER_DATASET = 7 * 5 * 61


def records(n: int) -> Iterator[Record]:
    """At least n records of whole data sets."""
    rng, info = np.random.default_rng(0), {"test_size": TESTED}
    for place in range(-(-n // PER_DATASET)):
        data = {"name": f"data-{place}", "version": "1", "params": {}, "identity": ""}
        for noise in NOISES:
            for seed in range(5):
                spec = {"dataset": data}
                hits = int(rng.integers(8_000, 8_200))
                yield record("full", noise, seed, accuracy=hits / TESTED, info=info, spec=spec)
                for method in METHODS:
                    for ratio in (0.3, 0.5, 0.7):
                        hits = int(rng.integers(7_800, 8_200))
                        yield record(method, noise, seed, ratio, hits / TESTED, info=info,
                                     spec=spec)  # fmt: skip


def stored(folder: Path, n: int) -> Path:
    store = Store.open(folder)
    for made in records(n):
        (store.records / f"{made.key}.json").write_text(made.dumps() + "\n")
    return folder


def bare(folder: Path) -> int:
    """Reading and checking every file, and nothing else."""
    return sum(len(load(path).key) > 0 for path in sorted((folder / "records").iterdir()))


def rendered(folder: Path) -> int:
    return sum(map(len, texts(make_board(gather([folder]))).values()))


@pytest.mark.parametrize(("n", "limit", "repeats"), [(10_000, 5.0, 3)])
def test_ten_thousand_records_cost_a_few_readings(
    tmp_path: Path, n: int, limit: float, repeats: int
) -> None:
    folder = stored(tmp_path / "r", n)
    ratios = []
    for _ in range(repeats):
        start = time.process_time()
        count = bare(folder)
        middle = time.process_time()
        rendered(folder)
        ratios.append((time.process_time() - middle) / (middle - start))
    print(json.dumps({"records": count, "ratios": [round(r, 2) for r in ratios]}))
    assert float(np.median(ratios)) <= limit


def test_a_hundred_thousand_cost_twelve_times_ten_thousand(tmp_path: Path) -> None:
    small, large = stored(tmp_path / "s", 10_000), stored(tmp_path / "l", 100_000)
    seconds = []
    for folder in (small, large):
        start = time.process_time()
        rendered(folder)
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"ratio": round(seconds[1] / seconds[0], 2), "peak_gib": round(peak, 2)}))
    assert seconds[1] / seconds[0] <= 12
    assert peak < 2
