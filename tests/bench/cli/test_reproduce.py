"""reproduce --published with a file of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from support.command import prunebench, refused
from support.invented_paper import SOURCE, invented
from support.records import record


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store.open(tmp_path / "r")
    for seed in range(3):
        for method in ("full", "infobatch"):
            store.save(record(method, "symmetric:0.4", seed, accuracy=0.69 + seed / 100))
    return store.root


def test_a_file_and_its_source_are_shown_beside_ours(results: Path, tmp_path: Path) -> None:
    path = invented(tmp_path)
    said = prunebench("reproduce", results, "--published", path)
    assert said.code == 0, said.err
    assert said.out.startswith(f"Printed by: {SOURCE}\n")
    assert re.search(r"69\.00 \| +70\.00 ± 2\.48 ", said.out), said.out
    assert "recipe.epochs 10 (paper: 200)" in said.out
    assert said.err == "note: methods of invented that are not installed: their-own\n"
    found = prunebench("reproduce", results, "--published", path, "--json").json
    assert (found["published"], found["source"]) == (str(path), SOURCE)
    assert found["unknown_methods"] == ["their-own"]
    assert {cell["verdict"] for cell in found["cells"]} == {"agrees"}


def test_what_is_wrong_with_it_is_one_line(results: Path, tmp_path: Path) -> None:
    refused(prunebench("reproduce", results, "--published", "alignprun"), "alignprune")
    refused(prunebench("reproduce", results, "--published", invented(tmp_path, note=None)),
            "who printed", "invented.toml")  # fmt: skip
    refused(prunebench("reproduce", results, "--published", invented(tmp_path, "x\n1\n")),
            "invented.csv", "columns")  # fmt: skip
