"""Settings beyond label noise on boards: names, order, what is refused, what flips together."""

from typing import Any

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.bench.runs.resolve import build_spec
from prunebench.bench.spec.run_spec import Named
from prunebench.bench.tracking.payload import build_payload
from prunebench.errors import InputError
from prunebench.leaderboard.audit import audit
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.labels import noise_order, setting_word
from prunebench.leaderboard.figures.critical_difference import strips
from prunebench.leaderboard.inference.compare import compare
from prunebench.leaderboard.inference.series import Series, clusters, draws_of, matrix
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.json_export import board_json
from prunebench.leaderboard.render.markdown import header_lines
from prunebench.record import Record, setting_name
from support.records import grid, only, record

TAIL = {"imbalance": {"name": "exp:50"}}
NOISY = {"corrupt": {"name": "gaussian-noise:0.3", "severity": 3}}
NAMES = [
    "clean", "clean + exp:20", "clean + exp:50", "clean + exp:50 + jpeg:0.3", "clean + exp:100",
    "clean + step:5", "clean + gaussian-noise:0.3", "clean + gaussian-noise:0.3 severity 5",
    "clean + gaussian-noise:0.5", "symmetric:0.2", "symmetric:0.2 + exp:20", "symmetric:0.4",
    "asymmetric:0.4", "real:worst", "real:worst + exp:20",
]  # fmt: skip


def with_settings(*settings: dict[str, Any]) -> list[Record]:
    """Full training and random choice under three seeds of each setting."""
    return [
        record(method, seed=seed, accuracy=0.8 + seed / 100 + number / 50, spec=own)
        for number, own in enumerate(settings)
        for method in ("full", "random")
        for seed in (0, 1, 2)
    ]


def test_names_come_noise_first_and_in_order() -> None:
    shuffled = sorted(NAMES)
    assert sorted(shuffled, key=noise_order) == NAMES
    noise = {"noise": {"name": "clean"}}
    assert setting_name(noise) == "clean"
    assert setting_name({**noise, "imbalance": None, "corrupt": None}) == "clean"
    assert setting_name(noise | TAIL | NOISY) == "clean + exp:50 + gaussian-noise:0.3"
    harder = {"corrupt": {**NOISY["corrupt"], "severity": 5}}
    assert setting_name(noise | harder) == "clean + gaussian-noise:0.3 severity 5"
    assert setting_word(["clean", "symmetric:0.4"]) == "noise"
    assert setting_word(["clean", "clean + exp:50"]) == "setting"


def test_settings_are_columns_of_one_table() -> None:
    table = only(build(with_settings({}, TAIL, NOISY, {**TAIL, **NOISY})))
    assert table.noises == (
        "clean", "clean + exp:50", "clean + exp:50 + gaussian-noise:0.3",
        "clean + gaussian-noise:0.3",
    )  # fmt: skip
    assert all(row.present == row.expected == 12 for row in table.rows)


def test_a_noise_that_takes_classes_away_has_a_test_set_of_its_own() -> None:
    noise = {"name": "openset:0.2", "rule": "openset", "count": "exact_per_class", "seed": None}
    fewer = [record(method, "openset:0.2", spec={"noise": noise}, info={"test_size": 400})
             for method in ("full", "random")]  # fmt: skip
    usual = [record("full"), record("random")]
    board = build([*usual, *fewer])
    table = only(board)
    assert (table.shared.test_size, table.shared.fewer_tested) == (450, (400,))
    assert "450 test samples (400 where classes leave)" in header_lines(table)[0]
    assert board_json(board)["tables"][0]["fewer_tested"] == [400]
    other = {**noise, "outside": {"name": "synthetic", "params": {}}}
    with pytest.raises(InputError, match="test size 400 and 450 mixed"):
        build([*usual, record("full", "openset:0.2", spec={"noise": other},
                              info={"test_size": 400})])  # fmt: skip
    with pytest.raises(InputError, match=r"mixed in digits, noise openset:0\.2"):
        build([*fewer, record("random", "openset:0.2", seed=1, spec={"noise": noise})])


def test_settings_of_one_label_noise_flip_together() -> None:
    values = {
        (name, 0.5): {0: 80.0, 1: 81.0} for name in ("clean", "clean + exp:50", "symmetric:0.4")
    }
    assert clusters(values) == {
        ("clean", 0.5): "clean", ("clean + exp:50", 0.5): "clean",
        ("symmetric:0.4", 0.5): "symmetric:0.4",
    }  # fmt: skip
    found = matrix([Series("a", "method", values)])
    assert found.unit.tolist() == [0, 1, 0, 1, 2, 3]
    usual, elsewhere = "openset:0.3", "openset:0.3 from synthetic + exp:50"
    assert len({draws_of(one) for one in (usual, elsewhere)}) == 1
    spec = build_spec(dataset="digits", noise=usual, method="full", ratio=0)
    outside = spec.noise.model_copy(update={"outside": Named(name="synthetic", version="1")})
    other = spec.replace(noise=outside)
    assert setting_name(other.content) == "openset:0.3 from synthetic"
    assert other.setting == spec.setting
    assert found.cluster.tolist() == [0, 0, 0, 0, 1, 1]
    zero = Series("b", "method", {cell: {0: 80.0, 1: 80.0} for cell in values})
    comparison = compare(Series("a", "method", values), zero, ProtocolFile())
    assert comparison is not None
    assert comparison.cluster.clusters == 2
    assert comparison.pooled.sign_flip.units == 4


