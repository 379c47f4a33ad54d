"""Rows that cross scores and samplers: which, what they are compared with, and how it is shown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest

from prunebench.errors import InputError
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material, gallery
from prunebench.leaderboard.figures.style import figure_settings
from prunebench.leaderboard.inference.marks import cell_marks
from prunebench.leaderboard.inference.score_grid import ScoreGrid
from prunebench.leaderboard.inference.series import differences
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.html.page import render_html
from prunebench.leaderboard.render.json_export import board_json, dumps
from prunebench.leaderboard.render.markdown import render_markdown
from prunebench.record import Record
from support.drawing import one, panels, texts
from support.records import record

NOISES, RATIOS = ("clean", "symmetric:0.4"), (0.5, 0.8)
#: Rows as boards name them: the bare name at the published sampler, aliases for two pairs.
ROWS = {
    "aum": ("aum", "top"), "ccs": ("aum", "strata"), "aum@beta": ("aum", "beta"),
    "dual": ("dual", "top"), "dual@strata": ("dual", "strata"), "dual-beta": ("dual", "beta"),
    "el2n": ("el2n", "top"), "el2n@strata": ("el2n", "strata"), "el2n@beta": ("el2n", "beta"),
}  # fmt: skip
WORTH = {"aum": 30, "dual": 10, "el2n": -60, "top": 0, "strata": 12, "beta": -9}


def records(rows: dict[str, tuple[str, str]] = ROWS, **more: object) -> list[Record]:
    """Accuracies that scores decide, samplers a little, and seeds shift together."""
    found, rng = [], np.random.default_rng(2)
    for noise in NOISES:
        for seed in range(5):
            found.append(record("full", noise, seed, accuracy=(400 - 5 * seed) / 450))
            for ratio in RATIOS:
                base = 300 - 7 * seed - int(100 * ratio)
                found.append(record("random", noise, seed, ratio, base / 450))
                for name, (score, sampler) in rows.items():
                    hits = base + WORTH[score] + WORTH[sampler] + int(rng.integers(-6, 7))
                    found.append(record(name, noise, seed, ratio, hits / 450,
                                        info={"score": score, "sampler": sampler}))  # fmt: skip
    return found


@pytest.fixture(scope="module")
def material() -> Material:
    return Material(build(records()))


@pytest.fixture(autouse=True)
def look() -> Iterator[None]:
    with figure_settings():
        yield


def grid_of(material: Material) -> ScoreGrid:
    (summary,) = material.board.summaries
    assert summary.score_grid is not None
    return summary.score_grid


def test_rows_are_laid_out_by_score_and_sampler_whatever_their_names(material: Material) -> None:
    grid = grid_of(material)
    assert (grid.scores, grid.samplers) == (("aum", "dual", "el2n"), ("strata", "top", "beta"))
    assert {label: pair for pair, label in grid.labels.items()} == ROWS
    assert grid.reference == "random"
    series = material.board.summaries[0].series
    for (pair, label), cell in ((item, c) for item in grid.labels.items()
                                for c in (("clean", 0.5), ("symmetric:0.4", 0.8))):  # fmt: skip
        d = differences(series[label], series["random"])[cell]
        assert grid.differences[pair][cell] == pytest.approx(sum(d.values()) / 5)


def test_marks_are_a_family_per_ratio_against_random(material: Material) -> None:
    grid = grid_of(material)
    assert {ratio: marks.family.size for ratio, marks in grid.marks.items()} == {
        0.5: 18, 0.8: 18}  # fmt: skip
    table = material.board.tables[1]
    expected = cell_marks([table.series[label] for label in ROWS], table.series["random"],
                          ProtocolFile(), "again")  # fmt: skip
    assert expected is not None
    for pair, label in grid.labels.items():
        assert grid.mark(pair, ("clean", 0.8)) == expected.mark(label, "clean")
    assert grid.mark(("aum", "strata"), ("clean", 0.5)) == "*"
    assert grid.mark(("el2n", "beta"), ("clean", 0.5)) == "†"


def test_shares_say_that_it_is_the_score(material: Material) -> None:
    shares = grid_of(material).shares
    assert set(shares) == {(noise, ratio) for noise in NOISES for ratio in RATIOS}
    for found in shares.values():
        assert found.rows.value > 0.9 > 0.1 > found.columns.value > 0.01
        assert found.interaction.value == pytest.approx(0, abs=0.03)


def test_panels_show_the_differences_of_the_grid(material: Material) -> None:
    drawn, grid = one("score-x-sampler", material), grid_of(material)
    shown = [axes for axes in panels(drawn) if axes.get_title()]
    assert [axes.get_title() for axes in shown] == [
        f"{noise}, ratio {ratio:g}" for ratio in RATIOS for noise in NOISES
    ]
    for axes, cell in zip(shown, ((n, r) for r in RATIOS for n in NOISES), strict=True):
        values = [[grid.differences[s, m][cell] for m in grid.samplers] for s in grid.scores]
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.array(values))
        signs = [text[-1] for text in texts(axes) if text[-1] in "*†"]
        pairs = [(s, m) for s in grid.scores for m in grid.samplers]
        assert signs == [mark for pair in pairs if (mark := grid.mark(pair, cell))]
    lightness = [sum(shown[0].images[0].cmap(x / 10)[:3]) for x in range(11)]
    assert lightness == sorted(lightness)  # in grey, lighter is better
    assert "aum@strata is ccs" in drawn.caption
    rows = list(csv.DictReader(io.StringIO(drawn.data)))
    assert len(rows) == 9 * 4
    first = rows[0]
    assert (first["row"], first["noise"], first["ratio"]) == ("ccs", "clean", "0.5")
    assert float(first["points against random"]) == pytest.approx(
        grid.differences["aum", "strata"]["clean", 0.5])  # fmt: skip


def test_the_data_lie_beside_the_figure_and_repeat(material: Material) -> None:
    found = gallery(material, ["score-x-sampler"], ["svg"])
    assert sorted(found.files) == [
        "figures/figures.md", "figures/score-x-sampler-digits.csv",
        "figures/score-x-sampler-digits.svg",
    ]  # fmt: skip
    assert b"(score-x-sampler-digits.csv)" in found.files["figures/figures.md"]
    assert gallery(material, ["score-x-sampler"], ["svg"]).files == found.files


def test_tables_ask_whether_it_is_the_score_or_the_sampler(material: Material) -> None:
    page = render_markdown(material.board)
    assert "## digits, score or sampler?" in page
    assert "| noise " in page.partition("score or sampler?")[2]
    html = render_html(material.board)
    assert "score or sampler?" in html
    summary = json.loads(dumps(board_json(material.board)))["summaries"][0]
    assert len(summary["score_grid"]["cells"]) == 36
    assert summary["score_grid"]["shares"][0]["rows"]["value"] > 0.9


def test_boards_without_a_grid_are_as_they_were() -> None:
    bare = {name: pair for name, pair in ROWS.items() if pair[1] == "top" or name == "ccs"}
    material = Material(build(records(bare)))
    assert material.board.summaries[0].score_grid is None
    assert "score or sampler" not in render_markdown(material.board)
    assert "score_grid" not in dumps(board_json(material.board))
    assert list(gallery(material, ["score-x-sampler"], ["svg"]).files) == ["figures/figures.md"]


def test_a_score_that_lacks_a_sampler_is_named(material: Material) -> None:
    some = {name: pair for name, pair in ROWS.items() if name != "el2n@beta"}
    grid = grid_of(Material(build(records(some))))
    assert (sorted(grid.scores), len(grid.samplers)) == (["aum", "dual"], 3)
    assert grid.left_out == ("el2n",)
    low = [record("aum", noise, seed, ratio, 0.5, params={"side": "low"},
                  info={"score": "aum", "sampler": "top"})
           for noise in NOISES for seed in range(5) for ratio in RATIOS]  # fmt: skip
    grid = grid_of(Material(build([*records(), *low])))
    assert sorted(grid.scores) == ["dual", "el2n"]  # which row is aum@top is not clear
    assert grid.left_out == ("aum", "aum@top")


def test_a_missing_seed_takes_its_cell_out_of_the_shares_alone() -> None:
    found = [r for r in records() if not (r.spec["method"]["name"] == "ccs" and r.spec["seed"] == 3
                                          and r.spec["ratio"] == 0.8
                                          and r.spec["noise"]["name"] == "clean")]  # fmt: skip
    grid = grid_of(Material(build(found)))
    assert set(grid.shares) == {(n, r) for n in NOISES for r in RATIOS} - {("clean", 0.8)}
    assert ("clean", 0.8) in grid.differences["aum", "strata"]


def test_names_of_a_score_that_are_no_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"info\.score"):
        build([record("aum", info={"score": ["aum"], "sampler": "top"})])
