"""Printed rows are shown beside ours and change no number of ours."""

from __future__ import annotations

from dataclasses import replace

from prunebench.bench.reports.boards import make_board, texts
from prunebench.leaderboard.published.numbers import printed_rows, read_published
from prunebench.leaderboard.render.json_export import board_json
from support.records import record

DATA = {"dataset": {"name": "cifar10n", "version": "1", "params": {}, "identity": ""}}


def test_the_printed_rows_are_the_papers_and_change_no_number_of_ours() -> None:
    records = [record(m, n, s, accuracy=0.8 + s / 100, spec=DATA)
               for m in ("full", "infobatch", "infobatch+align")
               for n in ("clean", "real:worst") for s in range(3)]  # fmt: skip
    plain, beside = make_board(records), make_board(records, None, read_published())
    (table,) = beside.tables
    rows = {row.label: row.values for row in table.printed}
    assert rows["full"] == ((95.6, None), (78.3, None))
    assert set(rows) > {"infobatch", "infobatch+align", "seta"}
    assert replace(table, printed=()) == plain.tables[0]
    page = texts(beside)
    assert "| *full* " in page["leaderboard.md"]
    assert "unpaired, not ranked and not tested" in page["leaderboard.md"]
    assert '<table class="plain">' in page["leaderboard.html"]
    assert "printed" not in texts(plain)["leaderboard.html"].partition("<body>")[2]
    assert board_json(beside)["tables"][0]["copied"][0]["label"] == "full"


def test_other_criteria_ratios_and_columns_have_rows_of_their_own() -> None:
    printed = read_published()
    assert printed_rows(printed, "digits", "ce", 0.5, ["clean"]) == ()
    ratios = {r: printed_rows(printed, "cifar10n", "ce", r, ["clean"]) for r in (0.3, 0.7)}
    values = {r: {row.label: row.values for row in rows} for r, rows in ratios.items()}
    assert values[0.3]["full"] == values[0.7]["full"]
    assert values[0.3]["random"] != values[0.7]["random"]
    relabelled = printed_rows(printed, "cifar10n", "sop+", 0.3, ["symmetric:0.5"])
    assert {row.label for row in relabelled} != set(values[0.3])
