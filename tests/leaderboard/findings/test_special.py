"""Sentences of boards that are made for one question: transfer, grids of scores, predictions,
samples to an accuracy; and what diverged runs are called."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import Finding, target_findings
from prunebench.leaderboard.findings.blocks import blocks_of
from prunebench.leaderboard.inference.judged import NOT_HELD
from prunebench.leaderboard.learning_curves.to_target import TargetTable, ToTarget
from prunebench.leaderboard.stats import median_interval
from tests.leaderboard.findings.held_against_tests import check
from tests.leaderboard.findings.planted import board, moved, records, scored
from tests.leaderboard.inference import test_predictions, test_score_grid

CHOSE = "Subsets that mlp chose"


def of(shown: Board, topic: str) -> Finding:
    (found,) = [finding for finding in check(shown) if finding.topic == topic]
    return found


def test_a_lead_that_stays_shrinks_turns_and_goes() -> None:
    leads = {
        ("mlp", "dual"): 6.0, ("mlp", "aum"): 6.0, ("mlp", "el2n"): 6.0, ("mlp", "herding"): -6.0,
        ("cnn", "dual"): 3.0, ("cnn", "aum"): 0.0, ("cnn", "el2n"): -6.0, ("cnn", "herding"): 6.0,
    }  # fmt: skip
    said = of(build(scored(leads)), "transfer")
    assert said.short == f"{CHOSE} keep a lead over random by test: dual with cnn."
    assert "Turned into a loss by test: el2n with cnn." in said.more
    assert "Smaller there by test: aum with cnn and dual with cnn." in said.more
    assert "Above random there alone, by test: herding with cnn." in said.more
    assert "No longer shown, which is no proof that it is gone: aum with cnn." in said.more
    assert said.more.endswith("(Paired sign-flip, Holm over 8 leads and over 4 changes.)")
    assert said.claim == "difference"


def test_leads_that_no_other_network_shows_and_none_at_all() -> None:
    alone = of(build(scored({("mlp", "dual"): 6.0, ("cnn", "dual"): 0.0})), "transfer")
    assert alone.short == f"{CHOSE} are not shown to keep a lead over random with cnn."
    assert alone.claim == "difference"  # the lead gets smaller by test
    none = of(build(scored({("mlp", "dual"): 0.0, ("cnn", "dual"): 0.0})), "transfer")
    assert none.short.startswith(f"{CHOSE} are not shown to lead over random with mlp itself")
    assert none.claim == ""


def test_a_scoring_network_that_trains_nothing_has_no_lead_to_keep() -> None:
    leads = {("cnn", "dual"): 6.0, ("cnn", "aum"): 0.0, ("wide", "dual"): 0.0, ("wide", "aum"): 0.0}
    said = of(build(scored(leads)), "transfer")
    assert said.short == f"{CHOSE} lead over random by test: dual with cnn."
    assert "mlp trains nothing here, so no lead can stay or go." in said.more


def test_too_few_seeds_for_leads() -> None:
    leads = {("mlp", "dual"): 6.0, ("cnn", "dual"): 6.0}
    said = of(build(scored(leads, seeds=2, noises=("clean", "symmetric:0.4"))), "transfer")
    assert said.short == (
        "Whether subsets that mlp chose keep a lead over random with cnn could not be tested: too "
        "few runs."
    )
    assert said.more.endswith("needs p 0.025; these runs reach 0.12 at best.)")
    assert " of 1 pair of method and network there are too few seeds in 1. (" in said.more
    assert (said.claim, said.level) == ("", None)


def test_a_control_that_was_not_run_and_one_that_lacks_runs() -> None:
    rows = ("full", "short-full", "random-dynamic", "infobatch")
    absent = of(board(rows=("full", "random-dynamic", "infobatch")), "random choice").more
    assert "Not run here: short-full." in absent
    lacking = of(board(rows=rows, missing=("short-full",)), "random choice").more
    assert "Without every run here: short-full." in lacking


def test_leads_and_changes_count_among_the_families() -> None:
    leads = {("mlp", "dual"): 6.0, ("cnn", "dual"): 6.0}
    shown = build(scored(leads))
    letters = sum(s.ranking is not None for s in shown.summaries)
    assert {block.level.families for block in blocks_of(shown)} == {letters + 2}


def test_the_score_explains_more_than_the_sampler() -> None:
    said = of(build(test_score_grid.records()), "score or sampler")
    assert said.short.startswith("Of the variance between 9 pairs of score and sampler the score ")
    assert said.short.endswith(", by noise setting and ratio.")
    scores = [ground.mean or 0 for ground in said.grounds if ground.what.startswith("the score")]
    assert len(scores) == 4
    assert f"explains {min(scores):.0f} to {max(scores):.0f} %" in said.short
    assert min(scores) > 50
    assert said.claim == ""


def test_predictions_are_counted_and_misses_named() -> None:
    shown = build(test_predictions.records())
    (summary,) = shown.summaries
    said = of(shown, "predictions")
    missed = sum(one.verdict == NOT_HELD for one in summary.predictions)
    assert f"Of {len(summary.predictions)} predictions" in said.short
    assert f" {missed} did not, and " in said.short
    assert said.more.count(", predicted ") == min(missed, 2)
    assert said.claim == ""


def test_diverged_runs_are_named() -> None:
    diverged = [moved(one, status="diverged")
                if (one.spec["method"]["name"], one.spec["seed"]) == ("big-loss", 0) else one
                for one in records(draw=3)]  # fmt: skip
    assert "Diverged runs count with their last accuracy: 4 runs of big-loss." in (
        of(build(diverged), "limits").text
    )
    assert "iverged" not in of(board(draw=3), "limits").text


def target_table(shares: Mapping[str, list[float]], scoring: float | None = 0.0) -> TargetTable:
    """Samples to 95 % over full training's, by row, one per seed; with a scoring run's share."""
    table = board(rows=("full", *shares), noises=("clean",)).tables[0]
    found = [
        ToTarget(label, "method", "clean", 0.95, len(own), sum(map(math.isfinite, own)), (), 0.9,
                 None, None, None, median_interval(own),
                 None if scoring is None else median_interval([x + scoring for x in own]), None,
                 other_network=scoring is None)
        for label, own in shares.items()
    ]  # fmt: skip
    return TargetTable(table, (0.95,), tuple(found))


def test_the_fewest_samples_with_the_scoring_run() -> None:
    shares = {"infobatch": [0.4, 0.5, 0.6], "big-loss": [0.9, 0.9, 0.9]}
    (said,) = target_findings([target_table(shares, scoring=0.25)])
    assert said.short == (
        "Fewest samples to 95 % of full training's accuracy, of 2 pruning rows: infobatch under "
        "clean (-25 [-35, -15] %)."
    )
    assert said.grounds[0].kind == "median"
    assert "without a test" in said.more
    assert said.claim == ""


def test_a_target_that_no_row_reaches_or_another_networks_scoring_run() -> None:
    never = {"infobatch": [math.inf, math.inf, 0.5]}
    (said,) = target_findings([target_table(never)])
    assert said.short.startswith("No pruning row reaches 95 % of full training's accuracy in more")
    (other,) = target_findings([target_table({"infobatch": [0.5] * 3}, scoring=None)])
    assert "-50" not in other.text
