"""What stands in which cell, which row is ranked, and what is refused."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import numpy as np
import pytest
from factory import grid, record
from scipy import stats as scipy_stats

from prunebench.errors import InputError
from prunebench.leaderboard.build import build
from prunebench.leaderboard.tables import Board, Row, Table


def only(board: Board) -> Table:
    (table,) = board.tables
    return table


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


NOISE = {"name": "clean", "rule": "clean", "count": "exact_per_class", "seed": None}
RECIPE = {"name": "digits-mlp", "version": "1", "model": "mlp", "epochs": 10, "batch_size": 64}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"budget": "paper"}, ["budget", "'paper' and 'samples'"]),
        ({"schema": 2}, ["spec schema", "1 and 2"]),
        ({"recipe": RECIPE | {"epochs": 20}}, ["recipe.epochs", "10 and 20", "digits"]),
        ({"criterion": {"name": "ce", "version": "9"}}, ["criterion", "9"]),
        ({"reference": {"size": 50, "mode": "held_out"}}, ["reference.size", "50 and 90"]),
        ({"validation": {"size": 9, "labels": "noisy"}}, ["validation.size", "0 and 9"]),
        ({"method": {"name": "random", "version": "2"}}, ["version", "'1' and '2'", "random"]),
        ({"noise": NOISE | {"rule": "other"}}, ["noise rule.rule", "'clean' and 'other'"]),
    ],
)
def test_mixed_protocols_are_refused_by_both_values(
    fields: dict[str, object], words: list[str]
) -> None:
    records = [record("full"), record("random", seed=0), record("random", seed=1, spec=fields)]
    with pytest.raises(InputError) as caught:
        build(records)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert records[2].key in str(caught.value)


def test_each_criterion_has_tables_of_its_own() -> None:
    sop = {"criterion": {"name": "sop", "version": "1"}}
    records = [
        record("full"), record("random"), record("full", spec=sop), record("random", spec=sop),
    ]  # fmt: skip
    tables = build(records).tables
    assert [table.dataset for table in tables] == ["digits", "digits, sop"]
    assert [len(table.rows) for table in tables] == [2, 2]


def test_scoring_runs_alone_make_no_table() -> None:
    sop = {"criterion": {"name": "sop", "version": "1"}}
    board = build([record("full"), record("random", spec=sop), record("full", spec=sop)])
    assert [table.dataset for table in board.tables] == ["digits, sop"]
    assert ("outside every table's cells", 1) in board.excluded


def test_unpaired_labels_and_test_sets_are_refused() -> None:
    records = [record("full"), record("random", info={"label_digest": "another"})]
    with pytest.raises(InputError, match="label digest"):
        build(records)
    with pytest.raises(InputError, match=r"test size 449 and 450"):
        build([record("full"), record("random", info={"test_size": 449})])


def test_what_ratio_zero_makes_equal_may_differ() -> None:
    records = [
        record("full", spec={"budget": "samples"}),
        record("random", spec={"budget": "paper", "budget_share": 0.3}),
        record(
            "full+reference",
            info={"label_digest": "its own"},
            spec={"budget": "paper", "reference": {"size": 90, "mode": "train"}},
        ),
    ]
    table = only(build(records))
    assert len(table.rows) == 3
    assert table.protocol.budget == "paper"
    assert table.protocol.reference["mode"] == "held_out"


def test_data_sets_and_ratios_make_tables_with_recipes_of_their_own() -> None:
    records = grid(ratios=(0.3, 0.5))
    data = {"name": "mnist", "version": "1", "params": {}, "identity": ""}
    other = {"dataset": data, "recipe": RECIPE | {"epochs": 5}}
    records += [record(m, spec=other) for m in ("full", "random")]
    board = build(records)
    assert [(t.dataset, t.ratio) for t in board.tables] == [
        ("digits", 0.3), ("digits", 0.5), ("mnist", 0.5),
    ]  # fmt: skip
    assert all(t.rows[0].label == "full" for t in board.tables)
    assert board.used == len(records)


def test_duplicates() -> None:
    records = grid()
    assert build(records + records) == build(records)
    twin = record("random", "clean", 0, accuracy=0.1)
    with pytest.raises(InputError, match=f"two records of key {twin.key}"):
        build([*records, twin])
    extra = record("random", "clean", 0, spec={"unknown": 1})
    with pytest.raises(InputError, match="two runs of random, digits, clean, seed 0"):
        build([*records, extra])


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
        "import sys, prunebench.leaderboard.build, prunebench.leaderboard.markdown;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
