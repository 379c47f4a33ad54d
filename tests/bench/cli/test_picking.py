"""list and drop: runs by their fields, shown and moved aside."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path

import pytest

from prunebench.bench.cli import terminal_tables
from prunebench.bench.cli.picking import _show
from prunebench.bench.results.planned import add_plan, plan_files, planned_cells, planned_record
from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.record import Record, content_key
from prunebench.terminal import SafeStream
from support.command import files, prunebench, refused
from support.records import RECIPE, grid, record

SHORT = {"recipe": RECIPE | {"epochs": 5}}
ALL = [*grid(("full", "random"), noises=("clean",), seeds=(0, 1)),
       record("random", "clean", 0, accuracy=0.25, spec=SHORT),
       record("random", "clean", 1, spec=SHORT, status="failed", reason="no memory")]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A grid of six cells, two of another recipe, one of them failed."""
    store = Store.open(tmp_path / "r")
    for made in ALL:
        store.save(made, {"epochs.csv": b"epoch\n1\n"} if made.status == "done" else None)
    return store


def keys(method: str, epochs: int) -> set[str]:
    specs = {r.key: r.spec for r in ALL if r.spec["method"]["name"] == method}
    return {key for key, spec in specs.items() if spec["recipe"]["epochs"] == epochs}


def test_a_list_shows_what_tells_runs_apart(store: Store) -> None:
    said = prunebench("list", store.root)
    assert said.code == 0
    (line,) = [text for text in said.out.splitlines() if "25.00" in text]
    for word in ("digits, 5 epochs", "random", "clean", "0.5", "digits-mlp", "done"):
        assert word in line
    assert "6 runs" in said.err
    one = prunebench("list", store.root, "--status", "failed", "--json").json
    assert [(r["key"], r["status"], r["accuracy"]) for r in one] == [(ALL[-1].key, "failed", None)]
    picked = prunebench("list", store.root, "--method", "random", "--where", "recipe.epochs=5",
                        "--seed", "0", "--json").json  # fmt: skip
    assert [row["board"] for row in picked] == ["digits, 5 epochs"]
    assert len(prunebench("list", store.root, "--key", ALL[0].key, "--json").json) == 1
    for words in (("--method", "randon"), ("--key", "0" * 16), ("--status", "fine")):
        refused = prunebench("list", store.root, *words)
        assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_a_list_follows_the_terminal_and_tells_options_apart(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    spec = {**ALL[0].spec, "method": {**ALL[0].spec["method"], "params": {"k": 2}}}
    store.save(dataclasses.replace(ALL[0], key=content_key(spec), spec=spec), None)
    rows = prunebench("list", store.root, "--json").json
    assert {row["row"] for row in rows if row["method"] == spec["method"]["name"]} > {
        f"{spec['method']['name']} (k=2)"
    }
    monkeypatch.setenv("TERM", "xterm")
    for width in (80, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        screen = Terminal()
        monkeypatch.setattr(terminal_tables.sys, "stdout", SafeStream(screen))
        _show(rows)
        assert max(map(len, re.sub("\x1b\\[[0-9;]*m", "", screen.getvalue()).split("\n"))) <= width
    assert "(k=2)" in screen.getvalue()
    long = [{**rows[0], "noise": "n" * 300}]
    _show(long)
    assert "n" * 57 + "..." in screen.getvalue()
    assert "n" * 58 not in screen.getvalue()
    piped = io.StringIO()
    monkeypatch.setattr(terminal_tables.sys, "stdout", piped)
    _show(long)
    assert "n" * 300 in piped.getvalue()


def test_several_runs_are_named_by_what_tells_them_apart(store: Store) -> None:
    said = prunebench("export", store.root, "--method", "random", "--seed", "0")
    refused(said, "2 runs have --method random --seed 0", "digits, 5 epochs", "a KEY, or further")
    assert len(set(re.findall(r"\((.*?)\)", said.err))) == 2


def test_dropped_runs_lie_in_quarantine_with_all_that_is_theirs(store: Store) -> None:
    gone = keys("random", 5)
    for key in gone:
        store.evidence_path(key).mkdir(parents=True)
        store.checkpoint_path(key).mkdir(parents=True)
    words = ("drop", store.root, "--where", "recipe.epochs=5")
    before = files(store.root)
    asked = prunebench(*words)
    assert (asked.code, files(store.root)) == (2, before)
    assert asked.err.splitlines()[-1].endswith("accepted: --yes")
    assert all(key in asked.out for key in gone)
    said = prunebench(*words, "--yes", "--json")
    assert said.code == 0
    assert set(said.json["moved"]) == gone
    assert store.keys() == {r.key for r in ALL} - gone
    for key in gone:
        (aside,) = store.root.glob(f"quarantine/{key}.*")
        assert (aside / f"{key}.json").is_file()
        assert (
            "--where recipe.epochs=5" in json.loads((aside / "reason.json").read_text())["reason"]
        )
        assert not store.evidence_path(key).exists()
        assert not store.checkpoint_path(key).exists()
        assert not (store.artifacts / key).exists()
    assert prunebench("status", store.root).code == 0
    assert "digits, ratio 0.5" in prunebench("leaderboard", store.root).out
    nothing = prunebench(*words, "--yes")
    assert (nothing.code, nothing.err.count("\n")) == (2, 1)
    everything = prunebench("drop", store.root, "--yes")
    assert (everything.code, len(store.keys())) == (2, 4)
    assert "which runs?" in everything.err


def test_a_drop_that_was_broken_off_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = Store.quarantine, []

    def stops(self: Store, key: str, reason: str) -> Path:
        calls.append(key)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, key, reason)

    words = ("drop", store.root, "--where", "recipe.epochs=5", "--yes")
    monkeypatch.setattr(Store, "quarantine", stops)
    assert prunebench(*words).code == 1
    assert len(store.keys()) == 5
    monkeypatch.setattr(Store, "quarantine", whole)
    assert prunebench(*words).code == 0
    assert len(store.keys()) == 4
    assert len(list(store.root.glob("quarantine/*/*.json"))) == 4  # two records, two reasons


def test_planned_cells_are_expected_until_they_are_dropped(store: Store) -> None:
    never = [record("random", "clean", seed, spec=SHORT).spec for seed in (2, 3)]
    cells = [planned_record(spec) for spec in [*(r.spec for r in ALL), *never]]
    add_plan(store, "mine", cells)
    add_plan(store, "mine", reversed(cells))
    assert len(plan_files(store.root)) == 1
    assert {cell.key for cell in planned_cells(store.root)} == {cell.key for cell in cells}
    assert all(isinstance(cell, Record) for cell in planned_cells(store.root))
    said = prunebench("audit", store.root)
    assert "digits, 5 epochs, ratio 0.5, random" in said.out
    assert "lacks clean seed 1, clean seed 2, clean seed 3: 3 of 4 cells" in said.out
    assert "no run of full training" in said.out
    dropped = prunebench("drop", store.root, "--where", "recipe.epochs=5", "--yes", "--json").json
    assert (len(dropped["moved"]), dropped["forgotten"]) == (2, 2)
    assert {cell.key for cell in planned_cells(store.root)} == {r.key for r in ALL[:4]}
    assert prunebench("audit", store.root).out.endswith("nothing to report\n")


def test_merged_folders_expect_what_each_did(store: Store, tmp_path: Path) -> None:
    add_plan(store, "mine", [planned_record(r.spec) for r in ALL])
    assert prunebench("leaderboard", "merge", store.root, "--out", tmp_path / "all").code == 0
    assert files(tmp_path / "all" / "planned") == files(store.root / "planned")


@pytest.mark.parametrize("data", [b"", b"nothing", b"\x1f\x8b\x08\0\0\0\0\0\0\xff0"])
def test_damaged_plans_are_named_and_set_aside_by_the_next_grid(store: Store, data: bytes) -> None:
    add_plan(store, "mine", [planned_record(r.spec) for r in ALL])
    (path,) = plan_files(store.root)
    whole = path.read_bytes()
    for content in (data, whole[:-5], whole[:20] + b"\0\0" + whole[22:]):
        path.write_bytes(content)
        if not content:
            continue
        with pytest.raises(InputError, match=path.name):
            planned_cells(store.root)
        said = prunebench("audit", store.root)
        assert (said.code, said.err.count("\n")) == (2, 1)
    add_plan(store, "mine", [planned_record(r.spec) for r in ALL])
    assert path.read_bytes() == whole
    assert list(store.root.glob("quarantine/planned-*"))
