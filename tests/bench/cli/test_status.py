"""status: how far grids are, by method and setting, in terminals of any width."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from prunebench.bench.cli.state_tables import headline, legend, table_blocks
from prunebench.bench.reports.grid_state import UNREADABLE, GridState, StateTable, grid_state
from prunebench.bench.results.claims import Claims
from prunebench.bench.results.planned import add_plan, planned_record
from prunebench.bench.results.store import Store
from prunebench.record import Record, content_key
from support.command import prunebench
from support.records import RECIPE, record

NOISES = ("clean", "symmetric:0.2", "symmetric:0.5", "symmetric:0.8", "asymmetric:0.2",
          "asymmetric:0.4")  # fmt: skip
WANTED = [record(*cell) for cell in product(("full", "random", "dual"), NOISES[:2], (0, 1, 2))]


def planned(records: list[Record]) -> list[Record]:
    return [planned_record(r.spec, "", r.key) for r in records]


def seconds(found: Record, total: float) -> Record:
    return replace(found, timing={"total_s": total}).sealed()


def drawn(state: GridState, width: int, colours: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colours)
    for table in state.tables:
        for block in table_blocks(table, width):
            console.print(block)
    return out.getvalue()


def test_every_run_is_counted_once_by_method_setting_and_state() -> None:
    full = [r for r in WANTED if r.spec["method"]["name"] == "full"]
    random = [r for r in WANTED if r.spec["method"]["name"] == "random"]
    bad = replace(random[0], status="failed").sealed()
    killed = replace(random[1], status="killed").sealed()
    other = record("ies", "clean", 0, status="diverged")
    tuning = record("ies", "clean", 0, spec={"role": "search"})
    broken = record("ies", "clean", 0, spec={"noise": "clean"})
    state = grid_state([*full, bad, killed, other, tuning, broken], planned(WANTED),
                       {random[2].key})  # fmt: skip
    (table,) = state.tables
    assert table.noises == NOISES[:2]
    assert [label for label, _ in table.rows] == ["full", "dual", "ies", "random"]
    found = dict(table.rows)
    assert found["full"] == ({"done": 3}, {"done": 3})
    assert found["random"] == ({"failed": 2, "running": 1}, {"left": 3})
    assert found["dual"] == ({"left": 3}, {"left": 3})
    assert found["ies"] == ({"done": 1}, {})
    assert state.counts == {"done": 7, "running": 1, "failed": 2, "skipped": 0, "left": 9}
    assert state.beside == {"tuning run": 1, UNREADABLE: 1}


def test_rows_are_named_as_on_boards() -> None:
    found = [record("infobatch", params={"r": r}) for r in (0.3, 0.5)]
    found.append(record("infobatch", seed=1, params={"r": 0.3}, info={"label": "mine"}))
    (table,) = grid_state(found, [], ()).tables
    assert len(table.rows) == 2  # the row of r=0.3 was given a label by one of its runs
    assert {label for label, _ in table.rows} == {"infobatch", "mine"}
    for data, r, info in (("mnist", 0.5, {}), ("news", 0.3, {"label": "theirs"})):
        spec = {"dataset": {"name": data, "version": "1", "params": {}, "identity": ""}}
        found.append(record("infobatch", params={"r": r}, spec=spec, info=info))
    tables = grid_state(found[1:2] + found[3:], [], ()).tables  # labels are a data set's own
    assert [table.rows[0][0] for table in tables] == ["infobatch", "infobatch", "theirs"]
    tables = grid_state(found[:1] + found[3:], [], ()).tables
    assert [table.rows[0][0] for table in tables] == ["infobatch", "infobatch", "theirs"]
    (ce, sop) = grid_state([record(), record(spec={"criterion": {"name": "sop+"}})], [], ()).tables
    assert (ce.criterion, sop.criterion) == ("ce", "sop+")


def test_time_left_is_that_of_finished_runs_of_the_method_else_of_the_recipe() -> None:
    records = [seconds(record("full", "clean", 0), 10.0), seconds(record("dual", "clean", 0), 30.0)]
    todo = planned([record("dual", "symmetric:0.2", 0), record("random", "clean", 0)])
    assert grid_state(records, todo, ()).seconds_left == 30.0 + 20.0
    running = grid_state(records, todo, {todo[0].key})
    assert running.seconds_left == 15.0 + 20.0
    said = headline("r", running, records, 2).plain
    assert "about 18 s to go with 2 at once" in said
    assert "1 running that no grid asked for" in said
    assert grid_state([], todo, ()).seconds_left is None
    assert grid_state(records, [], ()).seconds_left is None
    longer = planned([record("dual", "clean", 0, spec={"recipe": RECIPE | {"epochs": 99}})])
    assert grid_state(records, longer, ()).seconds_left == 20.0  # nothing better is known
    for wrong in (-1.0, 1e300):
        assert grid_state([seconds(records[0], wrong)], todo, ()).seconds_left is None


def many(counts: dict[str, int], rows: int = 40, noises: tuple[str, ...] = NOISES) -> GridState:
    labels = ["infobatch+align", *(f"a-method-of-a-long-name-{n}" for n in range(rows - 1))]
    cells = tuple(Counter(counts) for _ in noises)
    table = StateTable("digits", "ce", noises, tuple((label, cells) for label in labels))
    return GridState((table,), {**counts}, {}, None)


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("counts", [{"done": 5}, {"done": 12, "running": 2, "failed": 1,
                                                  "left": 15}])  # fmt: skip
def test_forty_methods_and_six_settings_fit_the_terminal(
    width: int, counts: dict[str, int]
) -> None:
    state = many(counts)
    text = drawn(state, width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert len(list(table_blocks(state.tables[0], width))) == 1
    words = Counter(text.split())
    for name, sign in (("done", ""), ("running", "r"), ("failed", "f"), ("left", "l")):
        if name in counts:
            assert words[f"{counts[name]}{sign}"] == 240
    assert words["infobatch+align"] == 1
    assert "\x1b" not in text


def test_more_settings_than_fit_go_on_below_with_the_names_again() -> None:
    noises = tuple(f"openset:0.{n} from a-source-of-images" for n in range(9))
    text = drawn(many({"done": 1}, 3, noises), 80)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert text.count("infobatch+align") == len(
        list(table_blocks(many({}, 3, noises).tables[0], 80))
    )
    assert text.split().count("a-source-of-images") == 9


def test_colours_are_for_terminals_and_names_are_spelled_out() -> None:
    evil = "a\x1b]0;owned\x07\u202eb\n"
    table = StateTable(evil, evil, (evil,), ((evil, ({"failed": 1},)),))
    state = GridState((table,), {"done": 0, "running": 0, "failed": 1, "skipped": 0, "left": 0},
                      {evil: 1}, None)  # fmt: skip
    shown = drawn(state, 80)
    said = headline(evil, state, [], 0).plain + legend(state).plain
    for text in (shown, said):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "\\x1b]0;owned" in said
    assert "\x1b[1;31m1f" in drawn(state, 80, colours=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Nine of eighteen runs are there, one is held by this process."""
    store = Store.open(tmp_path / "r")
    for made in WANTED[:9]:
        store.save(made)
    add_plan(store, "g", planned(WANTED))
    return store


