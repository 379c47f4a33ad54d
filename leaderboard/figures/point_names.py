"""Names beside points of a scatter: near them, over nothing else, their leaders not crossed."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prunebench.leaderboard.figures.row_styles import RowStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: (left, low, right, high) in pixels.
Box = tuple[float, float, float, float]
Point = tuple[float, float]
#: Distances of a name from its point in points, and directions tried at each; to the right first.
_RINGS = (7.0, 12.0, 18.0, 26.0, 36.0, 48.0, 62.0, 80.0, 100.0, 125.0, 155.0)
_TURNS = (0, 1, -1, 2, -2, 7, -7, 8, 3, -3, 6, -6, 4, -4, 5, -5)
#: A name farther away than this has a leader, and one that is about as near to another mark.
_NEAR = 9.0
_CLEARER = 2.0
_SIZE = 7.5
#: Cost from which a name crosses another one or its leader, and how often all are looked at.
_BAD, _TURNS_OF_ALL = 2e3, 4
#: Letters of a line of a name, and its lines.
MOST, LINES = 26, 3


def short(name: str) -> str:
    """A name that fits beside a point."""
    return "\n".join(textwrap.wrap(name, MOST, max_lines=LINES, placeholder=" …"))


def name_points(
    axes: Axes,
    points: Mapping[str, Point],
    styles: Mapping[str, RowStyle],
    covered: Sequence[tuple[Point, Point]] = (),
) -> None:
    """Writes the name of each point where it covers no other name, mark or bar.

    Names are placed one after the other, those with most neighbours first; each takes the nearest
    free place, or, where none is free, the one that covers least. Names that then cross others
    are placed again.

    Args:
        axes: Panel of a figure that is laid out, limits final.
        points: In data units.
        styles: By label.
        covered: Bars that names keep off, by their ends in data units.
    """
    figure: Any = axes.get_figure(root=True)
    renderer = figure.canvas.get_renderer() if hasattr(figure.canvas, "get_renderer") else None
    if renderer is None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    scale = figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    at = {x: _pixels(axes, points[x]) for x in points}
    busy = [(300.0, _around(p, 3.6 * scale)) for p in at.values()]
    busy += [(60.0, _bar(_pixels(axes, a), _pixels(axes, b), scale)) for a, b in covered]
    texts, sizes = {}, {}
    for label, point in points.items():
        text = axes.annotate(short(label), point, xytext=(0, 0), fontsize=_SIZE, linespacing=1.0,
                             textcoords="offset points", ha="center", va="center", zorder=6,
                             annotation_clip=False, **styles[label].name)  # fmt: skip
        text.set_in_layout(False)
        extent = text.get_window_extent(renderer)
        texts[label], sizes[label] = text, (extent.width + 2 * scale, extent.height + scale)
    for label, box in _placed(at, sizes, frame, busy, scale).items():
        p, end = at[label], _end(box, at[label])
        texts[label].xyann = _offset(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), p, scale)
        if _led(box, p, _foreign(at, label), scale):
            axes.annotate("", points[label], xytext=_offset(end, p, scale), zorder=5,
                          textcoords="offset points", annotation_clip=False,
                          arrowprops={"arrowstyle": "-", "lw": 0.6, "color": styles[label].colour,
                                      "shrinkA": 0, "shrinkB": 3}).set_in_layout(False)  # fmt: skip


def _placed(
    at: Mapping[str, Point], sizes: Mapping[str, Point], frame: Any,
    busy: Sequence[tuple[float, Box]], scale: float,
) -> dict[str, Box]:  # fmt: skip
    """The place of every name: one after the other, then anew those that still stand badly."""
    order = sorted(at, key=lambda x: (-sum(math.dist(at[x], p) < 40 * scale for p in at.values()),
                                      -at[x][1], x))  # fmt: skip
    found: dict[str, Box] = {}
    foreign = {x: _foreign(at, x) for x in at}

    def cost(label: str, box: Box) -> float:
        taken = [other for x, other in found.items() if x != label]
        leaders = [(at[x], _end(other, at[x])) for x, other in found.items()
                   if x != label and _led(other, at[x], foreign[x], scale)]  # fmt: skip
        return round(_cost(box, at[label], foreign[label], busy, taken, leaders, scale), 3)

    best, least = found, math.inf
    for turn in range(_TURNS_OF_ALL):
        open_ = [x for x in order if turn == 0 or cost(x, found[x]) >= _BAD]
        if not open_:
            break
        for label in open_:
            found.pop(label, None)
        for label in reversed(open_) if turn % 2 else open_:
            places = _places(at[label], sizes[label], frame, scale)
            found[label] = min(places, key=lambda box, label=label: cost(label, box))  # type: ignore[misc]
        total = math.fsum(cost(x, box) for x, box in found.items())
        if total < least:
            best, least = dict(found), total
    return best


def _offset(end: Point, p: Point, scale: float) -> Point:
    """From a point to another in points of type."""
    return round((end[0] - p[0]) / scale, 1), round((end[1] - p[1]) / scale, 1)


def _pixels(axes: Axes, point: Point) -> Point:
    x, y = axes.transData.transform(point)
    return float(x), float(y)


def _around(p: Point, half: float) -> Box:
    return p[0] - half, p[1] - half, p[0] + half, p[1] + half


def _bar(a: Point, b: Point, scale: float) -> Box:
    return (min(a[0], b[0]) - scale, min(a[1], b[1]) - scale, max(a[0], b[0]) + scale,
            max(a[1], b[1]) + scale)  # fmt: skip


def _places(p: Point, size: Point, frame: Any, scale: float) -> Iterator[Box]:
    """Boxes around a point that lie within the panel, nearest first."""
    wide, high = size[0] / 2, size[1] / 2
    for ring in _RINGS:
        for turn in _TURNS:
            dx, dy = math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)
            # The edge of the box, not its middle, is so far away; boxes above and below may slide.
            for slide in (0.0, -0.9, 0.9) if abs(dx) < 0.2 else (math.copysign(1.0, dx),):
                up = 0.0 if abs(dy) < 0.2 else math.copysign(1.0, dy)
                x = p[0] + dx * ring * scale + wide * slide
                y = p[1] + dy * ring * scale + high * up
                x = min(max(x, frame.x0 + wide), max(frame.x0 + wide, frame.x1 - wide))
                y = min(max(y, frame.y0 + high), max(frame.y0 + high, frame.y1 - high))
                yield x - wide, y - high, x + wide, y + high


def _overlap(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _end(box: Box, p: Point) -> Point:
    """The point of a box that is nearest to a point."""
    return min(max(p[0], box[0]), box[2]), min(max(p[1], box[1]), box[3])


def _foreign(at: Mapping[str, Point], label: str) -> list[Point]:
    """Marks of other names, without those at the very place of the own one."""
    return [p for x, p in at.items() if x != label and math.dist(p, at[label]) >= 1]


def _nearer(box: Box, p: Point, foreign: Sequence[Point], scale: float) -> int:
    """How many foreign marks are nearer to a name than its own, or about as near."""
    own = math.dist(_end(box, p), p) + _CLEARER * scale
    return sum(math.dist(_end(box, q), q) < own for q in foreign)


def _led(box: Box, p: Point, foreign: Sequence[Point], scale: float) -> bool:
    """Whether a name needs a leader to its mark."""
    return math.dist(_end(box, p), p) > _NEAR * scale or _nearer(box, p, foreign, scale) > 0


def _cost(
    box: Box, p: Point, foreign: Sequence[Point], busy: Sequence[tuple[float, Box]],
    taken: Sequence[Box], leaders: Sequence[tuple[Point, Point]], scale: float,
) -> float:  # fmt: skip
    """How bad a place is: names over names worst, then crossings, marks, distance."""
    end = _end(box, p)
    total = 2.5 * math.dist(end, p)
    total += sum(1e5 + _overlap(box, other) for other in taken if _overlap(box, other))
    total += sum(weight for weight, other in busy if _overlap(box, other))
    total += 150.0 * _nearer(box, p, foreign, scale)
    if _led(box, p, foreign, scale):
        total += sum(200.0 for q in foreign if _through((p, end), _around(q, 2.5 * scale)))
        total += sum(2e3 for other in leaders if _cross((p, end), other))
        total += sum(5e3 for other in taken if _through((p, end), other))
    total += sum(5e3 for line in leaders if _through(line, box))
    return total


def _cross(a: tuple[Point, Point], b: tuple[Point, Point]) -> bool:
    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return (side(*a, b[0]) * side(*a, b[1]) < 0) and (side(*b, a[0]) * side(*b, a[1]) < 0)


def _through(line: tuple[Point, Point], box: Box) -> bool:
    """Whether a line runs through a box."""
    left, low, right, high = box
    inside = [left < x < right and low < y < high for x, y in line]
    sides = (((left, low), (right, high)), ((left, high), (right, low)))
    return any(inside) or any(_cross(line, side) for side in sides)
