"""Figures show the board's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.drawing import METHODS, draw, kinded, one, panels, scored_elsewhere, texts
from support.records import grid, record

pytest.importorskip("matplotlib")

from matplotlib import rcParams

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.cost_share import cost_of, front
from prunebench.leaderboard.figures import Material, Omitted
from prunebench.leaderboard.figures.accuracy_by_option import sweeps
from prunebench.leaderboard.figures.differences import grid_of
from prunebench.leaderboard.figures.seeds_needed import need
from prunebench.leaderboard.figures.style import figure_settings
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import mean_interval
from prunebench.record import Record


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return kinded(grid(METHODS, ratios=(0.3, 0.5)))


@pytest.fixture(scope="module")
def material(records: list[Record]) -> Material:
    return Material(build(records))


@pytest.fixture(autouse=True)
def look() -> Iterator[None]:
    with figure_settings():
        yield


def test_accuracy_by_ratio_draws_the_means_and_intervals(material: Material) -> None:
    drawn = one("accuracy-by-ratio", material)
    summary = material.board.summaries[0]
    shown = panels(drawn)
    assert len(shown) == 3  # noise settings
    assert [axes.get_title() for axes in shown[:3]] == list(summary.noises)
    assert {axes.title.get_fontsize() for axes in shown[:3]} == {rcParams["axes.titlesize"]}
    for axes, noise in zip(shown[:3], summary.noises, strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        for label in ("full", "random", "small-loss", "infobatch", "infobatch+align"):
            values = [mean_interval(list(summary.series[label].values[noise, r].values()))
                      for r in (0.3, 0.5)]  # fmt: skip
            places = lines[label].get_xdata()
            assert places == pytest.approx([0.3, 0.5], abs=0.025)
            assert lines[label].get_ydata().tolist() == [v.mean for v in values]
            if label != "full":  # intervals as upright lines at the marks
                (bars,) = [c.get_segments() for c in axes.collections if hasattr(c, "get_segments")
                           and c.get_segments()[0][0][0] == places[0]]  # fmt: skip
                for bar, v in zip(bars, values, strict=True):
                    ends = (v.mean - (v.half_width or 0), v.mean + (v.half_width or 0))
                    assert bar[:, 1] == pytest.approx(ends)
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        full = [mean_interval(list(summary.series["full"].values[noise, r].values()))
                for r in (0.3, 0.5)]  # fmt: skip
        ends = [v.mean + sign * (v.half_width or 0) for v in full for sign in (-1, 1)]
        assert min(band) == pytest.approx(min(ends))
        assert max(band) == pytest.approx(max(ends))
        own = [x for x in lines if x in METHODS and x not in ("full", "short-full")]
        assert len({lines[x].get_xdata()[0] for x in own}) == len(own)  # no mark over another
    colour = {x: shown[0].lines[i].get_color() for i, x in enumerate(
        line.get_label() for line in shown[0].lines)}  # fmt: skip
    assert colour["infobatch"] == colour["infobatch+align"] != colour["random"]
    named = {text for axes in shown for text in texts(axes)}
    assert {"infobatch", "infobatch+align", "random", "small-loss", "full"} <= named
    assert "n = 3 seeds" in drawn.caption
    assert "95 %" in drawn.caption


def test_missing_seeds_are_left_out_and_counted(records: list[Record]) -> None:
    gone = next(r for r in records if r.spec["method"]["name"] == "random")
    board = build([r for r in records if r.key != gone.key])
    drawn = one("accuracy-by-ratio", Material(board))
    assert "Left out for missing seeds: 1 (row, cell) points" in drawn.caption
    noise = board.summaries[0].noises.index(gone.spec["noise"]["name"])
    line = next(x for x in panels(drawn)[noise].lines if x.get_label() == "random")
    assert len(line.get_xdata()) == 1


def test_heat_map_holds_the_paired_differences(material: Material) -> None:
    summary = material.board.summaries[0]
    tables = material.board.tables
    labels, cells, values, seeds = grid_of(summary, tables, "full")
    assert labels[0] == "short-full"
    assert "full" not in labels
    assert set(seeds) == {3}
    for i, label in enumerate(labels):
        for j, (noise, ratio) in enumerate(cells):
            table = next(t for t in tables if t.ratio == ratio)
            row = next(r for r in table.rows if r.label == label)
            cell = row.cells[table.noises.index(noise)]
            assert cell is not None
            assert cell.difference is not None
            assert values[i, j] == pytest.approx(cell.difference.mean)
    axes = panels(one("differences", material))[0]
    assert np.array_equal(axes.images[0].get_array(), values)
    shown = [text for text in texts(axes) if text[0] in "+-"]
    assert shown[0].rstrip("*†") == f"{values[0, 0]:+.1f}"
    assert len(shown) == values.size
    assert [t.get_text() for t in axes.get_yticklabels()] == labels


def test_costs_count_passes_and_scoring_runs(material: Material) -> None:
    table = material.board.tables[-1]
    own = cost_of(table.runs["small-loss"])
    assert own is not None
    assert own.own == pytest.approx(1 - 0.45)
    assert own.total == pytest.approx(1 - 0.45 + (1000 + 100) / 1000)
    drawn, timed = one("accuracy-by-cost", material), one("accuracy-by-time", material)
    left = panels(drawn)[1]  # second ratio
    points = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in left.lines
              if not line.get_label().startswith("_")}  # fmt: skip
    for row in table.rows:
        cost = cost_of(table.runs[row.label])
        assert cost is not None
        assert points[row.label] == pytest.approx((cost.total, row.mean))
    bars = [list(line.get_xdata()) for line in left.lines]
    assert pytest.approx([own.own, own.total]) in bars
    assert "1 threads" not in timed.caption
    assert "cpu" in timed.caption


def test_front_is_what_nothing_else_beats_in_both() -> None:
    points = {"a": (1.0, 90.0), "b": (0.5, 80.0), "c": (0.6, 80.0), "d": (0.4, 70.0),
              "e": (0.5, 80.0)}  # fmt: skip
    assert front(points) == ["d", "b", "e", "a"]


def swept(**windows: list[int]) -> Any:
    found = [record("full", seed=s, accuracy=0.9) for s in (0, 1, 2)]
    for method, values in windows.items():
        for window in values:
            params = {"window": window, "min_obs": min(4, window), "rescale": True}
            for seed in (0, 1, 2):
                found.append(record(method.replace("_", "+"), seed=seed, params=params,
                                    accuracy=0.5 + window / 100 + seed / 450))  # fmt: skip
    return build(found)


def test_sweeps_follow_the_option_that_tells_rows_apart() -> None:
    board = swept(infobatch_align=[2, 3, 5, 10], infobatch=[5])
    (sweep,) = sweeps(board.tables[0])
    assert (sweep.method, sweep.option, sweep.numeric) == ("infobatch+align", "window", True)
    assert [value for value, _ in sweep.rows] == [2, 3, 5, 10]
    axes = panels(one("accuracy-by-option", Material(board)))[0]
    line = next(x for x in axes.lines if x.get_label() == "infobatch+align")
    assert line.get_xdata().tolist() == [2, 3, 5, 10]
    expected = [100 * (0.5 + w / 100 + 1 / 450) for w in (2, 3, 5, 10)]
    assert line.get_ydata().tolist() == pytest.approx(expected)
    assert {"full", "infobatch"} <= {x.get_label() for x in axes.lines}
    drawn = one("accuracy-by-option", Material(board))
    assert drawn.title.startswith("digits: does window (with min_obs) change accuracy")
    assert "equal along a line except min_obs, changed together with window" in drawn.caption
    groups = board.tables[0].tests.ranking.groups
    assert groups.underpowered
    assert drawn.answer == (f"The test of all pairs of rows (paired sign-flip, Holm over "
                            f"{groups.pairwise.family.size} pairs) needs more runs than these to "
                            "separate any pair.")  # fmt: skip


def test_options_that_change_together_have_no_figure_of_one_of_them() -> None:
    found = [record("infobatch", seed=seed, params={"r": r, "rescale": rescale, "delta": 0.9})
             for seed in (0, 1, 2) for r, rescale in ((0.5, True), (0.9, False))]  # fmt: skip
    board = build(found)
    assert sweeps(board.tables[0]) == []
    (left_out,) = draw("accuracy-by-option", Material(board))
    assert isinstance(left_out, Omitted)
    assert left_out.reason == "r and rescale change together in every row of infobatch"


def test_crossed_options_are_swept_once_per_combination() -> None:
    found = [
        record("seta", seed=s, params={"k": k, "alpha": a, "rule": "x"}, accuracy=0.5)
        for s in (0, 1)
        for k in (5, 10)
        for a in (0.2, 0.4)
    ]
    names = sorted((s.option, s.name) for s in sweeps(build(found).tables[0]))
    assert names == [("alpha", "seta (k=10)"), ("alpha", "seta (k=5)"),
                     ("k", "seta (alpha=0.2)"), ("k", "seta (alpha=0.4)")]  # fmt: skip


def test_static_and_dynamic_methods_stand_apart(material: Material) -> None:
    axes = panels(one("static-against-dynamic", material))[0]
    marks = [line for line in axes.lines if line.get_marker() in ("s", "o")]
    squares = [m for m in marks if m.get_marker() == "s"]
    assert (len(squares), len(marks) - len(squares)) == (2 * 2, 2 * 2)
    legend = axes.figure.axes[-1].get_legend()
    assert [t.get_text() for t in legend.get_texts()] == [
        x for x in highlight(material.board.summaries[0]).rows if x not in ("full", "short-full")
    ]  # fmt: skip
    only = build(kinded(grid(("full", "infobatch"))))
    (left_out,) = draw("static-against-dynamic", Material(only))
    assert isinstance(left_out, Omitted)
    assert left_out.reason == "no static method"


def test_two_variants_of_a_method_have_marks_of_their_own() -> None:
    methods = ("full", "random", "small-loss", "orderdp+align", "orderdp+bls")
    axes = panels(one("static-against-dynamic", Material(build(kinded(grid(methods))))))[0]
    looks = {(h.get_marker(), h.get_color(), h.get_markerfacecolor(), h.get_fillstyle())
             for h in axes.figure.axes[-1].get_legend().legend_handles}  # fmt: skip
    assert len(looks) == 4
    drawn = {(h.get_marker(), h.get_color(), h.get_markerfacecolor(), h.get_fillstyle())
             for h in axes.lines if h.get_marker() in ("s", "o")}  # fmt: skip
    assert looks <= drawn


def test_a_row_whose_scoring_run_is_not_counted_is_not_compared_by_cost() -> None:
    records = scored_elsewhere(kinded(grid(("full", "random", "small-loss"))), "small-loss")
    drawn = one("accuracy-by-cost", Material(build(records)))
    label = "small-loss (scored with cnn)"
    assert f"their rows are not compared by cost: {label}." in drawn.caption
    said = drawn.answer.partition(" at ratio")[0]
    assert said.startswith("By their means, no row is both cheaper and as accurate as random")
    assert "small-loss" not in said


def test_seeds_needed_pools_the_spread_within_cells(material: Material) -> None:
    d = {("clean", 0.5): {0: 1.0, 1: 3.0}, ("x", 0.5): {0: 10.0, 1: 12.0, 2: 14.0}}
    zero = Series("full", "full", {c: dict.fromkeys(v, 0.0) for c, v in d.items()})
    found = need(Series("a", "method", d), zero, ProtocolFile())
    assert found is not None
    assert found.df == 3
    assert found.sd == pytest.approx(math.sqrt((2 + 8) / 3))
    assert found.seeds.n == 107  # 0.5 points at sd 1.826, two-sided 0.05, power 0.8
    drawn = one("seeds-needed", material)
    rows = [t.get_text() for t in panels(drawn)[0].get_yticklabels()]
    assert sorted(rows) == sorted(set(METHODS) - {"full"})
