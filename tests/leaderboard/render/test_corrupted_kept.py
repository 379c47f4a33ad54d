"""What training had of corrupted images stands behind its wrong labels; boards of settings without
them stay as they were."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from prunebench.record import Record, content_key
from support.records import grid

PLAIN = grid(("full", "random", "infobatch"), ("clean", "symmetric:0.2"))


def corrupted(record: Record) -> Record:
    """The same under corrupted images; full training sees 30 % of them."""
    method, seed = record.spec["method"]["name"], record.spec["seed"]
    spec = {**record.spec, "corrupt": {"name": "fog:0.3", "severity": 3}}
    metrics: dict[str, float | None] = {"kept_corrupted_rate": 0.3, "kept_corrupted_weight": 0.3}
    if method == "infobatch":
        metrics = {"kept_corrupted_rate": 0.4, "kept_corrupted_weight": 0.2 + 0.01 * seed,
                   "score_auroc_corrupted": 0.75}  # fmt: skip
    return replace(
        record, key=content_key(spec), spec=spec, metrics={**record.metrics, **metrics}
    ).sealed()


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return texts(build([*PLAIN, *map(corrupted, PLAIN)]))


def test_the_diagnostics_show_samples_weight_and_auroc(pages: dict[str, str]) -> None:
    shown = "12.5 ± 0.0 / 0.800; 40.0 ± 0.0 (21.0 ± 2.5) / 0.750"
    words = "behind a semicolon share of corrupted images among the kept samples in percent"
    for name in ("leaderboard.md", "leaderboard.html"):
        assert shown in pages[name]
        assert words in pages[name]
    assert re.search(
        r"\| full +\|.*- / -; 30\.0 ± 0\.0 \(30\.0 ± 0\.0\) / -", pages["leaderboard.md"]
    )
    assert "corrupted among the kept" in pages["leaderboard.html"]


def test_csv_and_json_hold_the_same(pages: dict[str, str]) -> None:
    lines = list(csv.DictReader(io.StringIO(pages["leaderboard.csv"])))
    names = ("kept_corrupted_rate", "kept_corrupted_weight", "score_auroc_corrupted")
    found = {(row["method"], row["noise"]): [row[name] for name in names] for row in lines}
    assert found["infobatch", "clean + fog:0.3"] == ["0.400000", "0.210000", "0.750000"]
    assert found["full", "symmetric:0.2 + fog:0.3"] == ["0.300000", "0.300000", ""]
    assert found["full", "clean"] == found["infobatch", "clean"] == ["", "", ""]
    (table,) = json.loads(pages["leaderboard.json"])["tables"]
    cells = {row["label"]: {c["noise"]: c for c in row["cells"]} for row in table["rows"]}
    cell = cells["infobatch"]["clean + fog:0.3"]["corrupted"]
    assert (cell["rate"]["mean"], cell["auroc"]) == (pytest.approx(0.4), pytest.approx(0.75))
    assert cell["weight"]["mean"] == pytest.approx(0.21)
    assert "corrupted" not in cells["infobatch"]["clean"]


def test_boards_without_corrupted_images_do_not_speak_of_them() -> None:
    for name, text in texts(build(PLAIN)).items():
        assert "corrupted" not in text, name
