"""Critical-difference diagrams and win matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.drawing import METHODS, kinded, one, panels, texts
from support.records import grid, record

pytest.importorskip("matplotlib")

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material
from prunebench.leaderboard.figures.critical_difference import strip_of, strips
from prunebench.leaderboard.figures.style import figure_settings
from prunebench.leaderboard.figures.wins import duel
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.protocol_file import ProtocolFile


@pytest.fixture(scope="module")
def material() -> Material:
    return Material(build(kinded(grid(METHODS, ratios=(0.3, 0.5)))))


@pytest.fixture(autouse=True)
def look() -> Iterator[None]:
    with figure_settings():
        yield


def separated_board() -> Any:
    """Three methods far apart, and one that equals the second."""
    levels = {"full": 300, "random": 320, "infobatch": 340, "seta": 340}
    found = []
    rng = np.random.default_rng(3)
    for noise in ("clean", "symmetric:0.2", "symmetric:0.4"):
        for seed in range(8):
            for method, level in levels.items():
                correct = level + int(rng.integers(-3, 4))
                found.append(record(method, noise, seed, accuracy=correct / 450))
    return build(found)


def test_bars_join_what_is_not_separated() -> None:
    board = separated_board()
    found = strips(board.summaries[0], ProtocolFile())
    assert [s.title for s in found] == ["clean", "symmetric:0.2", "symmetric:0.4",
                                        "all noise settings"]  # fmt: skip
    assert [s.blocks for s in found] == [(8, "seeds")] * 3 + [(3, "noise settings")]
    for strip in found:
        assert list(strip.ranks.values()) == sorted(strip.ranks.values())
        assert [set(bar) for bar in strip.bars] == [{"infobatch", "seta"}]
        assert strip.ranks["full"] == 4
        assert not strip.letters
    assert found[-1].ranks == dict(board.summaries[0].ranking.mean_ranks)
    drawn = one("critical-difference", Material(board, nemenyi=True))
    assert len(panels(drawn)) == 4
    assert any(text.startswith("Nemenyi's critical difference") for text in texts(panels(drawn)[0]))
    bars = [c for c in panels(drawn)[-1].collections if c.get_linewidth()[0] > 2]
    (segment,) = bars[0].get_segments()
    low, high = sorted(found[-1].ranks[x] for x in ("infobatch", "seta"))
    assert len(bars) == 1
    assert segment[:, 0] == pytest.approx([low - 0.06, high + 0.06])
    assert any(text.startswith("infobatch  1.") for text in texts(panels(drawn)[-1]))


def test_groups_that_are_no_runs_of_ranks_become_letters() -> None:
    groups = separated_board().summaries[0].ranking.groups
    crossed = {"full": 1.0, "infobatch": 2.0, "random": 3.0, "seta": 4.0}
    strip = strip_of("all", crossed, (3, "noise settings"), groups)
    assert not strip.bars
    assert strip.letters["infobatch"] == strip.letters["seta"]
    assert len({strip.letters[x] for x in ("full", "infobatch", "random")}) == 3


def test_few_seeds_give_neither_bars_nor_letters(material: Material) -> None:
    found = strips(material.board.summaries[0], ProtocolFile())
    assert all(not s.bars and not s.letters for s in found[:-1])
    assert "the test of all pairs needs more runs: smallest p 0.25" in found[0].note
    caption = one("critical-difference", material).caption
    assert "test of all pairs needs more runs under clean, symmetric:0.2 and" in caption
    said = one("wins", material).answer
    assert "all pairs of rows (paired sign-flip, Holm over 15 pairs) needs more runs" in said


def test_a_strip_of_rows_that_are_all_apart_is_drawn() -> None:
    found = [record(method, noise, seed, accuracy=(level + seed) / 450)
             for noise in ("clean", "symmetric:0.2") for seed in range(8)
             for method, level in (("full", 300), ("infobatch", 350))]  # fmt: skip
    drawn = one("critical-difference", Material(build(found)))
    assert len(panels(drawn)) == 3
    assert "needs more runs" not in drawn.caption


def test_duels_count_cells_and_runs() -> None:
    a = Series("a", "method", {("clean", 0.5): {0: 90.0, 1: 80.0}, ("x", 0.5): {0: 70.0, 2: 1.0}})
    b = Series("b", "method", {("clean", 0.5): {0: 80.0, 1: 81.0}, ("x", 0.5): {0: 70.0, 1: 99.0}})
    found = duel(a, b)
    assert found is not None
    assert (found.outcomes.wins, found.outcomes.ties, found.outcomes.losses) == (1, 1, 0)
    assert found.improvement == pytest.approx((0.5 + 0.5) / 2)
    assert duel(a, Series("c", "method", {})) is None
    board = separated_board()
    drawn = one("wins", Material(board))
    axes = panels(drawn)[0]
    values = axes.images[0].get_array()
    k = len(board.summaries[0].ranking.labels)
    assert len(axes.texts) == k * (k - 1)
    off = ~np.eye(k, dtype=bool)
    assert np.asarray(values + values.T)[off] == pytest.approx(np.ones(k * (k - 1)))
    assert "3/0/0" in texts(axes)
    assert "over 3 cells and 24 runs each" in drawn.caption
    alone = build([record(x, seed=0, accuracy=0.5) for x in ("full", "seta")])
    assert "over 1 cell and 1 run each" in one("wins", Material(alone)).caption
