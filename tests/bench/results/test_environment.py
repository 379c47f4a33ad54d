"""The code digest of records."""

from __future__ import annotations

import shutil
from pathlib import Path

import prunebench
from prunebench.bench.results.environment import source_digest

ROOT = Path(prunebench.__file__).parent


def test_a_change_in_any_file_of_the_package_changes_the_code_digest(tmp_path: Path) -> None:
    copy = tmp_path / "a"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__", "*.toml", "*.html"))
    # One file of each folder, so that no folder is passed over.
    files = sorted({path.parent: path for path in sorted(copy.rglob("*.py"))}.values())
    assert len(files) > 30
    found = {source_digest(copy)}
    assert found == {source_digest()}  # the installed package follows the links of a checkout
    for file in files:
        before = file.read_bytes()
        file.write_bytes(before + b"#")
        source_digest.cache_clear()
        found.add(source_digest(copy))
        file.write_bytes(before)
    assert len(found) == len(files) + 1


def test_a_file_that_moves_changes_the_code_digest(tmp_path: Path) -> None:
    for number, place in enumerate(("a", "a/b")):
        folder = tmp_path / str(number) / place
        folder.mkdir(parents=True)
        (folder / "c.py").write_text("x = 1")
    assert source_digest(tmp_path / "0") != source_digest(tmp_path / "1")
