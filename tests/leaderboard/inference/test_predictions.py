"""Predictions of variants of AlignPrune: which rows they are about, verdicts, table and figure."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.errors import InputError
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material, gallery
from prunebench.leaderboard.figures.style import figure_settings
from prunebench.leaderboard.inference.judged import HELD, NOT_HELD, OPEN, Judged, judge
from prunebench.leaderboard.published.predictions import FILE, Prediction, RowOf, read_predictions
from prunebench.leaderboard.render.html.page import render_html
from prunebench.leaderboard.render.json_export import board_json, dumps
from prunebench.leaderboard.render.markdown import render_markdown
from prunebench.methods.compose import resolve_method
from prunebench.record import Record
from support.drawing import one
from support.records import record

SEEDS = 6
#: Method, options that differ from the defaults, ratio, mean accuracy at 50 % noise in percent.
ROWS = [
    ("infobatch", {}, 0.22, 70.0),
    ("infobatch+align", {}, 0.22, 74.0),
    ("infobatch+align", {"align.scramble": "fixed"}, 0.22, 73.0),
    ("infobatch+align", {"delta": 1.0}, 0.22, 74.0),
    ("infobatch+align", {"rescale": False}, 0.22, 74.0),
    ("infobatch+align", {"r": 0.9, "rescale": False}, 0.5, 85.0),
    ("align-hard", {}, 0.5, 60.0),
    ("random-dynamic", {}, 0.22, 80.0),
    ("random-dynamic", {}, 0.5, 74.0),
]


def records(rows=ROWS, budget: str = "epochs", noise: float = 0.1) -> list[Record]:
    defaults = read_predictions().defaults
    rng, found = np.random.default_rng(0), []
    for seed in range(SEEDS):
        found.append(record("full", "symmetric:0.5", seed, accuracy=0.6))
        for method, params, ratio, mean in rows:
            early = {n: v for n, v in defaults.get(method, {}).items() if n in ("r", "delta")}
            value = mean + seed + noise * rng.standard_normal()
            found.append(record(
                method, "symmetric:0.5", seed, ratio, round(value, 6) / 100,
                params={**early, **params}, spec={"budget": budget},
                metrics={"kept_fraction": 0.48 if method == "align-hard" else 0.78},
            ))  # fmt: skip
    return found


def judged(found: list[Record]) -> dict[tuple[str, str], Judged]:
    (summary,) = build(found).summaries
    return {(j.prediction.variant, j.prediction.says): j for j in summary.predictions}


@pytest.fixture(scope="module")
def material() -> Material:
    return Material(build(records()))


@pytest.fixture(autouse=True)
def look() -> Iterator[None]:
    with figure_settings():
        yield


def said(low: float | None, high: float | None) -> Prediction:
    return Prediction("1", "so", RowOf("x", "a"), None, "clean", "", "accuracy", low, high)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, 4.0, HELD), (1.0, None, HELD), (None, 3.0, HELD),
        (1.9, 4.0, OPEN), (1.99, 2.01, OPEN), (2.0, None, OPEN), (None, 2.0, OPEN),
        (3.0, 4.0, NOT_HELD), (None, 1.0, NOT_HELD), (2.5, None, NOT_HELD),
    ],
)  # fmt: skip
def test_the_interval_decides_and_not_the_mean(low, high, verdict):
    values = [1.9, 2.0, 2.1, 1.8, 2.2]  # 2 ± 0.196
    found = judge(said(low, high), "a", "", values)
    assert (found.n, found.verdict) == (5, verdict)
    assert found.mean == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((1.8037, 2.1963), abs=1e-4)


def test_two_seeds_decide_nothing():
    assert judge(said(0.0, None), "a", "", [5.0, 5.0]).verdict == OPEN
    assert judge(said(0.0, None), "a", "", [5.0, 5.0, 5.0]).verdict == HELD


def test_verdicts_of_a_board():
    found = judged(records())
    verdicts = {key: one.verdict for key, one in found.items()}
    assert verdicts["1 literal", "3 to 5 points over InfoBatch at .5"] == HELD
    assert verdicts["1 literal", "4 to 6 points over its own scramble at .5"] == NOT_HELD
    assert verdicts["1 literal", "not above random dropping of the same share"] == HELD
    assert verdicts["2 noanneal", "as 1 within 1 point"] == HELD
    assert verdicts["6 hard", "50 to 55 % pruned"] == HELD  # by the share, not the accuracy
    plain = found["5 plain-r9", "8 to 15 points over random dropping at .5"]
    assert plain.against == "random-dynamic"
    assert plain.mean == pytest.approx(11.0, abs=0.2)  # the row of its own ratio, not of 0.22
    assert ("1 literal", "under 1 point over InfoBatch at .2") not in found  # no such runs
    assert ("4 literal-r9", "very large gains over full training") not in found  # LARS alone


def test_scatter_between_seeds_is_not_a_verdict():
    found = judged(records(noise=3.0))
    assert found["1 literal", "3 to 5 points over InfoBatch at .5"].verdict == OPEN


@pytest.mark.parametrize(
    "other",
    [records(budget="samples"), records(ROWS[:2]), records([*ROWS, (*ROWS[1][:2], 0.3, 74.0)])],
    ids=["another budget", "one variant", "a row at two ratios"],
)
def test_what_is_not_meant_is_not_judged(other):
    found = judged(other)
    assert not {key for key in found if key[0] == "1 literal"}
    if len(other) < len(records()):
        assert not found


def test_every_row_of_the_file_is_one_of_the_grid():
    """Under both optimizers, with options at the methods' own defaults."""
    known = read_predictions()
    for method, defaults in known.defaults.items():
        options = resolve_method(method).options
        assert {name: options[name].default for name in defaults} == defaults
    cells = expand(*read_grid("align-variants"))
    for item in known.items:
        for row in filter(None, (item.row, item.against)):
            found = [
                c for c in cells if c.spec.noise.name == item.noise
                and row.fits(c.spec.method.name, c.spec.method.params,
                             known.defaults.get(row.method, {}))
            ]  # fmt: skip
            names = [c.spec.recipe.optimizer for c in found]
            ratios = 3 if row.method == "random-dynamic" and item.noise != "symmetric:0.7" else 1
            assert {n: names.count(n) for n in names} == {"sgd": 10 * ratios, "lars": 10 * ratios}


