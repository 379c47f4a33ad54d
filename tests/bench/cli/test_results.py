"""Looking at results: exports, repetitions, lists, the doctor."""

import csv
import io
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from prunebench.bench.perf.bf16 import Bf16Gain
from prunebench.bench.perf.timing import Ratio
from prunebench.bench.results.store import Store
from prunebench.record import load
from support.command import prunebench, refused
from support.small_grid import SHORT, key_of


@pytest.mark.parametrize(
    ("what", "columns", "method"),
    [
        ("scores", ["id", "score"], "small-loss"),
        ("kept", ["id"], "small-loss"),
        ("visits", ["id", "epochs"], "random"),
        ("epochs", ["epoch", "trained"], "full"),
        ("classes", ["class", "name", "kept_share"], "random"),
        ("predictions", ["index", "predicted", "name"], "full"),
    ],
)
def test_exports_are_csv(whole, tmp_path, what, columns, method):
    out = whole[1]
    key = key_of(out, method)
    said = prunebench("export", key, out, "--what", what)
    assert said.code == 0, said.err
    rows = list(csv.reader(io.StringIO(said.out)))
    assert rows[0][: len(columns)] == columns
    assert len({len(row) for row in rows}) == 1
    record = load(out / "records" / f"{key}.json")
    n, epochs = record.ledger["num_samples"], record.ledger["epochs"]
    length = {"scores": n, "kept": n // 2, "visits": n, "epochs": epochs, "classes": 10,
              "predictions": record.info["test_size"]}[what]  # fmt: skip
    assert abs(len(rows) - 1 - length) <= (what == "kept")
    filed = prunebench("export", key, out, "--what", what, "--to", "new/file.csv")
    assert filed.code == 0
    assert filed.out == ""
    assert (tmp_path / "new/file.csv").read_text() == said.out


def test_rerun_tells_identical_from_different(copied):
    key = key_of(copied, "random")
    same = prunebench("rerun", key, copied, "--quiet")
    assert same.code == 0, same.err
    assert f"{key}: identical" in same.out

    path = copied / "records" / f"{key}.json"
    record = load(path)
    better = {**record.metrics, "test_accuracy": 0.99}
    path.write_text(replace(record, metrics=better).sealed().dumps() + "\n")
    assert prunebench("status", copied).code == 0  # the digest was computed anew
    forged = prunebench("rerun", key, copied, "--quiet", "--json")
    assert forged.code == 1
    assert forged.json["identical"] is False
    assert forged.json["differences"][0].startswith("test_accuracy: 0.99 -> ")
    assert "DIFFERENT" in prunebench("rerun", key, copied, "--quiet").out


def test_the_printed_command_gives_the_same_key(copied):
    key = key_of(copied, "small-loss")
    said = prunebench("rerun", key, copied, "--quiet", "--json", "--into", "again")
    assert said.code == 0, said.err
    words = shlex.split(said.json["command"])
    assert words[:2] == ["prunebench", "run"]
    again = prunebench(*words[1:], "--out", "again", "--no-mlflow", "--json")
    assert again.code == 0, again.err
    assert again.json["key"] == key


def test_rerun_asks_for_the_file_of_scores():
    np.save("mine.npy", np.random.default_rng(0).random(1347))
    np.save("other.npy", np.zeros(1347))
    first = prunebench(*SHORT, "--method", "scores:mine.npy", "--out", "r", "--json")
    assert first.code == 0, first.err
    again = ["rerun", first.json["key"], "r", "--quiet"]
    refused(prunebench(*again), "--method-file")
    refused(prunebench(*again, "--method-file", "other.npy"), "other.npy", "not the file")
    same = prunebench(*again, "--method-file", "mine.npy")
    assert same.code == 0, same.err
    assert "--method scores:PATH" in same.out


def test_lists_are_tables_and_json(whole):
    known = {card["name"]: card for card in prunebench("methods", "--json").json}
    assert {"full", "random", "infobatch", "infobatch+align", "small-loss"} <= known.keys()
    assert known["small-loss"]["kind"] == "static"
    assert known["infobatch"]["options"]["r"]["default"] == 0.5
    card = prunebench("methods", "infobatch+align")
    assert card.code == 0
    assert "delta" in card.out
    assert "reference" in card.out
    assert "infobatch+align" in prunebench("methods").out
    sets = {card["usage"] for card in prunebench("datasets", "--json").json}
    assert {"digits", "synthetic", "packed:PATH"} <= sets
    assert "packed:PATH" in prunebench("datasets").out
    shown = prunebench("status", whole[1], "--json").json
    assert shown["counts"] == {"done": 6}
    assert len(shown["records"]) == 6
    assert shown["problems"] == shown["running"] == []


def test_doctor_says_what_works_and_what_does_not(tmp_path):
    well = prunebench("doctor", "--quick", "--json", "--out", tmp_path / "new")
    assert well.code == 0, well.out
    assert {check["check"] for check in well.json} >= {"python", "torch + torchvision", "mlflow"}
    assert all(check["ok"] for check in well.json)
    (tmp_path / "file").touch()
    ill = prunebench("doctor", "--quick", "--out", tmp_path / "file" / "results")
    assert ill.code == 1
    assert "FAIL  results folder" in ill.out


def test_doctor_says_how_fast_bf16_is_where_the_processor_has_units_for_it(monkeypatch):
    units = "prunebench.bench.results.environment.bf16_units"
    gain = Bf16Gain("amx_bf16", Ratio(2.3, 2.1, 2.4), 5, "resnet18", 64, 1)
    monkeypatch.setattr("prunebench.bench.perf.bf16.bf16_gain", lambda: gain)
    monkeypatch.setattr(units, lambda: "amx_bf16")
    (said,) = (c for c in prunebench("doctor", "--json").json if c["check"] == "bf16")
    assert said["ok"]
    assert "precision=bf16 is about 2.3 times as fast as fp32 here" in said["detail"]
    assert "bf16" not in prunebench("doctor", "--quick").out
    monkeypatch.setattr(units, lambda: "")
    assert "bf16" not in prunebench("doctor").out


def test_json_is_one_value_for_status_of_an_empty_folder(tmp_path):
    Store.open(tmp_path / "empty")
    said = prunebench("status", "empty", "--json")
    assert said.code == 0
    assert json.loads(said.out)["records"] == []
