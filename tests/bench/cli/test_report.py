"""`prunebench report` as a user meets it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from support.command import prunebench
from support.records import grid


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store.open(tmp_path / "r")
    for made in grid(("full", "random", "infobatch")):
        store.save(made)
    return store.root


def test_it_writes_one_page_with_its_tables(results: Path) -> None:
    said = prunebench("report", results, "--no-figures", "--json")
    assert said.code == 0, said.err
    names = {str(Path(name).relative_to(results / "report")) for name in said.json}
    assert names == {"report.md", "report.html", "tables/power.csv"}
    # Read again, the page is no part of the results.
    again = prunebench("report", results, "--no-figures")
    assert again.code == 0
    assert again.out.splitlines() == [f"wrote {results / 'report' / name}"
                                      for name in ("report.md", "report.html")]  # fmt: skip


def test_packed_records_and_filters_do_too(results: Path, tmp_path: Path) -> None:
    lines = b"".join(path.read_bytes() for path in sorted((results / "records").iterdir()))
    (tmp_path / "p").mkdir()
    bundle = tmp_path / "p" / "records.jsonl.gz"
    bundle.write_bytes(gzip.compress(lines))
    whole = prunebench("report", results, "--no-figures", "--out", tmp_path / "a")
    assert whole.code == 0
    packed = prunebench("report", bundle, "--no-figures")
    assert packed.code == 0, packed.err
    for name in ("report.md", "report.html", "tables/power.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "p/report" / name).read_bytes()
    one = prunebench("report", results, "--no-figures", "--out", tmp_path / "b", "--noise", "clean")
    assert one.code == 0
    assert "1 setting, 3 seeds" in (tmp_path / "b" / "report.md").read_text("utf-8")


def test_bad_input_is_one_line(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.toml").write_text("alpha = 2")
    for words, said in (
        ((tmp_path / "none",), "no results folder"),
        ((results, "--protocol", tmp_path / "bad.toml"), "alpha"),
        ((results, "--noise", "purple"), "purple"),
        ((results, "--out", tmp_path / "file"), "file"),
        ((results, "--method", "random", "--seed", "99"), "99"),
    ):
        found = prunebench("report", *words, "--no-figures")
        assert found.code == 2, words
        assert found.err.count("\n") == 1, found.err
        assert said in found.err
        assert not (results / "report").exists()


def test_a_record_that_cannot_be_read_is_named(results: Path) -> None:
    hit = next((results / "records").iterdir())
    hit.write_text("{}")
    found = prunebench("report", results, "--no-figures")
    assert found.code == 1
    assert hit.name in found.err
    assert (results / "report" / "report.html").is_file()
