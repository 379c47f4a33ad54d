"""What the pictures of a page ask, and the sentences that answer where these speak of more."""

from __future__ import annotations

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from support.drawing import kinded, scored_elsewhere
from support.records import record
from tests.leaderboard.findings.planted import moved, records


def test_imbalance_is_no_noise_in_the_question() -> None:
    rows, noises = ("full", "infobatch"), ("clean", "symmetric:0.2")
    plain = records(rows=rows, noises=noises)
    beside = [moved(one, spec={"imbalance": {"name": "exp:20"}}) for one in plain]
    page = texts(build([*plain, *beside]))["leaderboard.html"]
    assert "What do noise, imbalance and corruption do to the gap to full training?" in page
    assert (
        "What does noise do to the gap to full training?"
        in (texts(build(plain))["leaderboard.html"])
    )


def test_a_sentence_of_several_designs_answers_in_each() -> None:
    own = records(noises=("clean", "symmetric:0.2"), seeds=2)
    other = [moved(one, spec={"dataset": {**one.spec["dataset"], "name": "mnist"}}) for one in own]
    page = texts(build([*own, *other]))["leaderboard.html"]
    assert page.count("both designs: No winner can be named: ") == 2


def test_a_row_whose_scoring_run_is_not_counted_beats_none_by_cost() -> None:
    level = {"full": 0.9, "random": 0.5, "small-loss": 0.95}
    own = kinded([record(method, "clean", seed, accuracy=accuracy)
                  for method, accuracy in level.items() for seed in (0, 1, 2)])  # fmt: skip
    page = texts(build(scored_elsewhere(own, "small-loss")))["leaderboard.html"]
    assert "their rows are not compared by cost: small-loss (scored with cnn)." in page
    assert page.count("by no row") == 2  # random and full, as if small-loss were not there
