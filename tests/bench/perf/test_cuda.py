"""The benchmark of a card, at a size at which it only shows that it runs, and what it keeps of a
run that is broken off."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from prunebench.bench.perf import contenders
from prunebench.bench.perf.cuda import ALL, EXPECTED, Card, fastest, goals, main
from prunebench.bench.perf.page import figure_rows
from prunebench.bench.perf.rounds import Contender, Limit, take_turns
from prunebench.bench.perf.workload import Settings
from prunebench.bench.train.capture import pool
from prunebench.bench.train.setup import Diverged


@pytest.fixture(autouse=True)
def own_captures():
    before = pool.use(pool.CapturedStepPool())
    yield
    pool.use(before)


TINY = ["--device", "cpu", "--images", "160", "--side", "8", "--width", "2", "--batch", "32",
        "--plain-images", "32", "--precision", "fp32"]  # fmt: skip


def report_of(folder):
    return json.loads((folder / "cuda.json").read_text())


def turns_of(folder, title="training"):
    return {name: len(tally["turns"]) for name, tally in report_of(folder)["turns"][title].items()}


def measure(folder, *words, repeats=1):
    return main([*TINY, "--out", str(folder), "--repeats", str(repeats), *words])


@pytest.mark.soak
def test_contenders_of_every_kind_run_on_a_cpu(tmp_path, capsys):
    kinds = ("plain", "eager", "graph", "fp32", "batch-512", "lanes-2")
    names = [name for name in ALL if name in kinds]  # all of them run on the pretended card
    code = measure(tmp_path, "--graph", "rehearse", "--half-epochs", "1",
                   "--contenders", ",".join(names))  # fmt: skip
    assert code == 0
    report = report_of(tmp_path)
    training, passes, halves = report["results"]
    assert [row["name"] for row in training["rows"]] == names
    speeds = {f["what"]: f for f in training["figures"] if f["unit"] == "img/s"}
    for name in names:
        assert 0 < speeds[name]["low"] <= speeds[name]["value"] <= speeds[name]["high"]
    hows = dict(note.removeprefix("steps of ").split(": ", 1) for note in training["notes"])
    assert hows["graph"] == hows["lanes-2"] == hows["batch-512"] == hows["fp32"] == "captured"
    assert hows["eager"] == "switched off" or hows["eager"] == "launched"
    assert [f["what"] for f in passes["figures"]] == ["reference 40 / epoch"]
    shares = {f["what"]: f["value"] for f in halves["figures"]}
    assert set(shares) == {f"{name} / full" for name in ("random-dynamic", "infobatch", "seta",
                                                         "infobatch+align")}  # fmt: skip
    assert all(0 < share < 3 for share in shares.values())
    page, said = (tmp_path / "cuda.md").read_text(), capsys.readouterr().out
    for word in (*names, "reference 40", "solo / plain loop", "200 epochs"):
        assert word in page
        assert word in said
    assert all(len(line) <= 80 for line in said.splitlines() if "wrote" not in line)
    assert all(row[4] for row in figure_rows(report) if row[0].startswith("halves"))


def test_unknown_names_get_one_line(tmp_path, capsys):
    assert measure(tmp_path, "--contenders", "warp") == 2
    assert "--contenders" in capsys.readouterr().err
    assert not (tmp_path / "cuda.json").exists()


def test_a_contender_that_fails_is_named_and_the_others_are_timed(tmp_path, monkeypatch):
    def broken(work, count, workers):
        raise RuntimeError("out of paint")

    monkeypatch.setattr("prunebench.bench.perf.cuda.PlainLoop", broken)
    assert measure(tmp_path, "--half-epochs", "0", "--contenders", "plain,eager") == 0
    training, passes = report_of(tmp_path)["results"]
    assert [row["name"] for row in training["rows"]] == ["eager"]
    assert "no plain: RuntimeError: out of paint" in training["notes"]
    assert passes["figures"] == []  # no captured run to compare with


@pytest.mark.soak
def test_those_that_fail_late_keep_their_turns_and_a_later_call_takes_the_others(
    tmp_path, monkeypatch
):
    errors = {"graph": Diverged("the loss is not finite"), "fp32": torch.OutOfMemoryError("full")}
    made, make, epoch = [], Card.make, contenders.Solo.epoch

    def noted(self, name):
        made.append((make(self, name), name))
        return made[-1][0]

    def late(self):
        (name,) = [name for one, name in made if one is self]
        calls[name] = calls.get(name, 0) + 1
        if calls[name] == 3 and name in errors:
            raise errors.pop(name)
        return epoch(self)

    calls = {}
    monkeypatch.setattr(Card, "make", noted)
    monkeypatch.setattr(contenders.Solo, "epoch", late)
    words = ("--half-epochs", "0", "--contenders", "graph,fp32,eager")
    assert measure(tmp_path, *words, repeats=3) == 0
    assert turns_of(tmp_path) == {"graph": 1, "eager": 3, "fp32": 1}
    notes = report_of(tmp_path)["results"][0]["notes"]
    assert "graph: 1 turns, then Diverged: the loss is not finite" in notes
    assert "fp32: 1 turns, then OutOfMemoryError: full" in notes
    assert measure(tmp_path, *words, repeats=3) == 0
    assert turns_of(tmp_path) == {"graph": 3, "eager": 3, "fp32": 3}
    assert calls["eager"] == 4
    assert not [note for note in report_of(tmp_path)["results"][0]["notes"] if "then" in note]


def test_one_that_does_not_end_is_broken_off_at_the_limit(tmp_path, monkeypatch):
    def forever(self):
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(contenders.PlainLoop, "epoch", forever)
    before = signal.getsignal(signal.SIGALRM)
    asked = ("--half-epochs", "0", "--contenders", "plain,eager", "--minutes", "0.01")
    monkeypatch.setitem(EXPECTED, "plain", (0.0, 1e9))
    monkeypatch.setitem(EXPECTED, "eager", (0.0, 1e9))
    assert measure(tmp_path, *asked) == 0
    training = report_of(tmp_path)["results"][0]
    assert any(note.startswith("no plain: OutOfTime") for note in training["notes"])
    assert any(note.startswith("no eager: ") for note in training["notes"])
    assert signal.getsignal(signal.SIGALRM) is before


def test_the_least_telling_are_left_out_where_the_time_is_short(tmp_path, capsys):
    words = ("--half-epochs", "0", "--contenders", "lanes-2,eager,graph", "--minutes", "0.4")
    assert measure(tmp_path, *words) == 0
    assert turns_of(tmp_path) == {"graph": 1, "eager": 1, "lanes-2": 0}
    assert any("lanes-2" in line and "left out" in line
               for line in capsys.readouterr().out.splitlines())  # fmt: skip
    assert any(note.startswith("no lanes-2: about 10 s did not fit")
               for note in report_of(tmp_path)["results"][0]["notes"])  # fmt: skip


def test_switches_are_set_once_a_contender_is_made_and_before_every_turn():
    """A trainer sets those of its process when it is made."""
    said, tallies = [], {}

    class Made:
        how = ""

        def epoch(self):
            said.append("turn")
            return 1

    def make():
        said.append("made")
        return Made()

    contender = Contender("a", make, 0.0, 0.0)
    device, limit = torch.device("cpu"), Limit(60)
    take_turns([contender], tallies, 2, device, limit, said.append, lambda name: said.append("set"))
    assert said == ["made", "set", "turn", "set", "turn", "a", "set", "turn", "a"]
    assert len(tallies["a"].turns) == 2


def test_the_default_run_is_expected_to_end_well_within_ten_minutes(monkeypatch):
    monkeypatch.setattr(Settings, "raw", None)  # a call that finds nothing missing needs no data
    sections = Card(Settings(width=64)).sections()
    expected = sum(one.seconds(s.repeats) for s in sections for one in s.contenders)
    assert 200 < expected < 8 * 60 - 30
    assert [one.name for one in sections[0].contenders] == list(ALL)


@pytest.mark.soak
def test_killed_it_leaves_the_rows_before_and_goes_on(tmp_path, capsys):
    """kill -9 of a real process, between any two turns."""
    words = [*TINY, "--out", str(tmp_path), "--half-epochs", "0", "--contenders", "eager,graph"]
    process = subprocess.Popen(
        [sys.executable, "-m", "prunebench.bench.perf.cuda", *words, "--repeats", "9999",
         "--minutes", "9999"], stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "cuda.json").exists() or min(turns_of(tmp_path).values()) < 2:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    left = report_of(tmp_path)
    assert {row["name"] for row in left["results"][0]["rows"]} == {"graph", "eager"}
    assert "| graph" in (tmp_path / "cuda.md").read_text()
    asked = ["--half-epochs", "0", "--contenders", "eager,graph,deterministic"]
    assert measure(tmp_path, *asked, repeats=2) == 0
    found = report_of(tmp_path)
    for name, tally in left["turns"]["training"].items():
        assert found["turns"]["training"][name]["turns"] == tally["turns"]
    assert turns_of(tmp_path)["deterministic"] == 2
    assert "graph " not in capsys.readouterr().out.partition("together")[0]
    assert [result["name"] for result in found["results"]] == ["training", "passes"]


def test_figures_of_other_sizes_and_damaged_files_are_kept_under_a_number(tmp_path, capsys):
    words = ("--half-epochs", "0", "--contenders", "none")
    assert measure(tmp_path, *words) == 0
    first = (tmp_path / "cuda.json").read_text()
    assert main([*TINY, "--images", "128", "--repeats", "1", "--out", str(tmp_path), *words]) == 0
    assert "another n: kept as cuda.1.json" in capsys.readouterr().err
    assert (tmp_path / "cuda.1.json").read_text() == first
    assert (tmp_path / "cuda.1.md").exists()
    (tmp_path / "cuda.json").write_text('{"same": {"n": ')
    assert measure(tmp_path, *words) == 0
    assert (tmp_path / "cuda.2.json").read_text() == '{"same": {"n": '


def test_goals_are_judged_by_their_direction():
    speeds = {"graph": 70_000.0, "compiled": 90_000.0, "lanes-4": 80_000.0, "plain": 5_000.0}
    found = {figure.what: (round(figure.value, 3), figure.met) for figure in goals(speeds)}
    assert found["solo, batch 128"] == (90_000, True)
    assert found["lanes, aggregate"] == (80_000, False)
    assert "batch 512" not in found
    assert found["solo / plain loop"] == (18, True)
    assert found["lanes / plain loop"] == (16, False)
    assert found["200 epochs of 50,000, solo"] == (1.852, True)
    assert found["200 epochs of 50,000, per run in lanes"] == (2.083, False)
    assert goals({}) == []


def test_what_no_option_offers_counts_for_no_goal():
    assert "autotuned" not in ALL
    assert fastest({"graph": 50_000.0, "autotuned": 70_000.0}) == 50_000
