"""How long a static method chose stands in the cost columns; boards of records that do not say so
stay as they were."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from prunebench.record import Record
from support.records import grid


def timed(record: Record, seconds: float) -> Record:
    return replace(record, timing={**record.timing, "choice_s": seconds}).sealed()


RECORDS = grid(("full", "random", "infobatch"))
TIMED = [
    timed(r, 10.0 + r.spec["seed"]) if r.spec["method"]["name"] == "random" else r for r in RECORDS
]


@pytest.fixture(scope="module")
def pages():
    return texts(build(RECORDS)), texts(build(TIMED))


def test_a_column_where_a_row_has_the_figure(pages):
    _, new = pages
    lines = [line.split("|") for line in new["leaderboard.md"].splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    start = next(i for i, line in enumerate(cells) if "choice s" in line)
    end = next(i for i in range(start, len(lines)) if not lines[i][1:])
    place = cells[start].index("choice s")
    shown = {row[1]: row[place] for row in cells[start + 2 : end]}
    assert shown["random"] == "11.0"
    assert shown["infobatch"] == "-", shown
    assert "choice s: seconds in which" in new["leaderboard.md"]
    lines = list(csv.DictReader(io.StringIO(new["leaderboard.csv"])))
    assert {(row["method"], row["choice_seconds"]) for row in lines} == {
        ("full", ""), ("random", "11.000000"), ("infobatch", ""),
    }  # fmt: skip
    (table,) = json.loads(new["leaderboard.json"])["tables"]
    assert [row.get("choice_s") for row in table["rows"] if row["label"] == "random"] == [11.0]
    assert "choice s" in new["leaderboard.tex"]
    assert "choice s" in new["leaderboard.html"]


def test_no_column_where_no_record_says_it(pages):
    old, _ = pages
    for name, text in old.items():
        assert not re.search("choice[ _]s", text), name


def test_a_row_of_which_a_record_lacks_it_has_none():
    first = next(r for r in RECORDS if r.spec["method"]["name"] == "random")
    (table,) = build([timed(r, 3.0) if r is first else r for r in RECORDS]).tables
    assert [row.choice_s for row in table.rows] == [None] * len(table.rows)
