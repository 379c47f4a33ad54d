"""Which records share a table, which have one of their own, and which are refused."""

from __future__ import annotations

import pytest
from factory import grid, only, record

from prunebench.errors import InputError
from prunebench.leaderboard.build import build

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
