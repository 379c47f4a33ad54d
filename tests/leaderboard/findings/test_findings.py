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
    assert "4 noise settings are too few" in of(said, "limits").text
    noise = of(said, "noise")
    assert "1 batch-level row" in noise.short
    assert "[" not in noise.short
    assert noise.more.count("[") == len(noise.grounds)


def test_no_winner() -> None:
    said = check(board(draw=3))
    assert [finding.claim for finding in said if finding.claim] in ([], ["no loss"])
    assert said[0].short.startswith("No winner is shown: ")
    assert said[0].short.endswith(", and no test separates it from another.")
    assert said[1].short == "AlignPrune (+align) is not shown to change the accuracy of infobatch."
    assert said[2].short.startswith("No pruning row is shown to beat both ")


def test_too_few_seeds() -> None:
    said = check(board(WINNER, noises=NOISES[:2], seeds=2))
    assert {finding.claim for finding in said} <= {"", "no loss"}
    assert said[0].short.startswith("No winner can be named: with so few runs no test could")
    assert "(One of 15 pairs needs p 0.0033; these runs reach 0.12 at best.)" in said[0].text
    assert "What AlignPrune (+align) adds to infobatch could not be tested" in said[1].text
    assert "Not tested: infobatch (needs p 0.05; these runs reach 0.12 at best)" in said[1].text
    assert of(said, "random choice").short.endswith("could not be tested: too few runs.")
    assert "2 seeds a cell are too few for an interval" in of(said, "limits").text
    assert not any("[" in finding.text for finding in said)


def test_letters_that_separate_and_a_level_that_claims_nothing() -> None:
    """10 pairs of 9 units: their smallest p, .0039, is at most .05 / 10, and above .025 / 10."""
    rows = ("full", "short-full", "random-dynamic", "infobatch", "infobatch+align")
    lead = {"infobatch+align": 5.0, "infobatch": -5.0}
    shown = board(lead, rows=rows, noises=NOISES[:3])
    assert separates_the_leader(shown, "digits")
    said = check(shown)
    assert said[0].short.startswith("No winner is shown: ")
    assert "and no test is claimed to separate it from another." in said[0].short
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
    assert "1 seed a cell is too few for an interval" in of(said, "limits").text


def test_no_full_row_and_one_method() -> None:
    said = check(board(rows=("infobatch",)))
    assert "infobatch is the only pruning row with every run" in said[0].text
    assert "Full training is missing or incomplete" in of(said, "no loss").text
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
    assert "under the other 3 settings" in of(said, "noise").text
    assert "2 noise settings are too few" in of(said, "limits").text


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
    assert {finding.scope for finding in said} == {"digits", "mnist"}
    assert {block.level.families for block in blocks_of(both)} == {4}
    assert {block.level.families for block in blocks_of(won)} == {2}


def test_other_budgets_compare_nothing_at_equal_samples() -> None:
    some = [moved(r, spec={"budget": "epochs"}) for r in records(WINNER)]
    assert "do not train on equally many samples" in of(check(build(some)), "random choice").text
