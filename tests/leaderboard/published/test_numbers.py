"""The paper's printed numbers: typed, and consistent among themselves."""

from collections import Counter

import pytest

from prunebench.errors import InputError
from prunebench.leaderboard.published.numbers import (
    FILE,
    TOLERANCE,
    disagreements,
    gap_errors,
    read_published,
)


@pytest.fixture(scope="module")
def rows():
    return read_published()


def test_rows_are_typed(rows):
    assert len(rows) == 1148
    tables = Counter(row.table for row in rows)
    assert set(tables) == {"1", "2", "3", "4", "5", "B", "C", "D", "E", "F", "G", "H", "I"}
    accuracies = [row for row in rows if row.metric == "accuracy"]
    assert all(0 < row.value <= 100 for row in accuracies)
    assert all(row.noise for row in accuracies)
    assert {row.table for row in rows if row.metric == "train_minutes"} == {"3"}
    share = {row.method: row.value for row in rows if row.table == "F"}
    assert share == {"infobatch": 28.77, "infobatch+align": 32.94}
    assert {row.method for row in rows if row.ratio == 0} == {"full"}
    best = [r for r in rows if (r.table, r.method, r.noise) == ("B", "infobatch+align", "real")]
    assert {r.ratio: r.value for r in best}[0.3] == 59.4
    windows = {r.options["window"] for r in rows if r.table == "G"}
    assert windows == {"2", "3", "4-50"}


def test_names_are_those_of_this_project(rows):
    from prunebench.methods.compose import resolve_method
    from prunebench.registry import DATASETS

    named = {row.method for row in rows} - {"+align"}
    assert {resolve_method(name).name for name in named} == named
    assert {row.dataset for row in rows} - {"", "imagenet"} <= set(DATASETS.names())


def test_printed_mean_gaps_are_the_means_of_the_printed_cells(rows):
    errors = gap_errors(rows)
    # Rows with an unreadable cell cannot be recomputed; Table B has 51, Table C 51.
    assert Counter(key[0] for key in errors) == {
        "1": 18, "2": 17, "4": 4, "B": 26, "C": 17, "D": 9, "E": 9,
    }  # fmt: skip
    assert max(map(abs, errors.values())) <= TOLERANCE


def test_a_misread_cell_would_be_found(rows):
    from dataclasses import replace

    spoilt = [
        replace(r, value=r.value + 1.5) if (r.table, r.method, r.noise, r.ratio)
        == ("D", "infobatch", "real", 0.5) else r
        for r in rows
    ]  # fmt: skip
    errors = gap_errors(spoilt)
    assert [k for k, v in errors.items() if abs(v) > TOLERANCE] == [
        ("D", "resnet18", "infobatch", 0.5)
    ]


@pytest.mark.parametrize(
    ("part", "whole", "count"), [("1", "B", 151), ("2", "C", 166), ("I", "1", 4), ("D", "B", 6)]
)
def test_tables_that_print_the_same_cell_agree(rows, part, whole, count):
    shared, differing = disagreements(rows, part, whole)
    if part == "D":  # under SOP+: full training alone is the same run
        shared, differing = 6, [row for row in differing if row.method == "full"]
    assert (shared, differing) == (count, [])


def test_the_times_show_that_base_and_variant_run_as_many_epochs(rows):
    minutes = {row.method: row.value for row in rows if row.table == "3"}
    pruned = {row.method: row.value / 100 for row in rows if row.table == "F"}
    times = minutes["infobatch+align"] / minutes["infobatch"]
    samples = (1 - pruned["infobatch+align"]) / (1 - pruned["infobatch"])
    assert times == pytest.approx(samples, abs=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("table,dataset", "table,data", ["columns", "dataset"]),
        (",full,0,clean,,0.0,78.2", ",fool,0,clean,,0.0,78.2", ["fool", "method", ":2"]),
        (",full,0,clean,,0.0,78.2", ",full,2,clean,,0.0,78.2", ["align", "'1'"]),
        (",full,0,clean,,0.0,78.2", ",full,0,clean,,0.0,780.2", ["mean", "0 to 100"]),
        (",full,0,clean,,0.0,78.2", ",full,0,clean,,0.0,", ["no value"]),
        (",full,0,clean,,0.0,78.2", ",full,0,clean,0.2,0.0,78.2", ["rate", "clean"]),
        (",full,0,clean,,0.0,78.2", ",full,0,symmetric,,0.0,78.2", ["no rate"]),
        (",full,0,clean,,0.0,78.2", ",full,0,clean,,0.0,78.2,x,y", ["number of columns"]),
        (",full,0,clean,,0.0,78.2", ",full,0,real,,0.0,78.2", ["twice"]),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, old, new, parts):
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "numbers.csv"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_published(path)
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_published(tmp_path / "absent.csv")
