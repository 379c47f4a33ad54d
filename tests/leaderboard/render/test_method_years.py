"""Years beside rows are those of the methods' cards."""

from __future__ import annotations

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.render.method_years import YEARS, years
from prunebench.methods.compose import list_methods
from support.records import record


def test_they_are_those_of_the_cards() -> None:
    cards = {info.name: info.card.published for info in list_methods() if info.card.published}
    assert {name: YEARS.get(name) for name in cards} == cards
    assert YEARS.keys() <= cards.keys()


def test_rows_have_that_of_their_method_whatever_their_options() -> None:
    records = [record("full"), record("el2n", params={"repeats": 1}), record("mine"),
               record("el2n", params={"repeats": 5})]  # fmt: skip
    (table,) = build(records).tables
    assert years(table) == {"el2n (repeats=1)": 2021, "el2n (repeats=5)": 2021}