def test_blocks_of_mean_ranks_are_label_noises() -> None:
    board = build(
        record(method, noise, seed, accuracy=value + seed / 100, spec=own)
        for noise, own in (("clean", {}), ("clean", TAIL), ("symmetric:0.4", {}))
        for method, value in (("full", 0.9), ("random", 0.8))
        for seed in (0, 1)
    )
    *settings, over_all = strips(board.summaries[0], board.protocol)
    assert len(settings) == 3
    assert over_all.blocks == (2, "noise settings")


def test_labels_are_one_for_each_setting_and_seed() -> None:
    labels = {"info": {"label_digest": "a" * 16}}
    others = {"info": {"label_digest": "b" * 16}}
    build(
        [record("full"), record("full", spec=TAIL, **others), record("random", spec=TAIL, **others)]
    )
    with pytest.raises(InputError) as caught:
        build([record("full", spec=TAIL, **labels), record("random", spec=TAIL, **others),
               record("random")])  # fmt: skip
    said = str(caught.value)
    assert "label digest" in said
    assert "--noise clean --imbalance exp:50 --seed 0 --where info.label_digest=" in said
    left = ProtocolFile.model_validate({"noise": ["clean"], "imbalance": ["exp:50"]})
    assert [left.passes(record("random", spec=own)) for own in ({}, TAIL)] == [False, True]


def test_two_contents_of_one_name_are_refused() -> None:
    other = {"imbalance": {"name": "exp:50", "order": "reversed"}}
    with pytest.raises(InputError, match=r"imbalance.order 'reversed' and null mixed"):
        build([record("full", spec=TAIL), record("random", spec=other)])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"imbalance": "exp:50"}, "imbalance: 'exp:50' is not accepted; accepted: a table"),
        ({"imbalance": {"ratio": 50}}, "imbalance.name: the field is missing"),
        ({"corrupt": {"name": 3}}, "corrupt.name: 3 is not accepted"),
        ({"corrupt": {"name": "jpeg:0.1", "severity": "high"}}, "corrupt.severity: 'high'"),
        ({"imbalance": {"name": "exp:\x1b[2J"}}, "text that can be shown"),
    ],
)
def test_records_of_anybody_are_checked(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        build([record("full", spec=spec)])
    assert said in str(caught.value)


def test_protocols_keep_their_digests_and_take_the_new_filters() -> None:
    usual = ProtocolFile()
    assert "imbalance" not in usual.content
    assert ProtocolFile(imbalance=("none",)).digest != usual.digest
    records = with_settings({}, TAIL, NOISY)
    assert build(records, ProtocolFile(imbalance=("none",), corrupt=("none",))).used == 6
    assert build(records, ProtocolFile(imbalance=("exp:50",))).used == 6
    assert build(records, ProtocolFile(noise=("clean + exp:50",))).used == 6
    with pytest.raises(InputError, match="no record has imbalance 'exp:5'; accepted: exp:50, none"):
        build(records, ProtocolFile(imbalance=("exp:5",)))


def test_the_audit_knows_the_noise_of_a_setting() -> None:
    wrong = [
        record("full", "symmetric:0.2", spec=TAIL, info={"noise_rate": 0.4}),
        record("random", "symmetric:0.2", spec=TAIL, info={"noise_rate": 0.2}),
    ]
    found = [item for item in audit(wrong) if item.what == "noise off"]
    assert len(found) == 1
    assert "symmetric:0.2 + exp:50, full" in found[0].where


def test_the_mirror_tells_settings_apart() -> None:
    plain, tail = build_payload(record(), None, 0.0), build_payload(record(spec=TAIL), None, 0.0)
    assert "imbalance" not in plain.tags
    assert tail.tags["imbalance"] == "exp:50"
    assert tail.tags["noise"] == "clean"
    assert plain.dataset[1] != tail.dataset[1]
    assert "clean + exp:50" in tail.name


def test_boards_without_the_axes_say_nothing_of_settings() -> None:
    assert setting_word(only(build(grid())).noises) == "noise"


def test_heads_of_settings_may_take_several_lines_on_a_page() -> None:
    page = texts(build(with_settings({}, {**TAIL, **NOISY})))["leaderboard.html"]
    assert '<th scope="col" class="n0 more"' in page  # one line, by its first letter
    assert '<th scope="col" class="parts n1 more"' in page
