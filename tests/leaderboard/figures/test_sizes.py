"""Every figure for few, usual and many methods: words apart and inside, few rows in colour."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import pytest

from support.drawing import draw, kinded
from support.records import grid
from support.sized_boards import crossed, names, sized, transferred

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material
from prunebench.leaderboard.figures.all_figures import FIGURES, drawings
from prunebench.leaderboard.figures.point_names import _cross as cross
from prunebench.leaderboard.figures.row_styles import OTHER
from prunebench.leaderboard.figures.style import Drawn, figure_settings
from prunebench.leaderboard.highlight import MOST

#: Predictions are of named variants: their number does not follow the board's.
KINDS = [name for name in FIGURES if name != "predictions"]
#: Those that had too many names for forty methods.
HARD = ("accuracy-by-cost", "accuracy-by-ratio", "static-against-dynamic")
#: Pixels by which boxes may overlap: the room above capitals.
SLACK = 1.5


@dataclass(frozen=True)
class Word:
    """A text as it stands in a picture: its middle, half its width and height, and its angle."""

    text: str
    middle: tuple[float, float]
    half: tuple[float, float]
    angle: float

    def corners(self) -> Any:
        turn = np.array([[math.cos(self.angle), -math.sin(self.angle)],
                         [math.sin(self.angle), math.cos(self.angle)]])  # fmt: skip
        signs = np.array(list(itertools.product((-1, 1), (-1, 1))))
        return signs * self.half @ turn.T + self.middle

    def overlaps(self, other: Word) -> bool:
        """Whether no line parallel to a side of either parts the two."""
        if math.dist(self.middle, other.middle) > math.hypot(*self.half) + math.hypot(*other.half):
            return False
        a, b = self.corners(), other.corners()
        for angle in (self.angle, self.angle + math.pi / 2, other.angle, other.angle + math.pi / 2):
            axis = np.array([math.cos(angle), math.sin(angle)])
            one, two = a @ axis, b @ axis
            if min(one.max(), two.max()) - max(one.min(), two.min()) <= SLACK:
                return False
        return True


def written(drawn: Drawn) -> list[Word]:
    """What stands in a picture, as it is drawn: ticks outside of an axis are not."""
    found: list[Any] = []
    draw = Text.draw

    def noted(text: Any, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip() and text not in found:
            found.append(text)
        draw(text, renderer)

    renderer = FigureCanvasAgg(drawn.figure).get_renderer()
    with mock.patch.object(Text, "draw", noted):
        drawn.figure.draw_without_rendering()
    return [_word(text, renderer) for text in found]


def _word(text: Any, renderer: Any) -> Word:
    outer = Text.get_window_extent(text, renderer)
    angle = text.get_rotation()
    text.set_rotation(0)
    inner = Text.get_window_extent(text, renderer)
    text.set_rotation(angle)
    middle = ((outer.x0 + outer.x1) / 2, (outer.y0 + outer.y1) / 2)
    return Word(text.get_text(), middle, (inner.width / 2, inner.height / 2), math.radians(angle))


def leaders(drawn: Drawn) -> Iterator[list[Any]]:
    """Lines from names to points, by panel."""
    for axes in drawn.figure.axes:
        lines = [text.arrow_patch for text in axes.texts
                 if isinstance(text, Annotation) and text.arrow_patch is not None]  # fmt: skip
        ends = [p.get_transform().transform(p.get_path().vertices)[[0, -1]] for p in lines]
        yield [(tuple(a), tuple(b)) for a, b in ends]


def coloured(drawn: Drawn, rows: set[str]) -> set[str]:
    """Rows whose marks, lines or names are not pale."""
    lines = [line for axes in drawn.figure.axes for line in axes.lines]
    marked = {line.get_label() for line in lines if line.get_color() != OTHER.colour}
    bold = {t.get_text() for t in drawn.figure.findobj(Text) if t.get_fontweight() == "bold"}
    return rows & (marked | bold)


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, str], Material]:
    makers = {"score-x-sampler": crossed, "transfer": transferred}
    usual = cache(lambda count: sized(tmp_path_factory.mktemp("board"), count))
    other = cache(lambda count, name: makers[name](count))
    return lambda count, name: other(count, name) if name in makers else usual(count)


def sizes() -> Iterator[Any]:
    """Every kind at every size; a usual run of the tests has each kind at one."""
    for count, name in itertools.product((4, 12, 40), KINDS):
        usual = count == (40 if name in HARD else 12)
        yield pytest.param(count, name, marks=() if usual else pytest.mark.soak)


@pytest.mark.parametrize(("count", "name"), list(sizes()))
def test_words_stand_apart_and_few_rows_in_colour(
    materials: Callable[[int, str], Material], count: int, name: str
) -> None:
    material = materials(count, name)
    with figure_settings():
        found = next((d for _, d in drawings(material, [name]) if isinstance(d, Drawn)), None)
        if found is None:
            assert count == 4
            assert name in ("pairs", "static-against-dynamic", "accuracy-by-option", "detection")
            return
        words = written(found)
    clash = [(a.text, b.text) for a, b in itertools.combinations(words, 2) if a.overlaps(b)]
    assert clash == []
    width, height = found.figure.get_size_inches() * found.figure.dpi
    for word in words:
        corners = word.corners()
        assert corners.min() > -SLACK, word.text
        assert corners[:, 0].max() < width + SLACK, word.text
        assert corners[:, 1].max() < height + SLACK, word.text
    for lines in leaders(found):
        assert not any(cross(a, b) for a, b in itertools.combinations(lines, 2))
    rows = {x for s in material.board.summaries for x in s.series}
    shown = coloured(found, rows)
    assert len(shown) <= MOST
    assert found.title.endswith("?") or "? " in found.title
    assert found.answer
    if count == 40:
        assert len(rows) >= 40 or name in ("score-x-sampler", "transfer")


def test_boards_have_as_many_methods_as_they_say() -> None:
    assert [len(set(names(k))) for k in (4, 12, 40)] == [4, 12, 40]


def test_names_beside_one_panel_keep_off_the_title() -> None:
    methods = ("full", "random", "small-loss", *(f"dynamic-method-{k}" for k in range(7)))
    board = build(kinded(grid(methods, noises=("clean",), seeds=(0, 1))))
    with figure_settings():
        (drawn,) = draw("static-against-dynamic", Material(board))
        words = written(drawn)
    assert [(a.text, b.text) for a, b in itertools.combinations(words, 2) if a.overlaps(b)] == []
