"""docs/reliability.md names a test for every failure, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/reliability.md"


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["failure", "what prunebench does", "what the user sees", "test"]
    return cells[2:]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_failure_has_an_outcome_and_tests_that_exist():
    failures = 0
    for row in rows():
        assert len(row) == 4, row
        failure, does, sees, tests = row
        if failure.startswith("**"):
            assert (does, sees, tests) == ("", "", ""), failure
            continue
        failures += 1
        assert does, failure
        assert sees, failure
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
        assert len(named) == tests.count("::"), failure
        assert named, failure
        for file, name in named:
            assert name in names_in(ROOT / file), f"{failure}: {file} has no {name}"
    assert failures > 30


def test_every_test_of_this_folder_is_named_there():
    text = PAGE.read_text()
    files = [*Path(__file__).parent.glob("test_*.py"), ROOT / "tests/soak/test_faults.py"]
    for file in files:
        if file != Path(__file__):
            for name in names_in(file):
                if name.startswith("test_"):
                    assert f"{file.relative_to(ROOT)}::{name}`" in text, name
