"""Which records share a table, which have one of their own, and which are refused."""

from __future__ import annotations

import json

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.errors import InputError
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material, gallery
from prunebench.leaderboard.filters import Filters
from prunebench.leaderboard.protocol_file import ProtocolFile
from support.records import grid, only, record

DATA = {"name": "digits", "version": "1", "params": {}, "identity": ""}
NOISE = {"name": "clean", "rule": "clean", "count": "exact_per_class", "seed": None}
RECIPE = {"name": "digits-mlp", "version": "1", "model": "mlp", "epochs": 10, "batch_size": 64}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schema": 2}, ["spec schema", "1 and 2", "--where schema="]),
        ({"method": {"name": "random", "version": "2"}},
         ["version", "'1' and '2'", "--method random --where method.version="]),
        ({"noise": NOISE | {"rule": "other"}},
         ["noise rule.rule", "'clean' and 'other'", "--noise clean --where noise.rule="]),
    ],
)  # fmt: skip
def test_mixed_protocols_are_refused_by_both_values_and_the_filters_that_help(
    fields: dict[str, object], words: list[str]
) -> None:
    records = [record("full"), record("random", seed=0), record("random", seed=1, spec=fields)]
    with pytest.raises(InputError) as caught:
        build(records)
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert records[2].key in said
    path, _, value = said.partition("--where ")[2].partition("=")
    where = ProtocolFile.model_validate({"where": {path: value}})
    left = [r for r in records if not where.passes(r)]
    assert 0 < len(left) < len(records)


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({"budget": "paper"}, ["digits, budget paper", "digits, budget samples"]),
        ({"recipe": RECIPE | {"epochs": 20}},
         ["digits, 10 epochs", "digits, 20 epochs"]),
        ({"recipe": RECIPE | {"epochs": 5, "model": "cnn"}}, ["digits, cnn", "digits, mlp"]),
        ({"recipe": RECIPE | {"name": "other", "lr": 0.1}},
         ["digits, digits-mlp", "digits, other"]),
        ({"criterion": {"name": "ce", "version": "9"}},
         ["digits, criterion version 1", "digits, criterion version 9"]),
        ({"reference": {"size": 50, "mode": "held_out"}},
         ["digits, reference 50", "digits, reference 90"]),
        ({"validation": {"size": 9, "labels": "noisy"}},
         ["digits, validation 0", "digits, validation 9"]),
        ({"dataset": DATA | {"version": "2"}},
         ["digits (version 1)", "digits (version 2)"]),
        ({"dataset": DATA | {"params": {"limit": 50}}},
         ["digits (limit 50)", "digits (limit none)"]),
        ({"dataset": DATA | {"identity": "b" * 64}},
         ["digits (content bbbbbbbb)", "digits (content none)"]),
    ],
)  # fmt: skip
def test_each_design_has_tables_of_its_own_named_by_what_tells_it_apart(
    fields: dict[str, object], labels: list[str]
) -> None:
    records = [record(m, seed=s) for m in ("full", "random") for s in (0, 1)]
    budget = {"budget": "samples"} if "budget" in fields else {}
    others = [record("full", spec=fields | budget), record("random", spec=fields)]
    board = build([*records, *others])
    assert [table.dataset for table in board.tables] == labels
    assert [s.dataset for s in board.summaries] == labels
    assert board.used == len({r.key for r in (*records, *others)})
    sizes = {len(table.series["random"].values["clean", 0.5]) for table in board.tables}
    assert sizes == {1, 2}
    alone = build(others)
    assert [table.dataset for table in alone.tables] == ["digits"]


def test_many_recipes_are_told_apart_in_the_order_of_their_numbers() -> None:
    records = [
        record(m, spec={"recipe": RECIPE | {"epochs": e, "model": n, "wide": w}})
        for m in ("full", "random")
        for e, n, w in ((5, "cnn", 1), (10, "cnn", 1), (20, "cnn", 1), (20, "cnn", 2))
    ]
    assert [t.dataset for t in build(records).tables] == [
        "digits, 5 epochs, wide 1", "digits, 10 epochs, wide 1",
        "digits, 20 epochs, wide 1", "digits, 20 epochs, wide 2",
    ]  # fmt: skip


def test_labels_stay_apart_whatever_the_recipes_are_called() -> None:
    sop = {"criterion": {"name": "sop", "version": "1"}}
    named = {"recipe": RECIPE | {"name": "sop"}}
    records = [record(m, spec=s) for m in ("full", "random") for s in (sop, named, {})]
    labels = [table.dataset for table in build(records).tables]
    assert len(set(labels)) == 3
    assert all(label.startswith("digits") for label in labels)


