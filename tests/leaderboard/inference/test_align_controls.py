"""Rows with AlignPrune beside random choice of as many samples, and beside other uses of the clean
samples."""

import json
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.reports.boards import gather, texts
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.inference.align_controls import NOT_SEPARATED, TOO_FEW, AlignControls
from prunebench.leaderboard.render.align_text import AGAINST_RANDOM, CLEAN_SAMPLES
from prunebench.record import Record
from support.records import record

NOISES = ("clean", "symmetric:0.4")
#: Points over a base of 80 % by method; seeds add the same to all, and a little of their own.
POINTS = {"full": 5, "full+reference": 9, "random-dynamic": 2, "infobatch": 0, "infobatch+align": 3,
          "seta+align": 2, "ies+align": -4, "glister": -2}  # fmt: skip
#: What a method says of the clean samples.
USED = {"full+reference": "reference set, trained on", "glister": "the reference set"}


def run(method: str, noise: str, seed: int, **more: Any) -> Record:
    own = sum(method.encode()) % 7 + seed
    correct = 360 + 4.5 * POINTS[method] + 3 * seed + (own % 3 - 1)
    clean = USED.get(method, "reference set" if "+align" in method else "")
    facts = {"metrics": 3, "clean_labels_used": clean, "reference_size": 90, **more.pop("info", {})}
    return record(method, noise, seed, accuracy=correct / 450, info=facts, **more)


def runs(*left_out: str, seeds: int = 4, **more: Any) -> list[Record]:
    return [run(method, noise, seed, **more) for method in POINTS if method not in left_out
            for noise in NOISES for seed in range(seeds)]  # fmt: skip


def controls(records: list[Record], shown: bool | None = None) -> AlignControls:
    (summary,) = build(records, align_shown=shown).summaries
    assert summary.align_controls is not None
    return summary.align_controls


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return texts(build(runs()))


def test_the_row_whose_lead_the_interval_supports_is_ahead() -> None:
    found = {row.label: row for row in controls(runs()).against_random}
    assert {label: row.ahead for label, row in found.items()} == {
        "infobatch+align": "infobatch+align", "ies+align": "random-dynamic",
        "seta+align": NOT_SEPARATED,
    }  # fmt: skip
    row = found["infobatch+align"]
    assert row.pooled is not None
    assert row.pooled.pooled.low is not None
    assert row.pooled.pooled.low > 0
    assert row.pooled.pooled.mean == pytest.approx(
        sum(c.pooled.mean for c in (row.by_noise or {}).values()) / len(NOISES)
    )
    assert {row.ahead for row in controls(runs(seeds=2)).against_random} == {TOO_FEW}


def test_a_board_without_random_choice_says_so() -> None:
    found = controls(runs("random-dynamic"))
    assert {(row.control, row.ahead) for row in found.against_random} == {("", "")}
    for name, text in texts(build(runs("random-dynamic"))).items():
        said = "random-dynamic was not run at ratio 0.5: whether" in text
        assert said == (name in ("leaderboard.md", "leaderboard.html")), name


def test_under_other_budgets_the_realised_share_decides() -> None:
    def board(share: float) -> AlignControls:
        def shared(method: str, ratio: float, saved: float) -> list[Record]:
            return [run(method, noise, seed, ratio=ratio, spec={"budget": "epochs"},
                        metrics={"realised_ratio": saved})
                    for noise in NOISES for seed in range(4)]  # fmt: skip

        full = [run("full", noise, seed) for noise in NOISES for seed in range(4)]
        return controls(
            [
                *full,
                *shared("infobatch+align", 0.5, share),
                *shared("random-dynamic", 0.3, 0.3),
                *shared("random-dynamic", 0.5, 0.5),
            ]
        )

    row = board(0.29).against_random[0]
    assert (row.control_ratio, row.control_realised) == (0.3, pytest.approx(0.3))
    assert row.pooled is not None
    assert row.ahead == "infobatch+align"
    row = board(0.4).against_random[0]
    assert row.control == ""