def test_the_table_says_the_rule_and_counts(material):
    text = render_markdown(material.board)
    part = text.partition("predicted and found")[2]
    assert "held where the whole 95 % interval lies in the predicted range" in part
    rows = [line for line in part.partition("\n* ")[0].splitlines() if line.startswith("| ")]
    assert len(rows) == len(material.board.summaries[0].predictions) + 1
    page = render_html(material.board)
    assert "digits, predicted and found" in page
    (summary,) = json.loads(dumps(board_json(material.board)))["summaries"]
    assert summary["predictions"][0]["verdict"] == HELD


def test_the_figure_shows_every_prediction(material):
    drawn = one("predictions", material)
    found = material.board.summaries[0].predictions
    names = [t.get_text() for axes in drawn.figure.axes for t in axes.get_yticklabels()]
    assert len(names) == len(found)
    assert drawn.data.count("\n") == len(found) + 1
    assert "the mean alone decides nothing" in drawn.caption
    files = gallery(material, ["predictions"], ["svg"]).files
    assert set(files) == {"figures/figures.md", "figures/predictions-digits.csv",
                          "figures/predictions-digits.svg"}  # fmt: skip
    assert gallery(material, ["predictions"], ["svg"]).files == files


def test_boards_without_variants_have_neither(material):
    board = build(records(ROWS[:2]))
    assert "predicted and found" not in render_markdown(board)
    assert "predictions" not in dumps(board_json(board))
    assert list(gallery(Material(board), ["predictions"], ["svg"]).files) == ["figures/figures.md"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('row = "literal"', 'row = "litteral"', "no row 'litteral'"),
        ("low = 3.0", "low = 7.0", "range 7.0 to 5.0"),
        ('\nmeasure = "pruned"', '\nmeasure = "share"', "'share'; accepted: accuracy, pruned"),
        ("rescale = false }", "rescal = false }", "no default of 'rescal'"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, old, new, words):
    text = FILE.read_text()
    path = tmp_path / "p.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        read_predictions(path)
