"""What stands in which cell, which row is ranked, and what is refused."""

from __future__ import annotations

import csv
import io
import math
import random
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prunebench.bench.reports.boards import texts
from prunebench.errors import InputError
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Row, Table
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.record import Record
from support.records import grid, only, record


def row(table: Table, label: str) -> Row:
    (found,) = [r for r in (*table.rows, *table.incomplete) if r.label == label]
    return found


def test_numbers_agree_with_numpy_and_scipy() -> None:
    records = grid()
    table = only(build(records))
    values = {
        (r.spec["method"]["name"], r.spec["noise"]["name"], r.spec["seed"]): 100
        * r.metrics["test_accuracy"]
        for r in records
    }
    assert table.noises == ("clean", "symmetric:0.2", "symmetric:0.4")
    for shown in table.rows:
        for noise, cell in zip(table.noises, shown.cells, strict=True):
            assert cell is not None
            y = np.array([values[shown.label, noise, s] for s in range(3)])
            base = np.array([values["full", noise, s] for s in range(3)])
            low, high = scipy_stats.t.interval(0.95, 2, y.mean(), y.std(ddof=1) / math.sqrt(3))
            assert cell.accuracy.mean == pytest.approx(y.mean(), rel=1e-12)
            assert cell.accuracy.half_width == pytest.approx((high - low) / 2, rel=1e-9)
            if shown.kind == "full":
                assert cell.difference is None
                continue
            bounds = scipy_stats.ttest_1samp(y - base, 0).confidence_interval(0.95)
            assert cell.difference is not None
            assert cell.difference.mean == pytest.approx((y - base).mean(), rel=1e-9)
            half = (bounds.high - bounds.low) / 2
            assert cell.difference.half_width == pytest.approx(half, rel=1e-9)
        if shown.kind == "method":
            expected = np.mean(
                [
                    values[shown.label, n, s] - values["full", n, s]
                    for n in table.noises
                    for s in range(3)
                ]
            )
            assert shown.difference == pytest.approx(expected, abs=1e-9)
    means = [r.difference for r in table.rows if r.kind == "method"]
    assert means == sorted(means, reverse=True)
    assert [r.rank for r in table.rows] == [None, 1, 2, 3]


def test_differences_pair_by_seed_and_not_by_position() -> None:
    records = [record("full", seed=s, accuracy=a) for s, a in ((0, 0.5), (1, 0.6), (2, 0.7))]
    records += [record("random", seed=s, accuracy=a) for s, a in ((1, 0.61), (2, 0.73))]
    cell = only(build(records)).rows[1].cells[0]
    assert cell is not None
    assert cell.difference is not None
    assert cell.difference.n == 2
    assert cell.difference.mean == pytest.approx(2.0)
    assert cell.difference.half_width is None


def test_order_is_full_controls_ranked_methods_oracles() -> None:
    methods = ("seta", "oracle-clean", "short-full", "full+reference", "full", "dual")
    table = only(build(grid(methods)))
    kinds = [r.kind for r in table.rows]
    assert kinds == ["full", "control", "control", "method", "method", "oracle"]
    assert [r.rank for r in table.rows] == [None, None, None, 1, 2, None]


def test_full_training_does_not_widen_the_cells_asked_for() -> None:
    records = grid(("random",), seeds=(0, 1)) + grid(("full",), seeds=range(5))
    board = build(records)
    table = only(board)
    assert not table.incomplete
    assert [r.expected for r in table.rows] == [6, 6]
    assert board.used == 12
    assert dict(board.excluded) == {"outside every table's cells": 9}


def test_an_incomplete_row_is_neither_averaged_nor_ranked() -> None:
    records = [r for r in grid() if (r.spec["method"]["name"], r.spec["seed"]) != ("infobatch", 2)]
    records.append(record("infobatch", "clean", 2, status="failed", reason="out of\nmemory"))
    board = build(records)
    (lacking,) = only(board).incomplete
    assert (lacking.label, lacking.present, lacking.expected) == ("infobatch", 6, 9)
    assert (lacking.rank, lacking.mean, lacking.difference) == (None, None, None)
    assert dict(lacking.missing) == {"failed (out of memory)": 1, "no record": 2}
    assert dict(board.excluded) == {"failed (out of memory)": 1}
    assert {r.rank for r in only(board).rows if r.kind == "method"} == {1, 2}


def test_incomplete_full_training_leaves_methods_ranked_without_mean_difference() -> None:
    records = [r for r in grid() if r.spec["method"]["name"] != "full" or r.spec["seed"] != 0]
    table = only(build(records))
    assert [r.label for r in table.incomplete] == ["full"]
    assert [r.rank for r in table.rows] == [1, 2, 3]
    assert all(r.difference is None for r in table.rows)


