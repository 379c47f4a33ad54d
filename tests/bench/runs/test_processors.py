"""One grid with this processor's vector units and with as few as can be: what must not differ."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest

from prunebench.bench.grids.driver import run_cells
from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.results.store import Store
from prunebench.bench.runs.export import export_csv
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.record import Record
from support.command import figures, process
from support.corrupted import OWN_PIXELS, digest
from support.faults import tiny_grid
from support.vector_units import vector_unit_settings

METHODS = ("full", "random", "infobatch", "small-loss")
RUNS = ExecutionOptions(inline=True, mlflow=False, quiet=True)
TWICE = """
import sys
import torch
from support.corrupted import OWN_PIXELS, digest
from test_processors import twice
twice(*sys.argv[1:])
print(*(digest(kind) for kind in OWN_PIXELS))
print(torch.backends.cpu.get_cpu_capability())
"""


def twice(grid: str, *folders: str) -> None:
    """Runs a grid into each folder."""
    for folder in folders:
        report = run_cells(expand(*read_grid(grid)), Store.open(Path(folder)), RUNS)
        assert report.count("done") == len(METHODS)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Two results folders of one grid under each setting."""
    root = tmp_path_factory.mktemp("processors")
    grid = tiny_grid(root / "grid.toml", METHODS)
    found = {name: (root / name / "a", root / name / "b") for name in ("as it is", "least")}
    twice(str(grid), *map(str, found["as it is"]))
    start = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]}\n" + TWICE
    words = [sys.executable, "-c", start, str(grid), *map(str, found["least"])]
    said = process(words, **vector_unit_settings()["least"])
    assert said.code == 0, said.err
    assert said.out.split()[-1] in ("DEFAULT", "NO AVX")  # the setting is in force
    assert said.out.splitlines()[-2].split() == [digest(kind) for kind in OWN_PIXELS]
    return found


def records(folder: Path) -> dict[str, Record]:
    return {r.spec["method"]["name"]: r for r in Store(folder).scan().records}


@pytest.mark.parametrize("setting", ["as it is", "least"])
def test_two_runs_of_a_grid_are_equal_bit_for_bit(results, setting):
    first, second = results[setting]
    assert len(figures(first)) == len(METHODS)
    assert figures(first) == figures(second)


def test_what_is_drawn_or_counted_does_not_depend_on_the_processor(results):
    """Labels, splits and ledgers of every method, and the samples that no score chose."""
    one, two = (records(folders[0]) for folders in results.values())
    assert one.keys() == two.keys() == set(METHODS)
    for name, record in one.items():
        assert (record.key, record.info, record.ledger) == (
            two[name].key, two[name].info, two[name].ledger,
        )  # fmt: skip
    kept = [
        export_csv(Store(folders[0]), one["random"].key, "kept") for folders in results.values()
    ]
    assert kept[0] == kept[1]
    assert len(list(csv.reader(io.StringIO(kept[0])))) == 1 + 84


def test_what_is_trained_agrees_but_for_rounding(results):
    """Each step rounds differently at 1e-7; over at most 66 steps of a small network that stays
    far below 1e-3, which a wrong kernel would not. Decisions on test samples may turn."""
    one, two = (records(folders[0]) for folders in results.values())
    for name, record in one.items():
        loss = record.metrics["final_train_loss"]
        assert two[name].metrics["final_train_loss"] == pytest.approx(loss, rel=1e-3)
