"""docs/architecture.md names the layers that `make check` holds, and files that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[set[str]]:
    """The names in the first column of the table below a heading, row by row."""
    section = TEXT.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \| ", section, re.MULTILINE)
    return [{name.rstrip("/") for name in re.findall(r"`([^`]+)`", cell)} for cell in cells]


def test_the_layers_are_those_of_the_contract():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = content["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c.get("containers") == ["prunebench.bench"]]
    contract = [set(layer.split(" | ")) for layer in layers]
    table = rows("`bench/`")
    named = [name for row in table for name in row]
    assert sorted([*named, "optim"]) == sorted(name for layer in contract for name in layer)
    floors = [min(i for i, layer in enumerate(contract) if name in layer) for name in named]
    assert floors == sorted(floors)


def test_the_files_that_it_names_exist():
    paths = re.findall(r"`((?:bench|methods|datasets|leaderboard|tests|docs)/[\w./]*)`", TEXT)
    paths = [path for path in paths if "NAME" not in path]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