@pytest.mark.parametrize(
    ("accuracy", "info", "expected"),
    [(0.2, {}, 20.0), (None, {}, 10.0), (None, {"chance": None, "num_classes": 4}, 25.0)],
)
def test_a_diverged_run_counts_with_its_value_or_chance(
    accuracy: float | None, info: dict[str, object], expected: float
) -> None:
    records = [record("full"), record("random", accuracy=accuracy, status="diverged", info=info)]
    board = build(records)
    shown = row(only(board), "random")
    assert shown.cells[0] is not None
    assert shown.cells[0].diverged == 1
    assert shown.cells[0].accuracy.mean == pytest.approx(expected)
    assert shown.rank == 1
    assert board.excluded == ()


@pytest.mark.parametrize("status", ["failed", "killed", "skipped"])
def test_other_states_are_missing_even_with_numbers(status: str) -> None:
    records = [record("full"), record("dual"), record("random", status=status, reason="why")]
    table = only(build(records))
    assert row(table, "random").missing == ((f"{status} (why)", 1),)
    assert row(table, "random").cells == (None,)


def test_tuning_and_evidence_runs_stay_out() -> None:
    records = [
        record("full"),
        record("random"),
        record("random", accuracy=0.99, spec={"role": "tune"}),
        record("full", accuracy=0.99, spec={"replica": 1}),
    ]
    board = build(records)
    assert board.used == 2
    assert dict(board.excluded) == {"replica that serves as evidence": 1, "tuning run": 1}
    assert only(board).rows[0].mean == pytest.approx(90.0)


def test_few_seeds_have_no_interval() -> None:
    for seeds in (1, 2):
        table = only(build(grid(seeds=range(seeds))))
        for shown in table.rows:
            assert shown.seeds == (seeds, seeds)
            for cell in shown.cells:
                assert cell is not None
                assert cell.accuracy.half_width is None
                assert cell.difference is None or cell.difference.half_width is None


def test_variants_list_only_the_options_that_differ() -> None:
    records = [record("full")]
    for r in (0.3, 0.5):
        records.append(record("infobatch", params={"r": r, "delta": 0.875}))
    records.append(record("seta", params={"k": 10}))
    labels = {r.label for r in only(build(records)).rows}
    assert labels == {"full", "infobatch (r=0.3)", "infobatch (r=0.5)", "seta"}
    own = record("dual", spec={"proxy": "own"})
    labels = {r.label for r in only(build([*records, record("dual"), own])).rows}
    assert {"dual", "dual (proxy=own)"} <= labels


def test_given_names_stand_for_the_method_and_stay_apart() -> None:
    def labels(*rows: tuple[str, str, dict[str, object]]) -> set[str]:
        records = [record(m, params=p, info={"label": name or None}) for m, name, p in rows]
        return set(only(build(records)).series)

    assert labels(("random", "dice", {}), ("infobatch", "", {})) == {"dice", "infobatch"}
    assert labels(("seta", "s", {"k": 1}), ("seta", "s", {"k": 2})) == {"s (k=1)", "s (k=2)"}
    assert labels(("seta", "s", {"k": 1}), ("seta", "", {"k": 2})) == {"s", "seta"}
    both = labels(("random", "", {}), ("infobatch", "random", {}))
    assert both == {"random", "random (method=infobatch)"}
    assert labels(("full", "base", {}), ("random", "dice", {})) == {"full", "dice"}
    odd = labels(("seta", "s", {"k": 1}), ("seta", "s", {"k": 2}), ("random", "s (k=1)", {}))
    assert len(odd) == 3
    for bad in ("a@b", " x", "x\n", "", 5, "x" * 61):
        with pytest.raises(InputError, match="label"):
            build([record("random", info={"label": bad})])


def test_files_of_one_method_are_rows_of_their_own() -> None:
    def scores(content: str) -> Record:
        method = {"name": "scores", "version": "1", "params": {}, "identity": content * 64}
        return record("scores", spec={"method": method})

    assert set(only(build([scores("a")])).series) == {"scores"}
    both = set(only(build([scores("a"), scores("b")])).series)
    assert both == {"scores (content=aaaaaaaa)", "scores (content=bbbbbbbb)"}


