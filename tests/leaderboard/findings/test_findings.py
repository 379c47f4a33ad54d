"""Sentences of planted boards, and that none says more than its tests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import Finding, findings
from prunebench.leaderboard.findings.blocks import blocks_of
from prunebench.leaderboard.inference.compare import compare
from prunebench.leaderboard.inference.rankings import Module, ranking
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.number_text import p_text
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import Family, family
from prunebench.record import Record
from tests.leaderboard.findings.planted import NOISES, ROWS, board, records
from tests.support.records import record

BOARDS = 150
WINNER = {"infobatch+align": 3.0}
LOSERS = {"infobatch": -3.0, "infobatch+align": -5.0, "big-loss": -8.0}
#: Signed numbers with two decimals: every one has to be a number that the sentence rests on.
SIGNED = re.compile(r"[+-]\d+\.\d\d\b")
#: Words that claim a difference, and what must not stand before them.
DIFFER = re.compile(
    r"(?<!no row that prunes )\b(?:is|are) separated (?:from (?!none)|above|below)|adds to|takes "
    r"from (?!a family)"
)


def families(shown: Board) -> dict[str, Family]:
    found: dict[str, Family] = {}
    for summary in (*shown.summaries, *shown.recipe_summaries):
        if summary.ranking and summary.ranking.groups:
            family = summary.ranking.groups.pairwise.family
            found[family.name] = family
        if summary.modules:
            found[summary.modules.family.name] = summary.modules.family
    for table in shown.tables:
        if table.tests.lossless:
            found[table.tests.lossless.family.name] = table.tests.lossless.family
        if table.tests.ranking and table.tests.ranking.groups:
            family = table.tests.ranking.groups.pairwise.family
            found[family.name] = family
    return found


def check(shown: Board) -> tuple[Finding, ...]:
    """The findings of a board, after every one was held against the tests it names."""
    said, known = findings(shown), families(shown)
    protocol = shown.protocol
    for finding in said:
        claimed = [ground for ground in finding.grounds if ground.claimed]
        assert bool(claimed) == bool(finding.claim), finding
        for ground in finding.grounds:
            if ground.kind == "interval":
                assert (ground.family, ground.p, ground.claimed) == ("", None, False)
                continue
            family = known[ground.family]
            turned = " - ".join(reversed(ground.what.split(" - ")))
            (member,) = [m for m in family.members if m.name in (ground.what, turned)]
            assert ground.p == member.adjusted
            if ground.claimed:
                assert member.rejected
                assert member.adjusted is not None
                assert member.adjusted <= finding.level <= protocol.alpha
        assert bool(DIFFER.search(finding.text)) == (finding.claim == "difference"), finding.text
        assert (finding.text.startswith("Shown to lose less")) == (finding.claim == "no loss")
        numbers = {f"{round(value, 2) + 0.0:+.2f}" for ground in finding.grounds
                   for value in (ground.mean, ground.low, ground.high)
                   if value is not None}  # fmt: skip
        assert set(SIGNED.findall(finding.text)) <= numbers, finding.text
        assert ("[" in finding.text) == (
            "uncorrected" in finding.text and finding.topic != "limits"
        )
        for p in re.findall(r"\], p ([^)]+)\)", finding.text):
            assert p in {p_text(ground.p) for ground in finding.grounds}
        for word in ("equal to", "the same as", "significant", "proves", "lossless", "best row"):
            assert word not in finding.text
        if "no pair of rows could be" in finding.text or "from none of the others:" in finding.text:
            refused = "no pair" in finding.text or "separated from none" in finding.text
            assert not refused or not _letters(shown, finding.scope), finding.text
        assert re.fullmatch(r"[A-Z][^\n]*\.", finding.text) or finding.topic == "lead"
    return said


def _letters(shown: Board, scope: str) -> bool:
    """Whether the letters separate the leader among the rows that prune from another such row."""
    (block,) = [block for block in blocks_of(shown) if block.scope == scope]
    groups, rows = block.groups, set(block.pruning())
    return groups is not None and any(
        set(name.split(" - ")) <= rows and block.pruning()[0] in name.split(" - ")
        for name in groups.pairwise.family.rejected
    )


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
        "infobatch+align has the highest mean accuracy of 4 rows that prune (93."
    )
    assert (
        "is separated from all of the 3 others (paired sign-flip, Holm over 15 pairs" in first.text
    )
    assert module.text.startswith("AlignPrune (+align) adds to infobatch (+")
    assert module.text.count(" under ") == len(NOISES)
    assert chance.text.startswith(
        "On as many samples infobatch+align is separated above random-dynamic and short-full"
    )
    assert "4 noise settings are too few" in of(said, "limits").text
    assert "1 batch-level row" in of(said, "noise").text


def test_no_winner() -> None:
    said = check(board(draw=3))
    assert [finding.claim for finding in said if finding.claim] in ([], ["no loss"])
    assert "is separated from none of the others: no winner is shown" in said[0].text
    assert "AlignPrune (+align) shows no separated difference for infobatch" in said[1].text
    assert "no row that prunes is separated above each of" in said[2].text


def test_too_few_seeds() -> None:
    said = check(board(WINNER, noises=NOISES[:2], seeds=2))
    assert {finding.claim for finding in said} <= {"", "no loss"}
    assert "no pair of rows could be separated with these runs (smallest p 0.12" in said[0].text
    assert "the order of the rows is no finding" in said[0].text
    assert "could not be tested for infobatch (smallest p 0.12, needed 0.05)" in said[1].text
    assert "could not be tested: no pair of rows" in of(said, "random choice").text
    assert "2 seeds a cell are too few for an interval" in of(said, "limits").text
    assert not any("[" in finding.text for finding in said)


def test_letters_that_separate_and_a_level_that_claims_nothing() -> None:
    """10 pairs of 9 units: their smallest p, .0039, is at most .05 / 10, and above .025 / 10."""
    rows = ("full", "short-full", "random-dynamic", "infobatch", "infobatch+align")
    lead = {"infobatch+align": 5.0, "infobatch": -5.0}
    shown = board(lead, rows=rows, noises=NOISES[:3])
    assert _letters(shown, "digits")
    said = check(shown)
    assert "is claimed to differ from none of the others: no winner is shown" in said[0].text
    assert "differ at the level of the letters alone, which is not claimed here" in said[0].text
    chance = of(said, "random choice").text
    assert "no row that prunes is claimed to be above each of" in chance
    assert "infobatch+align is so at the level of the letters alone" in chance


def test_only_negative_findings() -> None:
    said = check(board(LOSERS, sd=0.2))
    assert said[0].text.startswith("random-dynamic has the highest mean accuracy")
    assert "takes from infobatch (-" in of(said, "module").text
    assert "is separated above" in of(said, "random choice").text
    assert "no row that prunes is separated above each of" in of(said, "random choice").text
    assert "3 of 3 rows are separated below" in of(said, "random choice").text
    assert "No row that prunes is shown to lose less" not in of(said, "no loss").text
    worst = check(board({name: -9.0 for name in ROWS if name != "full"}))
    assert of(worst, "no loss").text.startswith("No row that prunes is shown to lose less than")
    assert of(worst, "no loss").claim == ""


def test_one_seed() -> None:
    said = check(board(WINNER, seeds=1))
    assert not any(finding.claim for finding in said)
    assert "1 seed a cell is too few for an interval" in of(said, "limits").text


def test_no_full_row_and_one_method() -> None:
    said = check(board(rows=("infobatch",)))
    assert "infobatch is the only row that prunes with every run" in said[0].text
    assert of(said, "no loss").text.startswith("Full training is missing or incomplete")
    assert "Neither short-full nor random choice" in of(said, "random choice").text
    (alone,) = check(board(rows=("full",)))[:1]
    assert alone.text.startswith("full is the only row with every run: mean accuracy")


def test_rows_that_all_lack_runs() -> None:
    rows = ("infobatch", "big-loss")
    some = records(rows=rows, missing=rows[:1])
    said = check(
        build([one for one in some if one.spec["seed"] or one.spec["method"]["name"] == rows[0]])
    )
    assert said[0].text.startswith(
        "No row has every run: nothing is ranked, and nothing is claimed"
    )
    assert not any(finding.claim for finding in said)


def test_another_metric_and_settings_beside_noise() -> None:
    some = []
    for imbalance in (None, {"name": "exp:20"}):
        for one in records(WINNER, noises=("clean", "symmetric:0.2"), seeds=4):
            metrics = {**one.metrics, "worst_class_accuracy": one.metrics["test_accuracy"]}
            some.append(_again(one, {"imbalance": imbalance} if imbalance else {}, metrics))
    said = check(build(some, ProtocolFile(metric="worst-class")))
    assert "highest mean worst-class accuracy" in said[0].text
    assert "0.5 points of worst-class accuracy against full training" in of(said, "no loss").text
    assert "under the other 3 settings" in of(said, "noise").text
    assert "2 noise settings are too few" in of(said, "limits").text


def test_one_noise_setting() -> None:
    said = check(board(WINNER, noises=("clean",), seeds=6))
    assert of(said, "noise").text.startswith("The board has clean alone: what noise takes")


def test_no_setting_of_the_usual_split_is_not_a_board_without_clean_labels() -> None:
    some = [_again(one, {"imbalance": {"name": "exp:50"}}, None) if noise == "clean" else one
            for noise in ("clean", "symmetric:0.4")
            for one in records(WINNER, noises=(noise,))]  # fmt: skip
    text = of(check(build(some)), "noise").text
    assert text.startswith("The board has no setting clean to compare with: what noise, imbalance")
    noisy = board(WINNER, noises=("symmetric:0.2", "symmetric:0.4"))
    assert "has no setting without label noise: what noise takes" in of(check(noisy), "noise").text


def _again(one: Record, spec: dict[str, object], metrics: object = None) -> Record:
    """A record of the same run with some fields of its specification changed."""
    own = one.spec
    return record(own["method"]["name"], own["noise"]["name"], own["seed"], own["ratio"],
                  one.metrics["test_accuracy"], info=one.info, spec=spec,
                  metrics=one.metrics if metrics is None else metrics)  # type: ignore[arg-type]  # fmt: skip


def test_several_designs_share_the_sentences_and_the_level(won: Board) -> None:
    other = [_again(r, {"dataset": {**r.spec["dataset"], "name": "mnist"}})
             for r in records(WINNER, draw=5)]  # fmt: skip
    both = build([*records(WINNER), *other])
    said = check(both)
    assert len(said) == 8
    assert {finding.scope for finding in said} == {"digits", "mnist"}
    assert {block.families for block in blocks_of(both)} == {4}
    assert {block.families for block in blocks_of(won)} == {2}


def test_other_budgets_compare_nothing_at_equal_samples() -> None:
    some = [_again(r, {"budget": "epochs"}) for r in records(WINNER)]
    assert "do not train on equally many samples" in of(check(build(some)), "random choice").text


def test_boards_without_differences_rarely_claim_one() -> None:
    """150 boards of equal rows, 12 units each; at most 5 % may claim a difference, and the families
    at levels of their own would be wrong more often than the sentences."""
    rows = ("full", "short-full", "random-dynamic", "infobatch", "infobatch+align")
    first = board(rows=rows)
    (summary,) = first.summaries
    usual, effects = first.protocol, summary.modules
    assert effects is not None
    rng, wrong, alone = np.random.default_rng(0), 0, 0
    for _ in range(BOARDS):
        own = _drawn(rng, summary.series)
        ranked = ranking(list(own.values()), None, usual, "letters", omnibus=False)
        pair = compare(own["infobatch+align"], own["infobatch"], usual)
        assert ranked is not None
        assert ranked.groups is not None
        assert pair is not None
        tested = family("modules", {f"{pair.a} - {pair.b}": pair.pooled.sign_flip})
        effects = replace(effects, pairs=(Module(pair, None),), family=tested)
        null = replace(first, summaries=(
            replace(summary, series=own, ranking=ranked, modules=effects),))  # fmt: skip
        wrong += any(finding.claim == "difference" for finding in findings(null))
        alone += bool(ranked.groups.pairwise.family.rejected or tested.rejected)
    assert wrong <= 0.05 * BOARDS
    assert wrong < alone


def _drawn(rng: np.random.Generator, series: Mapping[str, Series]) -> dict[str, Series]:
    """The same runs with values that differ by chance alone; those of a seed are alike."""
    shared: dict[object, float] = {}
    found = {}
    for label, own in series.items():
        values = {cell: {seed: shared.setdefault((cell, seed), rng.normal(90, 0.3))
                         + round(rng.normal(0, 0.3), 2) for seed in seeds}
                  for cell, seeds in own.values.items()}  # fmt: skip
        found[label] = replace(own, values={
            cell: {seed: round(value, 2) for seed, value in seeds.items()}
            for cell, seeds in values.items()})  # fmt: skip
    return found
