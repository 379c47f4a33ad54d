"""One panel of a picture: rows as points, lines and intervals between two axes, as SVG.

The same numbers stand in its attributes, so that ``charts.js`` can zoom and name other rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from prunebench.leaderboard.render.html.charts.axis import Axis, pixel
from prunebench.leaderboard.render.html.charts.looks import Look, drawn_order
from prunebench.leaderboard.render.short_names import short_names

#: Size of a panel and of its plot, in the units of its view box.
WIDTH, HEIGHT = 420.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 236.0, 24.0, 212.0
#: Where the plot of a panel with turned names ends, and least distance of two names of rows.
TURNED_BOTTOM, GAP = 176.0, 13.0
#: Distance of rows that stand side by side.
ASIDE = 1.7
#: Signs of a name that the room beside the plot takes, and of one below it.
LONGEST, LONGEST_BELOW = 25, 17


@dataclass(frozen=True)
class Mark:
    """One point of a row.

    Attributes:
        x, y: Where it is, in values of the axes.
        low, high: Ends of its interval upwards.
        start: Left end of its bar, where it has one.
        tip: What is behind it.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    start: float | None = None
    tip: int | None = None


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Above it.
        x, y: Axes.
        lines: Points by row, from left to right; a line joins them.
        front: Corners of a line over all rows.
        level: Height of a line across the plot.
        dots: Whether all points are drawn, or the last one of each row.
        dodge: Whether rows in colour stand side by side, so that their intervals can be told apart.
    """

    title: str
    x: Axis
    y: Axis
    lines: Mapping[str, Sequence[Mark]]
    front: Sequence[tuple[float, float]] = ()
    level: float | None = None
    dots: bool = True
    dodge: bool = False

    @property
    def bottom(self) -> float:
        """Pixel of the lower end of the plot."""
        return TURNED_BOTTOM if self.x.turned else BOTTOM

    def place(self, x: float, y: float, aside: float = 0.0) -> tuple[float, float]:
        """Pixels of a point that is moved to the right."""
        return self.x.at(x, LEFT, RIGHT) + aside, self.y.at(y, self.bottom, TOP)

    def asides(self, looks: Mapping[str, Look]) -> dict[str, float]:
        """Pixels by which each row is moved to the right."""
        shown = sorted(
            (label for label in self.lines if self.dodge and looks[label].colour),
            key=lambda label: looks[label].place,
        )
        middle = (len(shown) - 1) / 2
        return {label: (place - middle) * ASIDE for place, label in enumerate(shown)}


def draw(panel: Panel, looks: Mapping[str, Look], id: str) -> Markup:
    """The panel as an ``svg`` element.

    Args:
        panel: What it shows.
        looks: Look of every row of the design.
        id: Unique on the page.
    """
    x, y, bottom = panel.x, panel.y, panel.bottom
    order = [label for label in drawn_order(looks) if panel.lines.get(label)]
    parts = [
        f'<svg class="panel" viewBox="0 0 {pixel(WIDTH)} {pixel(HEIGHT)}" role="img" '
        f'aria-label="{escape(panel.title)}: {escape(y.name)} against {escape(x.name)}" '
        f'data-x="{x.low:.8g} {x.high:.8g}{" log" * x.log}{" fixed" * x.turned}" '
        f'data-y="{y.low:.8g} {y.high:.8g}" data-bottom="{pixel(bottom)}">',
        f'<clipPath id="{id}"><path d="M{pixel(LEFT - 5)} {pixel(TOP - 5)}H{pixel(RIGHT + 5)}'
        f'V{pixel(bottom + 5)}H{pixel(LEFT - 5)}z"/></clipPath>',
        f'<text class="panel-title" x="0" y="12">{escape(panel.title)}</text>',
        f'<g class="ticks y">{"".join(_y_ticks(panel))}</g>',
        f'<g class="ticks x">{"".join(_x_ticks(panel))}</g>',
        f'<path class="frame" d="M{pixel(LEFT)} {pixel(TOP)}V{pixel(bottom)}H{pixel(RIGHT)}"/>',
        _name_below(x),
        f'<g clip-path="url(#{id})">',
    ]
    if panel.front:
        parts.append(f'<g class="zoom"><path class="front" d="{_path(panel, panel.front)}"/></g>')
    if panel.level is not None:
        ends = ((x.low, panel.level), (x.high, panel.level))
        parts.append(f'<g class="zoom"><path class="front" d="{_path(panel, ends)}"/></g>')
    asides = panel.asides(looks)
    parts += [_row(panel, label, looks[label], asides.get(label, 0.0)) for label in order]
    parts.append("</g>")
    parts += _names(panel, looks, order, asides)
    parts.append("</svg>")
    return Markup("".join(parts))


def _name_below(x: Axis) -> str:
    """Name of an axis; turned texts leave no room for it and need none."""
    place = f'x="{pixel(LEFT)}" y="{pixel(HEIGHT - 6)}"'
    return "" if x.turned else f'<text class="axis" {place}>{escape(x.name)}</text>'


def spread(heights: Sequence[float], low: float, high: float, gap: float = GAP) -> list[float]:
    """Heights moved apart in their order, so that none is nearer than ``gap`` to the next; between
    ``low`` and ``high`` as far as they fit."""
    found = list(heights)
    order = sorted(range(len(found)), key=lambda place: found[place])
    above = low - gap
    for place in order:
        found[place] = above = max(found[place], above + gap)
    below = high + gap
    for place in reversed(order):
        found[place] = below = min(found[place], below - gap)
    return found


def shortened(label: str, most: int = LONGEST_BELOW) -> str:
    """A name as it fits below a plot."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _row(panel: Panel, label: str, look: Look, aside: float) -> str:
    marks = panel.lines[label]
    moved = []
    if len(marks) > 1:
        moved.append(f'<path class="line" d="{_path(panel, [(m.x, m.y) for m in marks], aside)}"/>')
    bars = "".join(_bars(panel, marks, aside))
    if bars:
        moved.append(f'<path class="ci" d="{bars}"/>')
    shapes = []
    for mark in marks if panel.dots else marks[-1:]:
        px, py = panel.place(mark.x, mark.y, aside)
        tip = "" if mark.tip is None else f' data-tip="{mark.tip}"'
        shapes.append(f'<use href="#{look.sign}" x="{pixel(px)}" y="{pixel(py)}"{tip}/>')
    inner = f'<g class="zoom">{"".join(moved)}</g>' if moved else ""
    classes = f" {look.classes}" * bool(look.classes)
    title = f"<title>{escape(label)}</title>"
    return f'<g class="row{classes}" data-row="{look.place}">{title}{inner}{"".join(shapes)}</g>'