def test_recipes_are_joined_where_their_tables_hold_the_same_cells() -> None:
    first = grid(("full", "random", "infobatch"), ratios=(0.3, 0.5))
    other = {"recipe": RECIPE | {"model": "cnn"}}
    second = [
        record(r.spec["method"]["name"], r.spec["noise"]["name"], r.spec["seed"], r.spec["ratio"],
               (r.metrics["test_accuracy"] or 0) / 2, spec=other)
        for r in first
    ]  # fmt: skip
    board = build([*first, *second])
    (found,) = board.recipe_summaries
    assert found.dataset == "digits, cnn and mlp"
    assert found.designs == ("digits, cnn", "digits, mlp")
    assert found.ranking is not None
    assert set(found.ranking.labels) == {"full", "random", "infobatch"}
    own = [s.ranking.means["random"] for s in board.summaries if s.ranking]
    assert found.ranking.means["random"] == pytest.approx(sum(own) / 2)
    against = found.ranking.reference["random"]
    assert against.pooled.cells == 12  # two recipes, two ratios, three noise settings
    assert against.pooled.sign_flip.units == 9  # still (noise, seed)
    for name, text in texts(board).items():
        shown = "Over digits, cnn; digits, mlp" in text or name.endswith((".csv", ".tex", ".json"))
        assert shown, name
        assert "digits, cnn" in text, name
    assert json.loads(texts(board)["leaderboard.json"])["joined"][0]["designs"] == [
        "digits, cnn", "digits, mlp",
    ]  # fmt: skip
    pytest.importorskip("matplotlib")
    drawn = gallery(Material(board), only=["wins"], forms=["svg"])
    assert {f"figures/wins-digits-{n}.svg" for n in ("cnn", "mlp")} <= set(drawn.files)
    fewer = [r for r in second if r.spec["noise"]["name"] != "clean"]
    assert build([*first, *fewer]).recipe_summaries == ()
    assert build(first).recipe_summaries == ()
    assert "joined" not in texts(build(first))["leaderboard.json"]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"recipe": ["other"]}, ["digits"]),
        ({"model": ["cnn"]}, ["digits"]),
        ({"dataset": ["mnist"]}, ["mnist"]),
        ({"criterion": ["sop"]}, ["digits, sop"]),
        ({"budget": ["paper"]}, ["digits"]),
        ({"where": {"recipe.epochs": 5}}, ["digits"]),
        ({"where": {"dataset.limit": [7, 8]}}, ["mnist"]),
        ({"where": {"dataset.params.limit": "7"}}, ["mnist"]),
        ({"where": {"environment.code": "abc123"}, "criterion": ["sop"]}, ["digits, sop"]),
    ],
)
def test_filters_keep_some_designs(filters: dict[str, object], left: list[str]) -> None:
    specs: list[dict[str, object]] = [
        {},
        {"recipe": RECIPE | {"name": "other", "model": "cnn", "epochs": 5}},
        {"dataset": DATA | {"name": "mnist", "params": {"limit": 7}}},
        {"criterion": {"name": "sop", "version": "1"}},
    ]
    records = [record(m, spec=s) for s in specs for m in ("full", "random")]
    records.append(record("random", spec={"budget": "paper"}))
    settings = ProtocolFile.model_validate(filters)
    board = build(records, settings)
    assert [table.dataset for table in board.tables] == left
    assert all({"full", "random"} == set(table.series) for table in board.tables)
    assert "Only records with" in texts(board)["leaderboard.md"]


def test_a_filter_on_a_field_that_no_record_has_is_refused() -> None:
    settings = ProtocolFile.model_validate({"where": {"recipe.epoch": 5}})
    with pytest.raises(
        InputError, match=r"no record has the field 'recipe\.epoch'.*recipe\.epochs"
    ):
        build([record("full")], settings)


def test_unused_filters_leave_the_digest_of_a_protocol_as_it_was() -> None:
    assert ProtocolFile().digest == "569796a319c425ba"
    assert ProtocolFile(noise=("clean",)).digest != ProtocolFile().digest
    assert ProtocolFile(model=("mlp",)).digest != ProtocolFile().digest
    assert ProtocolFile().narrowed(Filters(model=("mlp",))) == ProtocolFile(model=("mlp",))


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
    assert table.shared.budget == "paper"
    assert table.shared.reference["mode"] == "held_out"


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
