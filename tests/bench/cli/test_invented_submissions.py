"""Submissions whose records say what no run gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from prunebench.leaderboard.bundle import unpack
from prunebench.record import Record
from support.command import files
from support.contributions import accepted, carded, other, reasons, spoiled


def ours(change: Callable[[Record], Record]) -> Callable[[list[Record]], list[Record]]:
    """Changes the records of the submission's own method."""
    return lambda records: [change(r).sealed() if r.spec["method"]["name"] == "infobatch" else r
                            for r in records]  # fmt: skip


def changed(**parts: dict[str, Any]) -> Callable[[Record], Record]:
    return lambda r: replace(r, **{n: {**getattr(r, n), **more} for n, more in parts.items()})


def without(name: str) -> Callable[[Record], Record]:
    return lambda r: replace(r, info={n: v for n, v in r.info.items() if n != name})


def refusals(place, change: Callable[[Record], Record], *more: str) -> list[str]:
    before = files(place / "board")
    submission = spoiled(place / "submission", ours(change))
    found = reasons(accepted(submission, place / "board", *more))
    assert files(place / "board") == before
    return found


def test_accuracies_that_are_all_raised_are_found(place):
    def better(record: Record) -> Record:
        size = record.info["test_size"]
        right = round(record.metrics["test_accuracy"] * size) + round(0.08 * size)
        return other(record, right / size)

    found = refusals(place, better, "--cells", "6")
    assert "all 6 repeats are worse than their records" in found


def test_an_accuracy_that_no_count_of_images_gives_is_refused(place):
    found = refusals(place, lambda r: other(r, 0.9894))
    assert "98.9400 % is no whole number of 450 test images" in found[0]


@pytest.mark.parametrize(
    ("plugins", "part"),
    [
        ({"dataset": "x.py 00"}, "dataset digits comes with prunebench, the records name the plug"),
        ({"criterion": "e.py 1"}, "criterion ce comes with prunebench, the records name the plug"),
        ({"model": "e.py 1"}, "model cnn comes with prunebench, the records name the plug-in e.py"),
        ({"metod": "e.py 1"}, "plug-in e.py 1 of a metod, which no specification of them has"),
    ],
)
def test_a_plugin_that_is_none_does_not_keep_runs_from_being_repeated(plugins, part, place):
    found = refusals(place, changed(environment={"plugins": plugins}), "--cells", "1")
    assert any(part in line for line in found), found


def test_options_that_a_data_set_does_not_have_are_refused(place):
    def odd(records):
        return [other(r, dataset={**r.spec["dataset"], "params": {"nonsense": 1}})
                for r in records]  # fmt: skip

    submission = spoiled(place / "submission", odd)
    found = reasons(accepted(submission, place / "board", "--add", "--cells", "1"))
    assert any("unknown option 'nonsense'" in line for line in found), found


@pytest.mark.parametrize("name", ["clean_labels_used", "oracle", "kind"])
def test_what_a_record_leaves_out_is_missed_without_a_repeat(name, place):
    found = refusals(place, without(name))
    assert any(f"infobatch: {name} none; accepted: " in line for line in found), found


def test_a_repeat_misses_what_a_record_leaves_out(place):
    found = refusals(place, without("label_digest"), "--cells", "1")
    assert any("label_digest is not recorded, " in line for line in found), found


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"metrics": {"realised_ratio": 0.9}}, "realised_ratio 0.9 recorded"),
        ({"metrics": {"compute_ratio": 0.95}}, "compute_ratio 0.95 recorded"),
        ({"metrics": {"kept_fraction": 0.1}}, "kept_fraction 0.1 recorded"),
        ({"metrics": {"kept_fraction": None}}, "kept_fraction is not recorded"),
        ({"metrics": {"score_auroc": 0.1}}, "score_auroc 0.1 recorded"),
        ({"ledger": {"steps": 3}}, "3 steps of the ledger, "),
    ],
)
def test_costs_and_samples_that_a_repeat_does_not_have_are_found(parts, name, place):
    found = refusals(place, changed(**parts), "--cells", "1")
    assert any(name in line for line in found), found


def test_a_card_says_what_its_records_say(place):
    board, submission = place / "board", place / "submission"
    last = next(r for r in unpack(submission / "records.jsonl.gz")).timing["finished"]
    assert last > 0
    carded(submission, "ran = .*", 'ran = "1999-01-01"')
    carded(submission, "prunebench = .*", 'prunebench = "99"')
    found = reasons(accepted(submission, board))
    assert any("card: last run 1999-01-01; the records say 2" in line for line in found)
    assert any("card: by prunebench 99; this one is " in line for line in found)
    carded(submission, "^date = .*", 'date = "9999-12-31"')
    found = reasons(accepted(submission, board))
    assert any("card: made 9999-12-31" in line for line in found)