def test_what_the_clean_samples_buy_is_paired_with_every_row_with_align() -> None:
    found = controls(runs())
    assert [use.label for use in found.clean_uses] == [
        "infobatch+align", "seta+align", "ies+align", "full+reference", "glister",
    ]  # fmt: skip
    use = found.clean_uses[3]
    assert use.samples == (90, 90)
    assert use.against["ies+align"].pooled.mean == pytest.approx(13, abs=0.7)
    assert found.absent == {0.5: ("infobatch+reference", "cld", "rho-loss")}
    own = [r for r in runs() if r.spec["method"]["name"] != "seta+align"]
    part = {"align.reference_size": 20}
    own += [run("seta+align", n, s, params=part) for n in NOISES for s in range(4)]
    sizes = {use.label: use.samples for use in controls(own).clean_uses}
    assert sizes["seta+align"] == (20, 20)


def test_both_tables_stand_on_every_page(pages: dict[str, str]) -> None:
    page = pages["leaderboard.md"]
    lines = [line for line in page.splitlines() if line.startswith("| infobatch+align")]
    ahead = next(line for line in lines if line.rstrip(" |").endswith("infobatch+align"))
    assert ahead.count("[") == 3
    verdict = "in 1 the row with AlignPrune is ahead, in 1 random-dynamic is ahead"
    assert f"Of 3 pairs, {verdict}, in 1 they are not separated" in page
    assert "full+reference: trained on with all other samples" in page
    assert "Not run at ratio 0.5: infobatch+reference, cld, rho-loss" in page
    for words in ("+align against random choice", "what the clean samples buy"):
        assert f"digits, {words}" in page
        assert f"digits, {words}" in pages["leaderboard.html"]
    (summary,) = json.loads(pages["leaderboard.json"])["summaries"]
    found = summary["align_controls"]
    assert [row["ahead"] for row in found["against_random"]].count("not separated") == 1
    assert found["not_run"] == [
        {"ratio": 0.5, "methods": ["infobatch+reference", "cld", "rho-loss"]}
    ]
    uses = {use["label"]: use["use"] for use in found["clean_samples"]}
    assert uses["glister"] == "one choice"


def test_a_method_of_another_name_that_scores_by_alignment_counts_too() -> None:
    own = [r for r in runs() if r.spec["method"]["name"] in ("full", "random-dynamic")]
    params = {"align.threshold": 0.0}
    own += [run("infobatch", noise, seed, params=params) for noise in NOISES for seed in range(4)]
    assert [row.label for row in controls(own).against_random] == ["infobatch"]


def test_where_align_alone_uses_the_samples_the_page_says_that() -> None:
    page = texts(build(runs("full+reference", "glister")))["leaderboard.md"]
    assert "minus infobatch+align" not in page
    assert (
        "Not run at ratio 0.5: full+reference, infobatch+reference, glister, cld, rho-loss" in page
    )


def test_boards_of_earlier_records_change_when_they_are_rendered_anew() -> None:
    earlier = runs(info={"metrics": 2})
    (old,) = build(earlier).summaries
    (new,) = build(earlier, align_shown=True).summaries
    assert old.align_controls is None
    assert new.align_controls is not None
    for text in texts(build(earlier)).values():
        assert AGAINST_RANDOM not in text
        assert CLEAN_SAMPLES not in text
    (without,) = build(runs("infobatch+align", "seta+align", "ies+align")).summaries
    assert without.align_controls is None


def test_a_published_board_names_both_controls_when_it_is_rendered_anew() -> None:
    folder = Path(__file__).parents[3] / "docs/leaderboards/demo"
    found = controls(gather([folder / "records.jsonl.gz"]), shown=True)
    assert [(row.label, row.control) for row in found.against_random] == [
        ("infobatch+align", "random-dynamic")
    ]
    assert [use.label for use in found.clean_uses] == ["infobatch+align", "full+reference"]