def _bars(panel: Panel, marks: Iterable[Mark], aside: float) -> Iterable[str]:
    for mark in marks:
        px, py = panel.place(mark.x, mark.y, aside)
        if mark.low is not None and mark.high is not None:
            low, high = (panel.place(mark.x, v)[1] for v in (mark.low, mark.high))
            yield f"M{pixel(px)} {pixel(low)}V{pixel(high)}"
        if mark.start is not None:
            yield f"M{pixel(panel.place(mark.start, mark.y)[0])} {pixel(py)}H{pixel(px)}"


def _path(panel: Panel, points: Iterable[tuple[float, float]], aside: float = 0.0) -> str:
    places = [panel.place(*point, aside) for point in points]
    return "M" + "L".join(f"{pixel(px)} {pixel(py)}" for px, py in places)


def _names(
    panel: Panel, looks: Mapping[str, Look], order: Sequence[str], asides: Mapping[str, float]
) -> list[str]:
    """Names of all rows, those of pale ones unseen until they are pointed at."""
    shown = [label for label in order if looks[label].colour]
    ends = {label: panel.place(end.x, end.y, asides.get(label, 0.0))
            for label in order for end in panel.lines[label][-1:]}  # fmt: skip
    high = panel.bottom
    heights = spread([min(max(ends[label][1], TOP), high) for label in shown], TOP, high)
    at = dict(zip(shown, heights, strict=True))
    names = short_names(looks, LONGEST)
    found = []
    for label in order:
        look, (px, py) = looks[label], ends[label]
        y = at.get(label, min(max(py, TOP), high))
        lead = f"M{pixel(px)} {pixel(py)}H{pixel(RIGHT)}L{pixel(RIGHT + 9)} {pixel(y)}"
        classes = f" {look.classes}" * bool(look.classes)
        found.append(
            f'<g class="name{classes}" data-row="{look.place}"><title>{escape(label)}</title>'
            f'<path class="lead" d="{lead}"/>'
            f'<use href="#{look.sign}" x="{pixel(RIGHT + 14)}" y="{pixel(y)}"/>'
            f'<text x="{pixel(RIGHT + 21)}" y="{pixel(y + 4)}">{escape(names[label])}</text></g>'
        )
    return found


def _y_ticks(panel: Panel) -> Iterable[str]:
    for place, text in panel.y.marked():
        py = pixel(panel.y.at(place, panel.bottom, TOP))
        yield (f'<path d="M{pixel(LEFT)} {py}H{pixel(RIGHT)}"/>'
               f'<text x="{pixel(LEFT - 6)}" y="{pixel(float(py) + 4)}">{text}</text>')  # fmt: skip


def _x_ticks(panel: Panel) -> Iterable[str]:
    for place, text in panel.x.marked(5):
        px, py = pixel(panel.x.at(place, LEFT, RIGHT)), panel.bottom
        line = f'<path d="M{px} {pixel(TOP)}V{pixel(py)}"/>'
        if panel.x.turned:
            yield (f'{line}<text class="turned" transform="translate({px} {pixel(py + 12)}) '
                   f'rotate(-42)">{escape(shortened(text))}</text>')  # fmt: skip
        else:
            yield f'{line}<text x="{px}" y="{pixel(py + 15)}">{escape(text)}</text>'
