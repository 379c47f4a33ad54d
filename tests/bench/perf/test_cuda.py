"""The benchmark of a card, at a size at which it only shows that it runs."""

import json

import pytest

from prunebench.bench.perf.cuda import ALL, goals, main
from prunebench.bench.perf.page import figure_rows
from prunebench.bench.train.capture import pool


@pytest.fixture(autouse=True)
def own_captures():
    before = pool.use(pool.CapturedStepPool())
    yield
    pool.use(before)


TINY = ["--device", "cpu", "--images", "160", "--side", "8", "--width", "2", "--batch", "32",
        "--repeats", "1", "--plain-images", "32", "--precision", "fp32"]  # fmt: skip


def test_every_contender_but_the_compiled_runs_on_a_cpu(tmp_path, capsys):
    names = [name for name in ALL if name not in ("compiled", "lanes-4", "lanes-6")]
    code = main([*TINY, "--out", str(tmp_path), "--graph", "rehearse", "--half-epochs", "1",
                 "--contenders", ",".join(names)])  # fmt: skip
    assert code == 0
    report = json.loads((tmp_path / "cuda.json").read_text())
    training, passes, halves = report["results"]
    assert [row["name"] for row in training["rows"]] == names
    speeds = {f["what"]: f for f in training["figures"] if f["unit"] == "img/s"}
    for name in names:
        assert 0 < speeds[name]["low"] <= speeds[name]["value"] <= speeds[name]["high"]
    hows = dict(note.removeprefix("steps of ").split(": ", 1) for note in training["notes"])
    assert hows["graph"] == hows["lanes-2"] == hows["batch-512"] == "captured"
    assert hows["eager"] == "switched off" or hows["eager"] == "launched"
    assert [f["what"] for f in passes["figures"]] == ["reference 40 / epoch"]
    shares = {f["what"]: f["value"] for f in halves["figures"]}
    assert set(shares) == {f"{name} / full" for name in ("random-dynamic", "infobatch", "seta",
                                                         "infobatch+align")}  # fmt: skip
    assert all(0 < share < 3 for share in shares.values())
    page = (tmp_path / "cuda.md").read_text()
    assert page.strip() in capsys.readouterr().out
    for word in (*names, "reference 40", "solo / plain loop", "200 epochs"):
        assert word in page
    assert all(row[4] for row in figure_rows(report) if row[0] == "halves")


def test_a_machine_without_a_card_and_unknown_names_get_one_line(tmp_path, capsys):
    assert main([*TINY, "--out", str(tmp_path), "--contenders", "warp"]) == 2
    assert "--contenders" in capsys.readouterr().err


def test_a_contender_that_fails_is_named_and_the_others_are_timed(tmp_path, monkeypatch):
    def broken(work, count, workers):
        raise RuntimeError("out of paint")

    monkeypatch.setattr("prunebench.bench.perf.cuda.PlainLoop", broken)
    asked = ["--half-epochs", "0", "--contenders", "plain,eager"]
    assert main([*TINY, "--out", str(tmp_path), *asked]) == 0
    training, passes = json.loads((tmp_path / "cuda.json").read_text())["results"]
    assert [row["name"] for row in training["rows"]] == ["eager"]
    assert "no plain: RuntimeError: out of paint" in training["notes"]
    assert passes["figures"] == []  # no captured run to compare with


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
