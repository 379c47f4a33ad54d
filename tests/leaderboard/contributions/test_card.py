"""Cards, histories and lists of ids: what is written is read back, and what is odd is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.contributed import (
    HISTORY,
    Contribution,
    History,
    Superseded,
    history_lines,
    read_history,
)
from prunebench.leaderboard.contributions.card import Card, MethodCard, read_card
from prunebench.leaderboard.contributions.checks import merged, own_faults
from prunebench.leaderboard.contributions.id_list import IdCell, read_id_list
from prunebench.leaderboard.render.markdown import render_markdown
from support.records import grid, record

DAY = date(2031, 2, 3)
RECORDS = "records.jsonl.gz"


def card(**changes: Any) -> Card:
    values: dict[str, Any] = {
        "name": "n", "date": DAY, "ran": DAY, "by": "J", "contact": "j@example.org",
        "prunebench": "1", "runs": 3, "methods": [MethodCard(name="a", version="1")],
        "files": {RECORDS: "0" * 64},
    }  # fmt: skip
    return Card.model_validate({**values, **changes})


@pytest.mark.parametrize("by", ["J", 'Zoë "Z" O\'Neil', "李 明", "A = B # c", "a, b; c: d"])
def test_a_card_is_read_back_as_it_was_written(by):
    methods = [
        MethodCard(name="a+align", version="1+2"),
        MethodCard(name="b", version="3", source="b.py 00ff", sha256="a" * 64),
    ]
    made = card(by=by, note="one line", hardware=("x: 3 runs",), methods=methods, board="digits")
    assert read_card(made.dumps(), "card.toml") == (made, [])
    bare = made.dumps().replace('date = "2031-02-03"', "date = 2031-02-03")
    assert read_card(bare, "card.toml") == (made, [])


@pytest.mark.parametrize(
    ("said", "used"),
    [("", "not stated"), ("none", ""), ("reference", "reference set"), ("all", "all")],
)
def test_a_card_never_says_none_for_clean_labels_where_nobody_did(said, used):
    made = card(clean_labels=said)
    assert read_card(made.dumps(), "card.toml") == (made, [])
    assert made.clean_labels_used == used


def test_every_fault_of_a_card_is_said():
    text = card().dumps().replace("runs = 3", "runs = 0\nspeed = 7").replace('"J"', '"<J>"')
    found, reasons = read_card(text, "card.toml")
    assert found is None
    assert len(reasons) == 3
    assert "unknown field 'speed'" in reasons[0]


def contribution(version: int, keys: tuple[str, ...], **changes: Any) -> Contribution:
    values: dict[str, Any] = {
        "version": version, "date": DAY, "submission": f"s{version}", "by": "Zoë", "contact": "z",
        "ran": DAY, "methods": ("infobatch",), "keys": keys, "checked": "no run was repeated",
    }  # fmt: skip
    return Contribution(**{**values, **changes})


def test_a_history_names_whoever_ran_a_row(tmp_path: Path):
    records = grid()
    ours = tuple(r.key for r in records if r.spec["method"]["name"] == "infobatch")
    old = Superseded(method="infobatch", version="1", file="superseded/x.jsonl.gz", runs=9)
    history = History().with_one(contribution(2, ours[:4])).with_one(
        contribution(3, ours[4:], by="Ann", ran=date(2031, 1, 1), superseded=(old,))
    )  # fmt: skip
    (tmp_path / HISTORY).write_text(history.dumps(), encoding="utf-8")
    assert read_history(tmp_path) == history
    assert history.version == 3
    board = build(records, history=history)
    (row,) = [r for r in board.tables[0].rows if r.label == "infobatch"]
    assert "; ".join(map(str, row.ran_by)) == "Ann, 2031-01-01; Zoë, 2031-02-03"
    assert not any(r.ran_by for r in board.tables[0].rows if r.label != "infobatch")
    page = render_markdown(board)
    assert "Ann, 2031-01-01; Zoë, 2031-02-03 |" in page
    assert "9 runs of infobatch version 1 moved to superseded/x.jsonl.gz" in page
    assert [line[:9] for line in history_lines(history)] == ["Version 3", "Version 2"]
    assert render_markdown(build(records, history=History())) == render_markdown(build(records))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a,b\n", "names other columns"),
        ("setting,ratio,seed,id\n", "holds no id"),
        ("setting,ratio,seed,id\nclean,0.5,0\n", "line 2: 3 values"),
        ("setting,ratio,seed,id\nclean,1.5,0,1\n", "line 2: ratio '1.5'"),
        ("setting,ratio,seed,id\nclean,nan,0,1\n", "line 2: ratio 'nan'"),
        ("setting,ratio,seed,id\nclean,0.5,-1,1\n", "line 2: '-1'; accepted: a whole number"),
        ("setting,ratio,seed,id\nclean,0.5,0,9999999999\n", "line 2: '9999999999'"),
        ("setting,ratio,seed,id\n<b>,0.5,0,1\n", "line 2: setting '<b>'"),
        ('setting,ratio,seed,id\n"clean,0.5,0,1\n', "is no table"),
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_refused_by_its_line(text, part):
    cells, (reason,) = read_id_list(text.encode(), "ids.csv")
    assert cells == []
    assert reason.startswith("ids.csv")
    assert part in reason


def test_a_list_is_read_in_any_order():
    lines = [f"clean,0.5,{seed},{n}" for n in (5, 2) for seed in (2, 0, 1)]
    text = "\ufeffSetting,ratio,seed,id\r\n" + "\r\n".join(lines) + "\r\n"
    cells, reasons = read_id_list(text.encode(), "ids.csv")
    assert reasons == []
    assert cells == [IdCell("clean", 0.5, seed, (2, 5)) for seed in range(3)]
    assert cells[0].csv == b"id\n2\n5\n"
    _, (reason,) = read_id_list((text + "clean,0.5,2,5\r\n").encode(), "ids.csv")
    assert "clean, ratio 0.5, seed 2: an id is there twice" in reason


def runs(method: str, version: str, **more: Any) -> list[Any]:
    spec = {"method": {"name": method, "version": version, "params": {}}}
    return [record(method, noise, seed, 0.5, 0.8, spec=spec, **more)
            for noise in ("clean", "symmetric:0.2", "symmetric:0.4")
            for seed in range(3)]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "follows"),
    [("1", "2", True), ("2", "1", False), ("9", "10", True), ("1+1", "1+2", True),
     ("1+2", "2+1", False), ("1", "1+1", False)],
)  # fmt: skip
def test_only_a_version_that_follows_can_supersede(old, new, follows):
    board, sent = [*grid(), *runs("theirs", old)], runs("theirs", new)
    (reason,) = merged(board, sent).reasons
    assert f"theirs version {new}: the board has version {old}" in reason
    found = merged(board, sent, supersede=True)
    assert (found.reasons == ()) == follows
    if follows:
        assert {slot: len(own) for slot, own in found.superseded.items()} == {("theirs", old): 9}
        assert len(found.records) == len(board)


def test_sources_of_one_plugin_do_not_mix():
    def sent(source: str) -> list[Any]:
        return [replace(r, environment={**r.environment, "plugins": {"method": source}}).sealed()
                for r in runs("theirs", "1")]  # fmt: skip

    half = [*sent("a.py 00")[:5], *sent("a.py 11")[5:]]
    (reason,) = own_faults(half)[0]
    assert "runs by several sources of the plug-in" in reason
    assert own_faults(sent("a.py 00")) == ([], [])


def test_a_board_without_a_cell_of_the_submission_names_it():
    found = merged(grid(seeds=(0, 1)), runs("theirs", "1"))
    assert found.reasons == (
        "digits, ratio 0.5, theirs: the board has no clean seed 2, symmetric:0.2 seed 2, "
        "symmetric:0.4 seed 2",
    )
    added = merged(grid(seeds=(0, 1)), runs("theirs", "1"), add=True)
    assert any("infobatch: lacks clean seed 2" in reason for reason in added.reasons)
    assert merged(grid(), runs("theirs", "1"), add=True).reasons == ()
    assert merged([], [*grid(), *runs("theirs", "1")]).reasons == ()
