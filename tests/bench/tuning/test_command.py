"""`prunebench tune` as a user meets it: real cells, real processes."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.tuning.report import render
from prunebench.registry import METHODS
from support.command import command, figures, prunebench

PLUGIN = Path(__file__).parents[2] / "plugin" / "drop_highest.py"
TINY = (
    "--noise", "symmetric:0.4", "--recipe-param", "epochs=4", "--recipe-param", "batch_size=128",
    "--final-seeds", "2", "--no-mlflow",
)  # fmt: skip


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")


def tune(*words: Any, method: str = "infobatch") -> Any:
    """A call of the verb with one worker in this process."""
    return prunebench("tune", "--method", method, *TINY, "-w", "1", *words)


def test_a_study_ends_in_a_pinned_file_a_report_and_a_tuned_row(tmp_path: Path) -> None:
    said = tune("--trials", "3", "--study", "s", "--out", "r", "--json", "-q")
    assert said.code == 0, said.err
    report, body = said.json, json.loads(Path("r/tuning/s.json").read_text())
    assert len(report["history"]) == 3
    assert report["hash"] == body["hash"]
    assert report["test"] is None
    records = {record.key: record for record in Store(Path("r")).scan().records}
    assert set(body["records"]) <= records.keys()
    assert {record.spec["role"] for record in records.values()} == {"tune"}
    trained = sum(r.ledger["trained"] / (r.ledger["num_samples"] * 4) for r in records.values())
    assert report["budget"]["total"] == pytest.approx(trained, abs=2e-3)
    assert body["budget"]["cells"] == len(records) == 3 * 2 + 2 * len(body["choice"]["finalists"])

    # Evaluation: the pinned file in a grid, the board, and the drop from validation to test.
    Path("g.toml").write_text(
        'name = "g"\ndataset = "digits"\nnoise = "symmetric:0.4"\nratio = 0.5\nseed = "0..1"\n'
        'method = ["full", "infobatch"]\ntuned = "r/tuning/s.json"\n'
        "recipe_params = { epochs = 4, batch_size = 128 }\n"
    )
    said = prunebench("grid", "g.toml", "--out", "r", "-w", "1", "--no-mlflow", "-q", "--board")
    assert said.code == 0, said.err
    assert "infobatch (tuned)" in said.out
    said = prunebench("tune", "--report", "s", "--out", "r", "--json")
    assert said.code == 0, said.err
    test = said.json["test"]
    assert (test["tuned"]["n"], test["default"]["n"], test["gain"]["n"]) == (2, 2, 2)
    found = [r for r in Store(Path("r")).scan().records if "tuned" in r.spec]
    mean = sum(100 * (r.metrics["test_accuracy"] or 0) for r in found) / len(found)
    assert test["tuned"]["mean"] == pytest.approx(mean)
    assert test["drop"] == pytest.approx(said.json["comparison"]["chosen"]["mean"] - mean)
    bad = {"state": "failed", "reason": "a|b [x](//e.com)"}
    page = render({**said.json, "history": [{**row, **bad} for row in said.json["history"]]})
    assert "a\\|b" in page
    assert "](//" not in page
    text = Path("r/tuning/s.report.md").read_text()
    assert text == prunebench("tune", "--report", "s", "--out", "r").out
    assert f"Test accuracy, tuned: {mean:.2f} %" in text
    assert prunebench("rerun", found[0].key, "r").out.startswith(f"{found[0].key}: identical")
    # A repeat of the command trains nothing; a study on reported seeds is refused.
    before = figures(Path("r"))
    assert tune("--trials", "3", "--study", "s", "--out", "r", "-q").code == 0
    assert figures(Path("r")) == before
    assert json.loads(Path("r/tuning/s.json").read_text()) == body


def test_a_plug_in_is_tuned_with_nothing_but_its_options() -> None:
    try:
        said = prunebench(
            "--plugin", PLUGIN, "tune", "--method", "drop-highest", *TINY, "-w", "1",
            "--trials", "3", "--out", "r", "--json", "-q",
        )  # fmt: skip
        assert said.code == 0, said.err
        drawn = [row["params"]["r"] for row in said.json["history"]]
        assert drawn[0] == 0.2
        assert len(set(drawn)) == 3
        assert all(0.1 <= r <= 0.5 for r in drawn)
        assert said.json["method"] == {"name": "drop-highest", "version": "1"}
        assert Path("r/tuning/digits-symmetric-0.4-drop-highest-0.5.json").is_file()
    finally:
        METHODS._entries.pop("drop-highest", None)


def test_static_methods_share_their_scoring_runs_and_pay_for_them_once() -> None:
    said = tune("--trials", "2", "--out", "r", "--json", "-q", method="forgetting")
    assert said.code == 0, said.err
    assert [row["params"]["never_learned"] for row in said.json["history"]] == ["zero", "max"]
    records = Store(Path("r")).scan().records
    full = [record for record in records if record.spec["method"]["name"] == "full"]
    assert len(full) == 4  # two tuning seeds and two fresh ones
    assert {record.spec["role"] for record in records} == {"tune"}
    assert said.json["budget"]["cells"] == len(records)
    assert said.json["budget"]["total"] >= 4 + 0.5 * (len(records) - 4)


def test_a_loss_that_is_not_finite_prunes_the_trial() -> None:
    said = tune("--trials", "2", "--param", "rescale=false", "--recipe-param", "lr=1e20",
                "--out", "r", "-q")  # fmt: skip
    assert said.code == 2
    assert "the defaults gave no value: seed 1000000: diverged" in said.err
    assert said.err.count("\n") == 1
    # The second seed of a diverged trial is not run.
    records = Store(Path("r")).scan().records
    assert [record.status for record in records] == ["diverged"] * 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--method", "random"], "random: no option declares a search range; accepted: "),
        ([], "--method: no method"),
        (["--method", "infobatch", "--seeds", "3..4"], "seed 3 is to be reported"),
        (["--method", "infobatch", "--seeds", "x"], "--seeds: 'x'; accepted: seeds such as"),
        (["--method", "infobatch", "--fidelities", "0.5"], "--fidelities: 0.5 is not accepted"),
        (["--method", "infobatch", "--fidelities", "a"], "--fidelities: 'a'"),
        (["--method", "infobatch", "--param", "r=7"], "infobatch.r: 7 is not accepted"),
        (["--method", "infobatch", "--validation-size", "2000"], "validation samples out of 1347"),
        (["--method", "infobatch", "--study", "../x"], "file name '../x' is malformed"),
        (["--report", "none"], "no finished study 'none'"),
        (["--pareto", "--budget", "samples", "--method", "seta"], "--pareto: all trials train"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words: list[str], line: str) -> None:
    said = prunebench("tune", *words, "--out", "r", "-w", "1")
    assert said.code == 2
    assert line in said.err
    assert said.err.count("\n") == 1
    assert not Path("r/records").exists()


@pytest.mark.soak
def test_sigkill_loses_nothing_and_the_result_is_that_of_peace(tmp_path: Path) -> None:
    words = ["--trials", "4", "--study", "s", "-q", "--checkpoint-s", "0"]
    assert tune(*words, "--out", "peace").code == 0
    line = command("tune", "--method", "infobatch", *TINY, "-w", "1", *words, "--out", "shot")
    store, kept = Store(tmp_path / "shot"), {}
    for records in (2, 7):
        driver = subprocess.Popen(line)
        try:
            end = time.monotonic() + 120
            while driver.poll() is None and time.monotonic() < end:
                if store.records.is_dir() and len(store.keys()) >= records:
                    break
                time.sleep(0.005)
            assert driver.poll() is None, "the study was done before the shot"
        finally:
            driver.kill()
            driver.wait()
        found = {record.key: record.digest for record in store.scan().records}
        assert kept.items() <= found.items()
        kept = found
    assert tune(*words, "--out", "shot").code == 0
    assert (tmp_path / "shot/tuning/s.json").read_bytes() == (
        tmp_path / "peace/tuning/s.json"
    ).read_bytes()
    assert figures(tmp_path / "shot") == figures(tmp_path / "peace")
    assert not list(store.claims.glob("*.json"))
