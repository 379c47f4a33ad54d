"""The share of the loss weight that wrong labels had stands beside their share of the samples;
boards of records that do not say it stay as they were."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from prunebench.record import Record
from support.drawing import CLASSES, EPOCHS, kinded, one, panels, stored_board, with_files
from support.records import grid

pytest.importorskip("matplotlib")

from prunebench.leaderboard.figures import Material
from prunebench.leaderboard.figures.material import artifact_reader
from prunebench.leaderboard.figures.style import figure_settings

RECORDS = grid(("full", "random", "infobatch"))


def weighed(record: Record, share: float) -> Record:
    return replace(record, metrics={**record.metrics, "kept_noise_weight": share}).sealed()


WEIGHED = [
    weighed(r, 0.25 + 0.01 * r.spec["seed"]) if r.spec["method"]["name"] == "infobatch" else r
    for r in RECORDS
]


@pytest.fixture(autouse=True)
def look() -> Iterator[None]:
    with figure_settings():
        yield


def test_it_stands_in_brackets_where_every_record_of_a_cell_says_it() -> None:
    pages = texts(build(WEIGHED))
    page = pages["leaderboard.md"]
    assert re.search(r"\| infobatch +\| +12\.5 ± 0\.0 \(26\.0 ± 2\.5\) / 0\.800", page)
    words = "in brackets the share of the loss weight that wrong labels had"
    assert words in page
    assert words in pages["leaderboard.html"]
    assert "12.5 ± 0.0 (26.0 ± 2.5) / 0.800" in pages["leaderboard.html"]
    lines = list(csv.DictReader(io.StringIO(pages["leaderboard.csv"])))
    assert {(row["method"], row["kept_noise_weight"]) for row in lines} == {
        ("full", ""), ("random", ""), ("infobatch", "0.260000"),
    }  # fmt: skip
    (table,) = json.loads(pages["leaderboard.json"])["tables"]
    cells = {row["label"]: row["cells"][0] for row in table["rows"]}
    assert cells["infobatch"]["kept_weight"]["mean"] == pytest.approx(0.26)
    assert "kept_weight" not in cells["random"]


def test_records_that_do_not_say_it_show_the_samples_alone() -> None:
    for name, text in texts(build(RECORDS)).items():
        assert not re.search("kept_(noise_)?weight|loss weight", text), name
    first = next(r for r in RECORDS if r.spec["method"]["name"] == "infobatch")
    one_alone = [weighed(r, 0.3) if r is first else r for r in RECORDS]
    (table,) = build(one_alone).tables
    (row,) = (row for row in table.rows if row.label == "infobatch")
    assert [cell.kept_weight for cell in row.cells if cell] == [None] * len(table.noises)


def test_the_figure_has_a_panel_of_its_own_on_the_same_scale(tmp_path: Path) -> None:
    old = panels(one("detection", stored_board(tmp_path / "old")))
    assert len(old) == 2
    found = []
    for r in kinded(grid(("full", "infobatch", "infobatch+align"), ("symmetric:0.2",))):
        table = EPOCHS % (b"0.%d" % (5 + r.spec["seed"]))
        head, *rows = table.decode().splitlines()
        shares = [f"{0.1 + 0.02 * place}" for place in range(len(rows))]
        if r.spec["method"]["name"] == "infobatch+align":
            shares = [""] * len(rows)  # an earlier record among later ones
        lines = [f"{head},kept_noise_weight", *map(",".join, zip(rows, shares, strict=True))]
        files = {"classes.csv": CLASSES % b"0.1", "epochs.csv": "\n".join(lines).encode() + b"\n"}
        found.append(with_files(r, files, tmp_path / "new"))
    material = Material(build(found), artifact_reader([tmp_path / "new"]))
    drawn = one("detection", material)
    _, samples, weight = panels(drawn)
    lines = {line.get_label(): line for line in weight.lines}
    assert lines["infobatch"].get_ydata().tolist() == pytest.approx([0.1, 0.12, 0.14, 0.16])
    assert "infobatch+align" not in lines
    assert weight.get_ylim() == samples.get_ylim()
    assert "weight of its loss" in drawn.caption
