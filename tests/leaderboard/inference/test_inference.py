"""Claims of a board: letters, marks, losslessness, the module effect, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from prunebench.errors import InputError
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.inference.bold import bold_column
from prunebench.leaderboard.inference.compare import compare
from prunebench.leaderboard.inference.marks import cell_test
from prunebench.leaderboard.inference.series import Series, matrix
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.json_export import board_json, dumps
from prunebench.leaderboard.render.row_text import scores_named
from prunebench.leaderboard.stats import paired_t, sign_flip
from prunebench.record import Record
from support.records import grid, record

NOISES = ("clean", "symmetric:0.2", "symmetric:0.4", "asymmetric:0.2")


def shifted(gains: dict[str, float], seeds: int = 5, spread: float = 0.004) -> list[Record]:
    """Full training at 80 %, every other row shifted by its gain, paired by common noise."""
    rng = np.random.default_rng(3)
    records = []
    for noise, seed in itertools.product(NOISES, range(seeds)):
        common = 0.8 + 0.02 * rng.standard_normal()
        records.append(record("full", noise, seed, accuracy=common))
        for method, gain in gains.items():
            own = common + gain / 100 + spread * rng.standard_normal()
            records.append(record(method, noise, seed, accuracy=own))
    return records


def test_rows_share_a_letter_exactly_where_their_pair_is_not_separated() -> None:
    board = build(shifted({"a": 6, "b": 5.9, "c": 3, "d": 0, "e": -4}))
    ranking = board.tables[0].tests.ranking
    assert ranking is not None
    groups = ranking.groups
    assert groups is not None
    assert not groups.underpowered
    separated = groups.pairwise.family.rejected
    assert separated
    for a, b in itertools.combinations(groups.pairwise.order, 2):
        share = set(groups.letters_of(a)) & set(groups.letters_of(b))
        assert bool(share) != (f"{a} - {b}" in separated)
    assert set(groups.best) == {"a", "b"}


def test_three_seeds_of_one_noise_claim_nothing() -> None:
    records = [r for r in shifted({"a": 9, "b": -9}, seeds=3) if r.spec["noise"]["name"] == "clean"]
    (table,) = build(records).tables
    assert table.tests.ranking is not None
    groups, marks = table.tests.ranking.groups, table.tests.marks
    assert groups is not None
    assert groups.underpowered
    assert groups.best == ()
    assert groups.letters_of("a") == ""
    assert marks is not None
    assert all("underpowered: min p .25" in m.refused for m in marks.family.members)
    assert [c.best for c in table.tests.columns if c] == [frozenset()]


def test_marks_point_the_right_way_and_say_what_they_rest_on() -> None:
    (table,) = build(shifted({"a": 4, "b": -4, "c": 0})).tables
    marks = table.tests.marks
    assert marks is not None
    assert {marks.mark("a", n) for n in NOISES} == {"*"}
    assert {marks.mark("b", n) for n in NOISES} == {"†"}
    assert marks.t_only
    assert marks.family.size == 3 * len(NOISES)


def test_a_cell_is_tested_by_signs_where_its_seeds_allow_it() -> None:
    d = [0.3, 0.5, 0.2, 0.4, 0.6]
    five = cell_test(d, 0.05)
    assert (five.test, five.p) == ("t", paired_t(d).p)
    eight = cell_test([*d, 0.1, 0.2, 0.3], 0.05)
    assert (eight.test, eight.p) == ("sign-flip", sign_flip([*d, 0.1, 0.2, 0.3]).p)
    assert cell_test([*d, 0.1, 0.2, 0.3], 0.001).test == "t"
    assert cell_test(d[:4], 0.05).p is None
    assert cell_test([0.2] * 5, 0.05).p is None


def test_lossless_needs_proof_not_the_absence_of_a_difference() -> None:
    (table,) = build(shifted({"same": 0.0, "worse": -3.0})).tables
    found = table.tests.lossless
    assert found is not None
    assert found.family.rejected == {"same"}
    (noisy,) = build(shifted({"same": 0.0}, seeds=2, spread=0.05)).tables
    assert noisy.tests.lossless is not None
    assert not noisy.tests.lossless.family.rejected


def test_the_module_effect_is_the_mean_paired_difference_over_cells() -> None:
    records = shifted({"infobatch": 1.0, "infobatch+align": 3.0, "seta": 0.0})
    (summary,) = build(records).summaries
    assert summary.modules is not None
    (module,) = summary.modules.pairs
    a, b = summary.series["infobatch+align"], summary.series["infobatch"]
    by_hand = np.mean([np.mean([a.values[c][s] - b.values[c][s] for s in a.values[c]])
                       for c in a.values])  # fmt: skip
    assert module.comparison.pooled.mean == pytest.approx(by_hand, abs=1e-12)
    assert module.comparison.cluster.mean == pytest.approx(by_hand, abs=1e-12)
    assert summary.modules.family.rejected == {"infobatch+align - infobatch"}
    assert all("underpowered" in m.refused for m in summary.modules.by_cluster.members)


def test_the_batch_loss_is_a_module_too() -> None:
    records = shifted({"infobatch": 1.0, "infobatch+align": 3.0, "infobatch+bls": 0.0})
    (summary,) = build(records).summaries
    assert summary.modules is not None
    pairs = [(m.comparison.a, m.comparison.b) for m in summary.modules.pairs]
    assert pairs == [("infobatch+align", "infobatch"), ("infobatch+bls", "infobatch")]
    assert scores_named(a for a, _ in pairs) == "AlignPrune or BLS"
    assert scores_named(a for a, _ in pairs[:1]) == scores_named([]) == "AlignPrune"


def test_planned_pairs_join_the_confirmatory_family() -> None:
    records = shifted({"infobatch": 1.0, "infobatch+align": 3.0, "seta": 0.0})
    settings = ProtocolFile(planned=(("seta", "full"), ("infobatch+align", "infobatch")))
    (summary,) = build(records, settings).summaries
    assert summary.modules is not None
    assert summary.modules.family.size == 2


def test_ratios_of_one_noise_flip_together() -> None:
    records = [record("full", n, s, accuracy=0.8) for n in NOISES[:2] for s in range(3)]
    for ratio, noise, seed in itertools.product((0.3, 0.5, 0.7), NOISES[:2], range(3)):
        records.append(record("a", noise, seed, ratio, 0.82))
        records.append(record("b", noise, seed, ratio, 0.81))
    (summary,) = build(records).summaries
    assert summary.ranking is not None
    assert summary.ranking.groups is not None
    assert summary.ranking.groups.units == 6
    assert summary.ranking.reference["a"].pooled.cells == 6
    assert summary.ranking.reference["a"].cluster.clusters == 2


def test_columns_agree_with_paired_t_tests() -> None:
    rng = np.random.default_rng(0)
    y = 80 + rng.standard_normal((3, 5)) * 0.1
    y[0] += 5
    y[1] += 4.9
    found = bold_column(("a", "b", "c"), y, 0.05)
    assert found.best == {"a", "b"}
    p = [paired_t(y[i] - y[j]).p or 1.0 for i, j in ((0, 1), (0, 2), (1, 2))]
    assert p[0] > 0.05 > max(p[1:]) * 3
    assert bold_column(("a", "b"), y[:2, :4], 0.05).best == frozenset()


def test_rows_with_other_runs_do_not_stack() -> None:
    a = Series("a", "method", {("clean", 0.5): {0: 1.0, 1: 2.0}})
    b = Series("b", "method", {("clean", 0.5): {0: 1.0}})
    with pytest.raises(ValueError, match="b has other runs than a"):
        matrix([a, b])
    assert compare(a, b, ProtocolFile()) is None


def test_intersect_says_what_went() -> None:
    records = [r for r in shifted({"a": 1, "b": 0})
               if not (r.spec["method"]["name"] == "b" and r.spec["seed"] == 4)]  # fmt: skip
    (strict,) = build(records).tables
    assert [row.label for row in strict.incomplete] == ["b"]
    (common,) = build(records, ProtocolFile(rows="intersect")).tables
    assert common.incomplete == ()
    assert {row.seeds for row in common.rows} == {(4, 4)}
    assert f"{len(NOISES)} of {5 * len(NOISES)} cells left out" in common.notes[0]


def test_a_rank_that_hangs_on_the_rule_for_diverged_runs_is_told() -> None:
    records = shifted({"a": 1, "b": 0})
    bad = next(r for r in records if r.spec["method"]["name"] == "a")
    records.remove(bad)
    records.append(record("a", bad.spec["noise"]["name"], bad.spec["seed"],
                          accuracy=0.79, status="diverged"))  # fmt: skip
    (table,) = build(records).tables
    assert table.notes == ("Counting diverged runs as chance changes ranks: a 1 → 2, b 2 → 1.",)
    chance = build(records, ProtocolFile(diverged="chance"))
    assert [row.label for row in chance.tables[0].rows if row.rank == 1] == ["b"]


@pytest.mark.parametrize("field", ["method", "noise", "ratio", "seed"])
def test_filters_leave_out_and_count(field: str) -> None:
    records = grid(ratios=(0.3, 0.5))
    chosen = {"method": ("random",), "noise": ("clean",), "ratio": (0.3,), "seed": (0, 1)}[field]
    whole, part = build(records), build(records, ProtocolFile(**{field: chosen}))
    assert part.used < whole.used
    assert ("filtered by the protocol", whole.used - part.used) in part.excluded


def test_json_holds_every_number_and_no_nan() -> None:
    board = build(shifted({"a": 4, "infobatch": 1, "infobatch+align": 2}))
    content = board_json(board)
    assert "NaN" not in dumps(content)
    row = next(r for r in content["tables"][0]["rows"] if r["label"] == "a")
    assert row["cells"][0]["mark"] == "*"
    assert row["runs"]["clean"].keys() == {"0", "1", "2", "3", "4"}
    family = content["tables"][0]["ranking"]["groups"]
    assert len(family["pairs"]) == family["size"] == 6
    assert content["protocol"]["digest"] == ProtocolFile().digest
    assert ProtocolFile(alpha=0.01).digest != ProtocolFile().digest


def test_protocol_files(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from prunebench.leaderboard.protocol_file import read_protocol

    path = tmp_path / "p.toml"
    path.write_text('name = "paper"\nalpha = 0.01\nplanned = [["a", "b"]]\n')
    assert read_protocol(path) == ProtocolFile(name="paper", alpha=0.01, planned=(("a", "b"),))
    for text, said in (("alfa = 1", "alpha"), ("alpha = 2", "alpha"), ("x = [", "TOML"),
                       ('planned = [["a", "a"]]', "planned")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_protocol(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_protocol(tmp_path / "none.toml")
