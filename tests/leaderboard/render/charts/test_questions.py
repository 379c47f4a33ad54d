"""What the pictures of a page ask, and the sentences that answer where these speak of more."""

from __future__ import annotations

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
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
