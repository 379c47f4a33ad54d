"""A board about another accuracy than plain accuracy: every number, test and word follows it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import prunebench as api
from prunebench.bench.reports.boards import make_board, texts, write_files
from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import collect, difference
from prunebench.leaderboard.compare_rows import compare_rows
from prunebench.leaderboard.filters import Filters
from prunebench.leaderboard.headline import HEADLINES
from prunebench.leaderboard.protocol_file import ProtocolFile, read_protocol
from prunebench.leaderboard.published.numbers import read_published
from prunebench.leaderboard.render.model_index import model_index
from prunebench.record import Record
from support.command import prunebench
from support.records import only, record

#: Plain accuracy, balanced, of the worst class and of the worst group: each order another one.
PLANTED = {
    "full": (0.90, 0.84, 0.70, 0.60),
    "random": (0.80, 0.76, 0.50, 0.58),
    "el2n": (0.88, 0.70, 0.10, 0.50),
    "infobatch": (0.84, 0.82, 0.60, 0.20),
}


def planted(seeds: int = 6, **more: Any) -> list[Record]:
    """Records whose ranking by one accuracy is not that by another."""
    entries = [headline.entry for headline in HEADLINES.values()]
    return [
        record(method, noise, seed, metrics={
            **{entry: value + (seed * 3 + len(noise)) % 5 / 500
               for entry, value in zip(entries, values, strict=True)}, "kept_noise_rate": 0.1},
            info={"metrics": 4}, **more)
        for method, values in PLANTED.items()
        for noise in ("clean", "symmetric:0.4")
        for seed in range(seeds)
    ]  # fmt: skip


def ranks(metric: str) -> list[str]:
    rows = only(make_board(planted(), ProtocolFile(metric=metric))).rows
    return [row.label for row in sorted(rows, key=lambda row: -(row.mean or 0)) if row.rank]


def test_ranks_marks_and_margins_follow_the_metric() -> None:
    assert ranks("accuracy") == ["el2n", "infobatch", "random"]
    assert ranks("balanced") == ranks("worst-class") == ["infobatch", "random", "el2n"]
    assert ranks("worst-group") == ["random", "el2n", "infobatch"]
    plain, worst = (only(make_board(planted(), ProtocolFile(metric=m, margin=7.0)))
                    for m in ("accuracy", "worst-class"))  # fmt: skip
    for table, shown in ((plain, {"el2n", "infobatch"}), (worst, set())):
        assert table.tests.lossless is not None
        assert table.tests.lossless.family.rejected == shown
        assert table.tests.marks is not None
    row = next(row for row in worst.rows if row.label == "infobatch")
    assert row.cells[0] is not None
    assert row.cells[0].accuracy.mean == pytest.approx(60.4, abs=0.5)
    assert row.difference == pytest.approx(-10)
    found = compare_rows(make_board(planted(), ProtocolFile(metric="worst-class")),
                         "infobatch", "el2n")  # fmt: skip
    assert found[0]["comparison"]["pooled"]["mean"] == pytest.approx(50)
    assert "points of worst-class accuracy" in found[0]["text"]


def test_every_form_says_which_accuracy_it_shows() -> None:
    board = make_board(planted(), ProtocolFile(metric="worst-class"))
    found = texts(board)
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.tex"):
        assert "orst-class accuracy" in found[name], name
    assert "Cells: accuracy" not in found["leaderboard.md"]
    assert "diverged runs count with their final worst-class accuracy" in found["leaderboard.md"]
    assert json.loads(found["leaderboard.json"])["protocol"]["metric"] == "worst-class"
    lines = list(csv.DictReader(io.StringIO(found["leaderboard.csv"])))
    assert {line["metric"] for line in lines} == {"worst-class"}
    assert float(lines[0]["accuracy"]) == pytest.approx(70.4, abs=0.5)
    (entry, *_) = model_index(board)["model-index"]
    assert entry["results"][0]["metrics"][0]["type"] == "worst_class_accuracy"


def test_further_accuracies_have_columns_where_records_hold_them() -> None:
    found = texts(make_board(planted()))
    heads = next(x for x in found["leaderboard.md"].splitlines() if "worst class" in x and "|" in x)
    assert "balanced" in heads
    assert "worst group" in heads
    (line,) = [x for x in csv.DictReader(io.StringIO(found["leaderboard.csv"]))
               if (x["method"], x["noise"]) == ("el2n", "clean")]  # fmt: skip
    assert float(line["worst_group_accuracy"]) == pytest.approx(0.504, abs=0.005)
    assert float(line["balanced_accuracy"]) == pytest.approx(0.704, abs=0.005)
    assert "balanced, worst class, worst group" in found["leaderboard.html"]
    row = json.loads(found["leaderboard.json"])["tables"][0]["rows"][0]
    assert row["balanced"] == pytest.approx(0.844, abs=0.005)

    equal = [replace(r, metrics={**r.metrics, "balanced_accuracy": r.metrics["test_accuracy"]})
             for r in planted()]  # fmt: skip
    assert only(make_board([r.sealed() for r in equal])).rows[0].balanced is None
    earlier = texts(make_board([record("full"), record("random", metrics={"whole_epochs": 9.0})]))
    for name, text in earlier.items():
        assert "balanced" not in text, name
        assert "worst_group" not in text, name


def test_records_without_the_metric_are_missing_with_the_reason() -> None:
    some = planted()
    old = [replace(r, metrics={n: v for n, v in r.metrics.items() if n[:8] != "balanced"},
                   info={**r.info, "metrics": 3}).sealed()
           if r.spec["method"]["name"] == "el2n" else r for r in some]  # fmt: skip
    board = make_board(old, ProtocolFile(metric="balanced"))
    (row,) = only(board).incomplete
    said = "done without balanced accuracy (recorded from set 4 of metrics on)"
    assert row.missing == ((said, 12),)
    assert (said, 12) in board.excluded
    bare = [record("full"), record("random")]
    with pytest.raises(InputError, match="no evaluation run with a worst-group accuracy"):
        make_board(bare, ProtocolFile(metric="worst-group"))
    with pytest.raises(InputError, match="printed numbers are accuracies"):
        make_board(some, ProtocolFile(metric="balanced"), read_published())


@pytest.mark.parametrize(
    ("metric", "chance"),
    [("accuracy", 10), ("balanced", 10), ("worst-class", 0), ("worst-group", 0)],
)
def test_a_diverged_run_as_chance(metric: str, chance: float) -> None:
    fell = record("random", metrics={"balanced_accuracy": 0.1, "worst_class_accuracy": 0.04,
                                     "worst_group_accuracy": 0.02}, accuracy=0.11,
                  status="diverged")  # fmt: skip
    runs = collect([fell], ProtocolFile(metric=metric, diverged="chance")).runs
    assert (runs[0].accuracy, runs[0].diverged) == (chance, True)
    usual = collect([fell], ProtocolFile(metric=metric)).runs[0]
    assert usual.accuracy == pytest.approx(100 * (fell.metrics[HEADLINES[metric].entry] or 0))  # type: ignore[index]
    without = replace(fell, metrics={"test_accuracy": None}).sealed()
    assert collect([without], ProtocolFile(metric=metric)).runs[0].accuracy == chance
    old = replace(fell, metrics={"test_accuracy": 0.11}).sealed()
    said = collect([old], ProtocolFile(metric=metric)).runs[0].missing
    assert said == ("" if metric == "accuracy" else f"diverged without {HEADLINES[metric].lacking}")  # type: ignore[index]


def test_the_metric_is_declared_in_the_protocol_or_the_command(tmp_path: Path) -> None:
    plain = ProtocolFile()
    assert "metric" not in plain.content
    assert "target" not in plain.content
    assert ProtocolFile(metric="accuracy", target=[0.99, 0.95]).digest == plain.digest
    assert ProtocolFile(metric="balanced").digest != plain.digest
    assert ProtocolFile(target=0.9).content["target"] == [0.9]
    assert ProtocolFile(metric="balanced").narrowed(Filters(seed=(1,))).metric == "balanced"
    file = tmp_path / "p.toml"
    file.write_text('metric = "worst-class"\ntarget = 0.9\n')
    assert (read_protocol(file).metric, read_protocol(file).target) == ("worst-class", (0.9,))
    for text in ('metric = "best-class"\n', "target = 0\n", "target = []\n", 'target = "x"\n'):
        file.write_text(text)
        with pytest.raises(InputError, match=text.split()[0]):
            read_protocol(file)
    store = tmp_path / "results"
    write_files(store / "records",
                {f"{r.key}.json": (r.dumps() + "\n").encode() for r in planted(3)})  # fmt: skip
    said = prunebench("leaderboard", store, "--metric", "worst-class", "--publish",
                      tmp_path / "board", "--no-figures")  # fmt: skip
    assert said.code == 0, said.err
    assert "--metric worst-class" in (tmp_path / "board" / "README.md").read_text()
    words = ("compare", "infobatch", "el2n", store, "--metric", "worst-class")
    assert "worst-class accuracy" in prunebench(*words).out
    assert json.loads(prunebench(*words, "--json").out)["metric"] == "worst-class"
    frame = api.leaderboard(store, metric="worst-class").to_frame()
    assert set(frame["metric"]) == {"worst-class"}
    worst = (100 * frame["worst_class_accuracy"]).tolist()  # of six decimals
    assert frame["accuracy"].tolist() == pytest.approx(worst, abs=1e-3)
    with pytest.raises(InputError, match=r"unknown metric 'worst'.*worst-class"):
        api.leaderboard(store, metric="worst")


def test_one_run_in_two_sets_of_metrics_is_one_run() -> None:
    (new,) = [r for r in planted(1) if (r.spec["method"]["name"], r.spec["noise"]["name"])
              == ("el2n", "clean")]  # fmt: skip
    table = {"epochs.csv": {"sha256": "0" * 64, "bytes": 1}}
    new = replace(new, artifacts=table).sealed()
    old = replace(new, metrics={n: v for n, v in new.metrics.items() if n[:8] != "balanced"},
                  info={**new.info, "metrics": 3},
                  artifacts={"epochs.csv": {"sha256": "1" * 64, "bytes": 1}}).sealed()  # fmt: skip
    assert difference(old, new) == ""
    (run,) = collect([old, new]).runs
    assert run.record.digest == new.digest
    other = replace(old, metrics={**old.metrics, "test_accuracy": 0.5}).sealed()
    assert "test_accuracy" in difference(other, new)
    same_set = replace(old, info=new.info).sealed()
    assert "balanced_accuracy" in difference(same_set, new)
