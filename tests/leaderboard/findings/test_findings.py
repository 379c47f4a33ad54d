"""Sentences of planted boards, and that none says more than its tests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import Finding
from prunebench.leaderboard.findings.blocks import blocks_of
from prunebench.leaderboard.protocol_file import ProtocolFile
from tests.leaderboard.findings.held_against_tests import check, separates_the_leader
from tests.leaderboard.findings.planted import NOISES, ROWS, board, moved, records

WINNER = {"infobatch+align": 3.0}
LOSERS = {"infobatch": -3.0, "infobatch+align": -5.0, "big-loss": -8.0}


def of(said: Sequence[Finding], topic: str) -> Finding:
    (found,) = [finding for finding in said if finding.topic == topic]
    return found


@pytest.fixture(scope="module")
def won() -> Board:
    return board(WINNER)


def test_a_clear_winner(won: Board) -> None:
    said = check(won)
    assert 5 <= len(said) <= 8
    first, module, chance = said[:3]
    assert first.text.startswith(
        "infobatch+align has the highest mean accuracy of 4 pruning rows (93."
    )
    assert "; tests separate it from all 3 others. (Paired sign-flip, Holm over 15" in first.text
    assert module.text.startswith("By test AlignPrune (+align) adds accuracy to infobatch (+")
    assert module.text.count(" under ") == len(NOISES)
    assert chance.text.startswith(
        "By test infobatch+align beats random-dynamic and short-full on as many samples."
    )
    assert "4 settings of label noise are too few" in of(said, "limits").text
    noise = of(said, "noise")
    assert "batch-level -" in noise.short or "batch-level +" in noise.short
    assert "1 batch-level row" in noise.more
    assert "[" not in noise.short
    assert noise.more.count("[") == len(noise.grounds)


def test_no_winner() -> None:
    said = check(board(draw=3))
    assert [finding.claim for finding in said if finding.claim] in ([], ["no loss"])
    assert said[0].short.startswith("No winner is shown: ")
    assert said[0].short.endswith(", and the test of all pairs does not separate it from another.")
    assert said[1].short == "AlignPrune (+align) is not shown to change the accuracy of infobatch."
    assert said[2].short.startswith("No pruning row is shown to beat both ")


def test_too_few_seeds() -> None:
    said = check(board(WINNER, noises=NOISES[:2], seeds=2))
    assert {finding.claim for finding in said} <= {"", "no loss"}
    assert said[0].short.startswith("No winner can be named: the test of all pairs of rows")
    assert "(One of 15 pairs needs p 0.0033; these runs reach 0.12 at best.)" in said[0].text
    assert "What AlignPrune (+align) adds to infobatch could not be tested" in said[1].text
    assert "Not tested: infobatch (needs p 0.05; these runs reach 0.12 at best)" in said[1].text
    assert of(said, "random choice").short.endswith("could not be tested: too few runs.")
    assert "With 2 seeds a cell there are no intervals." in of(said, "limits").text
    assert not any("[" in finding.text for finding in said)


def test_letters_that_separate_and_a_level_that_claims_nothing() -> None:
    """10 pairs of 9 units: their smallest p, .0039, is at most .05 / 10, and above .025 / 10."""
    rows = ("full", "short-full", "random-dynamic", "infobatch", "infobatch+align")
    lead = {"infobatch+align": 5.0, "infobatch": -5.0}
    shown = board(lead, rows=rows, noises=NOISES[:3])
    assert separates_the_leader(shown, "digits")
    said = check(shown)
    assert said[0].short.startswith("No winner is shown: ")
    assert "and the test of all pairs is not claimed to separate it from another." in said[0].short
    assert "Separated at the level of the letters alone, which is not claimed here" in said[0].more
    chance = of(said, "random choice").text
    assert "No pruning row is shown to beat both" in chance
    assert "at the level of the letters alone, which is not claimed here: infobatch+align" in chance


def test_only_negative_findings() -> None:
    said = check(board(LOSERS, sd=0.2))
    assert said[0].text.startswith("random-dynamic has the highest mean accuracy")
    assert "(+align) takes accuracy from infobatch (-" in of(said, "module").short
    assert of(said, "random choice").short.startswith("No pruning row is shown to beat both")
    assert "By test 3 of 3 rows lie below" in of(said, "random choice").text
    assert "No pruning row is shown to lose less" not in of(said, "no loss").text
    worst = check(board({name: -9.0 for name in ROWS if name != "full"}))
    assert of(worst, "no loss").text.startswith("No pruning row is shown to lose less than")
    assert of(worst, "no loss").claim == ""


def test_a_table_in_which_full_training_lacks_runs_is_no_test_of_loss() -> None:
    some = [*records(WINNER), *records(WINNER, rows=ROWS[1:], ratios=(0.8,)),
            *records(WINNER, rows=ROWS[1:], ratios=(0.8,), noises=("asymmetric:0.4",))]  # fmt: skip
    end = "; not tested at ratio 0.8, where full training lacks runs."
    assert of(check(build(some)), "no loss").short.endswith(end)
    worst = [moved(r, metrics={**r.metrics, "test_accuracy": 0.5})
             if r.spec["method"]["name"] != "full" else r for r in some]  # fmt: skip
    said = of(check(build(worst)), "no loss").short
    assert said.startswith("No pruning row is shown")
    assert said.endswith(end)


def test_one_seed() -> None:
    said = check(board(WINNER, seeds=1))
    assert not any(finding.claim for finding in said)
    assert "With 1 seed a cell there are no intervals." in of(said, "limits").text
    assert of(said, "no loss").more == "No row has two seeds of one setting beside full training."


def test_no_full_row_and_one_method() -> None:
    said = check(board(rows=("infobatch",)))
    assert "infobatch is the only pruning row with every run" in said[0].text
    assert of(said, "no loss").more == "Full training was not run."
    some = check(board(missing=("full",)))
    assert of(some, "no loss").more == "Full training lacks runs."
    assert "Neither short-full nor random choice" in of(said, "random choice").text
    (alone,) = check(board(rows=("full",)))[:1]
    assert alone.text.startswith("full is the only row with every run (mean accuracy")


def test_rows_that_all_lack_runs() -> None:
    rows = ("infobatch", "big-loss")
    some = records(rows=rows, missing=rows[:1])
    said = check(
        build([one for one in some if one.spec["seed"] or one.spec["method"]["name"] == rows[0]])
    )
    assert said[0].text.startswith("No row has every run: nothing is ranked. Nothing is claimed")
    assert not any(finding.claim for finding in said)


def test_another_metric_and_settings_beside_noise() -> None:
    some = []
    for imbalance in (None, {"name": "exp:20"}):
        for one in records(WINNER, noises=("clean", "symmetric:0.2"), seeds=4):
            metrics = {**one.metrics, "worst_class_accuracy": one.metrics["test_accuracy"]}
            some.append(
                moved(one, spec={"imbalance": imbalance} if imbalance else {}, metrics=metrics)
            )
    said = check(build(some, ProtocolFile(metric="worst-class")))
    assert "highest mean worst-class accuracy" in said[0].text
    assert "0.5 points of worst-class accuracy to full training" in of(said, "no loss").text
    short = of(said, "noise").short
    assert short.count(" under ") == 4
    assert " under symmetric:0.2;" in short
    assert " under clean + exp:20;" in short
    assert short.endswith(" under symmetric:0.2 + exp:20.")
    assert "2 settings of label noise are too few" in of(said, "limits").text


def test_one_noise_setting() -> None:
    said = check(board(WINNER, noises=("clean",), seeds=6))
    assert of(said, "noise").text.startswith("What noise takes from a family of methods cannot")
    assert of(said, "noise").more == "The board has clean alone."


def test_no_setting_of_the_usual_split_is_not_a_board_without_clean_labels() -> None:
    some = [moved(one, spec={"imbalance": {"name": "exp:50"}}) if noise == "clean" else one
            for noise in ("clean", "symmetric:0.4")
            for one in records(WINNER, noises=(noise,))]  # fmt: skip
    text = of(check(build(some)), "noise").text
    assert text.startswith("What noise, imbalance and corruption take from a family")
    assert text.endswith("The board has no setting clean to compare with.")
    noisy = board(WINNER, noises=("symmetric:0.2", "symmetric:0.4"))
    assert "The board has no setting without label noise." in of(check(noisy), "noise").text


def test_several_designs_share_the_sentences_and_the_level(won: Board) -> None:
    other = [moved(r, spec={"dataset": {**r.spec["dataset"], "name": "mnist"}})
             for r in records(WINNER, draw=5)]  # fmt: skip
    both = build([*records(WINNER), *other])
    said = check(both)
    assert len(said) == 8
    assert {finding.scope for finding in said} == {"digits", "mnist", "both designs"}
    assert [finding.scope for finding in said if finding.topic == "lead"] == ["digits", "mnist"]
    assert {finding.topic for finding in said[:-1]} >= {"module", "random choice", "noise"}
    assert said[-1].topic == "limits"
    assert said[-1].scopes == ("digits", "mnist")
    assert {block.level.families for block in blocks_of(both)} == {4}
    assert {block.level.families for block in blocks_of(won)} == {2}


def test_other_budgets_compare_nothing_at_equal_samples() -> None:
    some = [moved(r, spec={"budget": "epochs"}) for r in records(WINNER)]
    assert "do not train on equally many samples" in of(check(build(some)), "random choice").text


def test_equal_sentences_of_several_designs_are_one() -> None:
    few = {"noises": NOISES[:2], "seeds": 2}
    other = [moved(r, spec={"dataset": {**r.spec["dataset"], "name": "mnist"}})
             for r in records(WINNER, draw=5, **few)]  # type: ignore[arg-type] # fmt: skip
    said = check(build([*records(WINNER, **few), *other]))  # type: ignore[arg-type]
    first = of(said, "lead")
    assert (first.scope, first.scopes) == ("both designs", ("digits", "mnist"))
    assert first.short == "No winner can be named: the test of all pairs of rows needs more runs."
    assert first.more.startswith("digits: infobatch+align has the highest mean")
    assert " mnist: infobatch+align has the highest mean" in first.more
    assert of(said, "random choice").scope == "both designs"
    assert "With 2 seeds a cell there are no intervals." in of(said, "limits").text


def test_a_leader_that_no_pair_can_be_tested_for_beside_a_module_that_is() -> None:
    rows = ("full", "short-full", "random-dynamic", "infobatch", "infobatch+align", "big-loss")
    said = check(board({"infobatch+align": 6.0}, rows=rows, noises=NOISES[:2], seeds=3, sd=0.1))
    first, module = said[:2]
    assert module.short.startswith("By test AlignPrune (+align) adds accuracy to infobatch")
    assert first.short == "No winner can be named: the test of all pairs of rows needs more runs."
    assert first.level is None
    (mean,) = first.grounds
    assert (mean.kind, mean.what) == ("mean", "infobatch+align")
    assert mean.mean is not None
    assert f"({mean.mean:.1f} %); not tested." in first.more


def test_rows_that_share_the_highest_mean_are_all_counted() -> None:
    names = [f"m{number}" for number in range(1, 9)]
    some = records({"m8": -9.0}, ("full", *names), NOISES[:2], seeds=5, sd=0.0)
    text = of(check(build(some)), "lead").text
    assert "m1, m2, m3 and 4 more share the highest mean accuracy of 8 pruning rows" in text
    more = of(check(build(records({"m8": -9.0}, ("full", *names[:2], "m8"), seeds=4, sd=0.0))),
              "lead").short  # fmt: skip
    assert more.endswith("; tests separate m1 from the row below.")


def test_smallest_differences_are_those_of_rows_that_prune() -> None:
    shown = board(WINNER, draw=2)
    ranking = shown.summaries[0].ranking
    assert ranking is not None
    rows = ("random-dynamic", "infobatch", "infobatch+align", "big-loss")
    own = sorted(ranking.reference[label].detectable or 0.0 for label in rows)
    text = of(check(shown), "limits").short
    assert f"if it is {(own[1] + own[2]) / 2:.2f} points for the median row" in text
    assert text.endswith(f" and {own[-1]:.2f} for the row of widest spread.")


def test_label_noise_and_imbalance_stay_apart() -> None:
    """Opposite effects: noise takes from the row, imbalance adds to it."""
    some = [moved(one, spec={"imbalance": {"name": "exp:20"}} if beside else {})
            for noise, beside, lead in (("clean", False, 0.0), ("symmetric:0.2", False, -3.0),
                                        ("symmetric:0.4", False, -3.0), ("clean", True, 6.0))
            for one in records({"infobatch": lead}, ("full", "infobatch"), (noise,), sd=0.0)
            ]  # fmt: skip
    said = of(check(build(some)), "noise").short
    assert said == (
        "Mean gap to full training in points: dynamic +0.00 under clean; dynamic -3.00 under 2 "
        "settings of label noise alone; dynamic +6.00 under clean + exp:20."
    )


def test_bounds_above_full_training_and_controls_that_lose_as_little() -> None:
    said = of(check(board({name: 6.0 for name in ROWS if name != "full"})), "no loss")
    low = [ground.low or 0.0 for ground in said.grounds if ground.kind == "interval"]
    assert len(low) == 4
    assert f"({min(low):+.2f} to {max(low):+.2f} points at least; no family" in said.more
    uncorrected = [ground.low or 0.0 for ground in said.grounds if ground.kind == "test"]
    assert all(a < b for a, b in zip(low, uncorrected, strict=True))
    assert "are controls: random-dynamic and short-full. " in said.more
    assert "Above full" not in of(check(board(draw=4)), "no loss").more


def test_diverged_runs_and_boards_without_a_row_that_prunes() -> None:
    noises = (*NOISES, "symmetric:0.6", "symmetric:0.8", "pairflip:0.4")
    some = [moved(one, status="diverged") if one.spec["seed"] == 0 else one
            for one in records(rows=("full",), noises=noises)]  # fmt: skip
    last, own = (of(check(build(some)), topic) for topic in ("limits", "noise"))
    means = sorted(ground.mean or 0.0 for ground in own.grounds)
    assert len(means) == len(noises)
    assert own.short.startswith("Mean accuracy of full is highest under ")
    assert f"({means[-1]:.1f} %) and lowest under " in own.short
    assert own.short.endswith(f"({means[0]:.1f} %), of 7 settings.")
    assert last.short.startswith("How small a difference could be found is not known: ")
    assert last.more == "Diverged runs count with their last accuracy: 7 runs of full."
    oracle = [moved(one, info={**one.info, "oracle": True}) for one in records(rows=("oracle",))]
    (first,) = [f for f in check(build(oracle)) if f.topic == "lead"]
    assert first.short == "No row prunes here: nothing is ranked."
    assert first.more == "The board holds oracle."


def test_rows_above_one_control_alone_are_counted() -> None:
    rows = ("full", "short-full", "random", "infobatch", "seta")
    (said,) = [finding for finding in check(board({"random": -5.0}, rows=rows, seeds=6))
               if finding.topic == "random choice"]  # fmt: skip
    assert (
        said.short
        == "No pruning row is shown to beat both short-full and random on as many samples."
    )
    assert said.more.startswith("By test, of 2 rows: 2 above random.")
    assert said.claim == "difference"
    assert {ground.what for ground in said.grounds if ground.claimed} == {
        "infobatch - random", "seta - random"}  # fmt: skip
