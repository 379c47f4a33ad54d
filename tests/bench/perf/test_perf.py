"""The benchmark suite at sizes that only show that it runs; its statistics, forms and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from prunebench.bench.perf import epochs, timing
from prunebench.bench.perf.page import figure_rows, markdown, shown
from prunebench.bench.perf.result import Goal, figure
from prunebench.bench.perf.suite import BENCHMARKS, find, report, run
from prunebench.bench.perf.timing import Taken, Times, in_turn, paired
from prunebench.bench.perf.workload import threads
from support.command import prunebench
from support.suite import TINY

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_core(monkeypatch):
    """Two threads on a busy machine wait for each other."""
    monkeypatch.setattr(epochs, "cores", lambda: 1)


def test_ratio_of_medians_and_spread_of_pairs():
    ratio = paired([4.0, 9.0, 5.0], [2.0, 1.0, 5.0])
    assert (ratio.value, ratio.low, ratio.high) == (2.5, 1.0, 9.0)
    assert ratio.times(2) == timing.Ratio(5.0, 2.0, 18.0)
    with pytest.raises(ValueError, match="longer"):
        paired([1.0], [1.0, 2.0])


def test_contenders_take_turns_and_the_first_round_does_not_count():
    said = []
    times = in_turn(
        {"a": lambda: said.append("a"), "b": lambda: said.append("b")}, 3, CPU, {"b": 2},
        before=lambda name: said.append(f"before {name}"),
    )  # fmt: skip
    turn = ["before a", "a", "before b", "b", "b"]
    assert said == ["before a", "a", "before b", "b", *turn, *turn, *turn]
    assert [len(taken) for taken in times.taken.values()] == [3, 3]


@pytest.mark.parametrize(
    ("wall", "count", "clock"), [(1.05, 1, "wall"), (1.5, 1, "cpu"), (1.5, 2, "wall")]
)
def test_own_time_is_read_only_where_others_kept_a_single_thread_waiting(
    wall, count, clock, monkeypatch
):
    spent = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: wall * (n := next(spent)) + 0 * n)
    ticks = iter(range(1000))
    monkeypatch.setattr(timing.time, "process_time", lambda: float(next(ticks)))
    with threads(count):
        times = in_turn({"a": lambda: None}, 2, CPU)
    assert times.clock == clock
    assert times.median("a") == pytest.approx(wall if clock == "wall" else 1.0)


def test_goals_and_figures():
    times = Times({"slow": [Taken(6, 1)] * 3, "fast": [Taken(2, 1)] * 3}, "wall")
    least, most = Goal(3.0), Goal(2.9, least=False)
    found = figure("slow / fast", times.ratio("slow", "fast"), goal=least)
    assert (found.value, found.met) == (3.0, True)
    assert not most.met(3.0)
    assert figure("x", times.ratio("slow", "fast")).met is None
    assert [shown(0.0125, "share"), shown(23.456, "x"), shown(1234.5, "img/s")] == [
        "1.25 %", "23.5x", "1,234 img/s"]  # fmt: skip
    assert [shown(share, "share") for share in (0.515, 0.999, 1.2)] == ["52 %", "100 %", "120 %"]


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "memory"])
def test_every_benchmark_runs_and_gives_figures(name):
    for result in run(find(name), TINY):
        plain = json.loads(json.dumps(result.as_json()))
        assert plain["name"] == name
        assert plain["rows"]
        assert all(row["median"] > 0 for row in plain["rows"])
        assert all(np.isfinite(f["value"]) for f in plain["figures"])
        for f in plain["figures"]:
            assert f["met"] is None or type(f["met"]) is bool
            assert f["low"] is None or f["low"] <= f["high"]


@pytest.mark.soak
def test_a_run_adds_memory_to_what_the_data_take():
    data, added = run(find("memory"), TINY)[0].figures
    assert data.value > 100
    assert data.low > 0
    assert -20 < added.value < 2000


def test_report_says_where_and_what_and_whether_goals_are_met():
    names = ["data-path", "step"]
    made = json.loads(json.dumps(report({name: find(name) for name in names}, TINY)))
    assert made["schema"] == 1
    assert {"device_class", "torch", "threads", "clocks", "load", "bf16"} <= set(made["machine"])
    assert [result["name"] for result in made["results"]] == names
    assert made["settings"]["n"] == 300
    text = markdown(made)
    goal = made["results"][0]["figures"][0]
    assert f">= 20x: {'met' if goal['met'] else 'missed'}" in text
    for result in made["results"]:
        assert f"## {result['name']}" in text
        assert all(f"| {row['name']} " in text for row in result["rows"])


def test_command_prints_a_table_and_writes_both_files(tmp_path):
    out = tmp_path / "a" / "b"
    said = prunebench("perf", "--only", "data-path", "--n", "200", "--repeats", "1", "--out", out)
    assert said.code == 0, said.err
    assert "PIL and DataLoader / ours" in said.out
    assert ">= 20x" in said.out
    assert "data-path: 1 goals" in said.err
    made = json.loads((out / "perf.json").read_text())
    assert made["settings"]["n"] == 200
    assert (out / "perf.md").read_text() == markdown(made)


def test_command_prints_json_and_lists():
    said = prunebench("perf", "--only", "data-path", "--n", "100", "--repeats", "1", "--json")
    assert said.json["results"][0]["name"] == "data-path"
    assert said.err == ""
    listed = prunebench("perf", "--list")
    assert [line.split()[0] for line in listed.out.splitlines()] == list(BENCHMARKS)


@pytest.mark.parametrize(("words", "line"), [
    (("--only", "epochs"), "accepted: epoch, data-path"),
    (("--device", "cuda:7"), "no device 'cuda:7' here"),
    (("--device", "tpu"), "unknown device 'tpu'"),
    (("--repeats", "0"), "0 is not accepted; accepted: a whole number from 1 to 1000"),
    (("--n", "5"), "5 is not accepted; accepted: a whole number from 100 to"),
])  # fmt: skip
def test_bad_words_are_refused_in_one_line(words, line):
    said = prunebench("perf", *words)
    assert said.code == 2
    assert line in said.err
    assert len(said.err.splitlines()) == 1


def test_a_folder_that_cannot_be_made_stops_before_anything_is_timed(tmp_path):
    (tmp_path / "file").write_text("")
    said = prunebench("perf", "--only", "step", "--out", tmp_path / "file" / "x")
    assert said.code == 2
    assert "--out" in said.err


@pytest.mark.parametrize("name", ["suite", "halves", "memory"])
def test_the_page_on_speed_shows_its_reports(name):
    docs = Path(__file__).parents[3] / "docs"
    stored = json.loads((docs / f"performance/{name}.json").read_text())
    assert (docs / f"performance/{name}.md").read_text() == markdown(stored)
    page = (docs / "performance.md").read_text()
    rows = {tuple(map(str.strip, line.strip("|").split("|"))) for line in page.splitlines()}
    figures = figure_rows(stored)
    assert set(figures) <= rows
    assert len({row[:2] for row in figures}) == len(figures)  # no two that a reader cannot tell
