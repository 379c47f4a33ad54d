"""The benchmark of a card, at a size at which it only shows that it runs."""

import json

import pytest

from prunebench.bench.perf.cuda import ALL, main
from prunebench.bench.perf.report import verdicts
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
    assert list(report["contenders"]) == names
    for name, row in report["contenders"].items():
        assert "error" not in row, (name, row)
        assert row["low"] <= row["median"] <= row["high"]
        assert len(row["images_s"]) == 1
    hows = {name: row["how"] for name, row in report["contenders"].items()}
    assert hows["graph"] == hows["lanes-2"] == hows["batch-512"] == "captured"
    assert hows["eager"] == "switched off" or hows["eager"] == "launched"
    assert set(report["halves"]) == {"random-dynamic", "infobatch", "seta", "infobatch+align"}
    assert all(0 < share < 3 for share in report["halves"].values())
    page = (tmp_path / "cuda.md").read_text()
    assert page.strip() in capsys.readouterr().out
    for word in (*names, "reference 40", "solo / plain loop", "200 epochs"):
        assert word in page


def test_a_machine_without_a_card_and_unknown_names_get_one_line(tmp_path, capsys):
    assert main([*TINY, "--out", str(tmp_path), "--contenders", "warp"]) == 2
    assert "--contenders" in capsys.readouterr().err


def test_goals_are_judged_by_their_direction():
    report = {
        "workload": {"images": 50_000},
        "contenders": {"graph": {"median": 70_000.0}, "compiled": {"median": 90_000.0},
                       "lanes-4": {"median": 80_000.0}, "plain": {"median": 5_000.0},
                       "eager": {"error": "none"}},
        "passes_s": {"reference 1000": 0.004, "reference 10000": 0.05, "test 10000": 1.0},
        "halves": {"infobatch": 0.5, "seta": 0.6},
    }  # fmt: skip
    found = {row["what"]: (round(row["got"], 3), row["met"]) for row in verdicts(report)}
    assert found["solo, batch 128"] == (90_000, True)
    assert found["lanes, aggregate"] == (80_000, False)
    assert "batch 512" not in found
    assert found["solo / plain loop"] == (18, True)
    assert found["lanes / plain loop"] == (16, False)
    assert found["200 epochs of 50,000, solo: minutes"] == (1.852, True)
    assert found["reference 1000 / epoch"] == (0.007, True)
    assert found["reference 10000 / epoch"] == (0.09, False)
    assert found["half the samples / full, infobatch"] == (0.5, True)
    assert found["half the samples / full, seta"] == (0.6, False)