def test_options_that_follow_the_ratio_make_no_variants() -> None:
    records = [record("full")]
    records += [record("ies", ratio=p, params={"threshold": p}) for p in (0.3, 0.5)]
    board = build(records)
    assert [t.ratio for t in board.tables] == [0.3, 0.5]
    assert all(t.rows[1].label == "ies" for t in board.tables)


def test_equal_means_share_a_rank() -> None:
    records = [record("full"), *(record(m, accuracy=0.8) for m in ("dual", "seta"))]
    table = only(build([*records, record("ies", accuracy=0.7)]))
    ranks = {r.label: (r.rank, r.tied) for r in table.rows if r.rank}
    assert ranks == {"dual": (1, True), "seta": (1, True), "ies": (3, False)}


def test_nothing_to_show_and_bad_values() -> None:
    with pytest.raises(InputError, match="found none"):
        build([])
    with pytest.raises(InputError, match="1 tuning run"):
        build([record(spec={"role": "tune"})])
    with pytest.raises(InputError, match="share in"):
        build([record(accuracy=93.0)])
    with pytest.raises(InputError, match=r"dataset.name: the field is missing"):
        build([record(spec={"dataset": {}})])


def test_full_training_alone_is_a_table() -> None:
    table = only(build(grid(("full",))))
    assert (table.ratio, [r.label for r in table.rows]) == (0.0, ["full"])


def test_the_board_does_not_depend_on_the_order() -> None:
    records = grid(("full", "seta", "dual", "oracle-clean"), ratios=(0.3, 0.5))
    board = build(records)
    for seed in range(5):
        shuffled = records.copy()
        random.Random(seed).shuffle(shuffled)
        assert build(shuffled) == board


def test_no_torch_is_imported() -> None:
    code = (
        "import sys, prunebench.leaderboard.board.build, prunebench.leaderboard.render.markdown;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("reference", ["random", "infobatch"])
def test_differences_refer_to_the_row_that_the_protocol_names(reference: str) -> None:
    records = grid(("full", "random", "infobatch"))
    settings = ProtocolFile(reference=reference)
    board = build(records, settings)
    table = only(board)
    theirs = row(table, reference)
    assert theirs.difference is None
    assert all(cell is not None and cell.difference is None for cell in theirs.cells)
    for label in {"full", "random", "infobatch"} - {reference}:
        own = row(table, label)
        assert own.difference == pytest.approx((own.mean or 0) - (theirs.mean or 0))
        for cell, other in zip(own.cells, theirs.cells, strict=True):
            assert cell is not None
            assert other is not None
            assert cell.difference is not None
            gap = cell.accuracy.mean - other.accuracy.mean
            assert cell.difference.mean == pytest.approx(gap)
        found = table.tests.ranking.reference[label] if table.tests.ranking else None
        assert found is not None
        assert found.pooled.mean == pytest.approx(own.difference)
    assert row(table, "infobatch").time == row(only(build(records)), "infobatch").time
    made = texts(board)
    assert f"<sup>+0.4</sup>: mean paired difference to {reference} over" in made["leaderboard.md"]
    assert f"paired difference to {reference}" in made["leaderboard.html"]
    assert "difference to full training" not in made["leaderboard.md"] + made["leaderboard.html"]
    first = row(table, "full").cells[0]
    assert first is not None
    assert first.difference is not None
    raised = f"{first.difference.mean:+.1f}".replace("-", "\N{MINUS SIGN}")
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.html"):
        assert raised in made[name] or raised.replace("\N{MINUS SIGN}", "-") in made[name], name
    with pytest.raises(InputError, match=r"no row 'randon'; accepted: random"):
        build(records, ProtocolFile(reference="randon"))
    fewer = [r for r in records if r.key != theirs_key(records, reference)]
    page = texts(build(fewer, settings))["leaderboard.md"]
    assert f"Reference row {reference} is missing or incomplete" in page


def theirs_key(records: list[Record], method: str) -> str:
    return next(r.key for r in records if r.spec["method"]["name"] == method)


def test_the_table_of_values_names_the_runs_behind_each_cell() -> None:
    records = [*grid(("full", "random"), seeds=(10, 2)),
               record("random", "clean", 3, status="failed")]  # fmt: skip
    lines = list(csv.DictReader(io.StringIO(texts(build(records))["leaderboard.csv"])))
    keys = {r.key: r for r in records}
    assert len(lines) == 6
    for line in lines:
        assert line["seeds"] == "2 10"
        found = [keys[key].spec for key in line["keys"].split()]
        assert [spec["seed"] for spec in found] == [2, 10]
        assert {(s["method"]["name"], s["noise"]["name"]) for s in found} == {
            (line["method"], line["noise"])
        }