def test_the_verb_says_it_in_words_and_as_json(store: Store) -> None:
    claim = Claims(store.claims).acquire(WANTED[10].key)
    assert claim is not None
    with claim:
        said = prunebench("status", store.root)
        found = prunebench("status", store.root, "--json").json
    assert said.code == 0
    assert f"{store.root}: 9 of 18 cells done, 1 running, 8 left; about 17 s to go" in said.out
    assert "a number: done, r running, l left" in said.out
    assert {"results", "counts", "records", "problems", "running", "warnings"} <= found.keys()
    assert found["counts"] == {"done": 9}
    assert found["cells"] == {"done": 9, "running": 1, "failed": 0, "skipped": 0, "left": 8}
    assert found["seconds_left"] == 17.0
    named = {"dataset": "digits", "criterion": "ce", "method": "random", "noise": "symmetric:0.2"}
    counts = {"done": 0, "running": 1, "failed": 0, "skipped": 0, "left": 2}
    assert {**named, **counts} in found["tables"]


def test_a_damaged_plan_and_records_of_no_grid_are_no_hindrance(store: Store) -> None:
    for plan in (store.root / "planned").iterdir():
        plan.write_bytes(b"x")
    said = prunebench("status", store.root)
    assert (said.code, said.err) == (0, "")
    assert "9 of 9 cells done\n" in said.out
    assert content_key(WANTED[0].spec) == WANTED[0].key
