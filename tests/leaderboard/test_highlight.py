"""Which rows pictures draw in colour."""

from __future__ import annotations

from collections.abc import Mapping

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.highlight import MOST, base_of, highlight
from support.records import record

LEVELS = {
    "full": 420, "short-full": 410, "random": 300, "random-dynamic": 320, "dual": 400,
    "aum": 395, "ies": 390, "seta": 330, "seta+align": 340, "ucb": 350, "ucb+align": 380,
    "oracle-clean": 430, "rs2": 360, "el2n": 345,
}  # fmt: skip


def summary(
    names: list[str], lacking: str = "", levels: Mapping[str, int] = LEVELS
) -> Summary:  # fmt: skip
    found = [
        record(name, noise, seed, accuracy=(levels[name] + (seed * len(name)) % 3) / 450)
        for name in names for noise in ("clean", "symmetric:0.2") for seed in (0, 1, 2)
        if not (name == lacking and seed == 2)
    ]  # fmt: skip
    return build(found).summaries[0]


def test_leaders_controls_and_the_pair_that_moves_most() -> None:
    found = highlight(summary(list(LEVELS)))
    assert dict(found.roles) == {
        "full": "full", "random-dynamic": "control", "short-full": "control", "dual": "leader",
        "aum": "leader", "ies": "leader", "ucb": "module", "ucb+align": "module",
    }  # fmt: skip
    assert len(found.rows) == MOST
    assert found.hues == {"dual": 1, "aum": 0, "ies": 2, "ucb": 3, "ucb+align": 3}
    assert "rs2" not in found


def test_a_pair_of_a_leader_goes_first_and_rows_fill_the_rest() -> None:
    levels = {**LEVELS, "ies+align": 389}  # one point below ies; ucb gains thirty
    found = highlight(summary([*levels], levels=levels))
    assert {x for x, role in found.roles.items() if role == "module"} == {"ies+align"}
    plain = highlight(summary([n for n in LEVELS if "+align" not in n]))
    assert [x for x, role in plain.roles.items() if role == "row"] == ["rs2", "ucb"]


def test_small_boards_are_highlighted_whole_and_others_by_what_they_can_show() -> None:
    few = summary(["full", "random", "random-dynamic", "dual", "oracle-clean"])
    assert set(highlight(few).rows) == set(few.series)
    many = summary(list(LEVELS))
    some = highlight(many, among=("seta", "dual", "el2n"))
    assert some.rows == ("dual", "el2n", "seta")
    assert some.hues == {"dual": 1, "el2n": 4, "seta": 5}  # 0 to 3 are those of the whole board


def test_rows_that_lack_runs_come_after_complete_ones() -> None:
    found = highlight(summary(list(LEVELS), lacking="dual"))
    assert "dual" not in found
    assert [x for x, role in found.roles.items() if role == "leader"] == ["aum", "ies", "ucb+align"]
    assert found.roles["ucb"] == "module"


def test_base_of_a_label() -> None:
    assert base_of("seta+align (r=0.5)") == base_of("seta") == "seta"
