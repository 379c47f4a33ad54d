"""Names beside lines instead of legends, moved apart where lines end close together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from prunebench.leaderboard.figures.row_styles import RowStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes


#: Points from one line of small text to the next.
LINE = 8.5
#: Letters of a name beside a panel; the middle of a longer one is left out.
MOST = 44


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves positions apart until neighbours keep the gap, as little as can be.

    Args:
        places: Wanted positions.
        gap: Least distance.
        low, high: Ends; the gap shrinks where all do not fit.
    """
    if not places:
        return []
    n = len(places)
    gap = min(gap, (high - low) / max(1, n - 1))
    order = sorted(range(n), key=lambda i: (places[i], i))
    # Subtracting i * gap turns "at least a gap apart" into "not decreasing": isotonic regression.
    blocks: list[tuple[float, int]] = []
    for i, index in enumerate(order):
        total, size = places[index] - i * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / size:
            before, count = blocks.pop()
            total, size = total + before, size + count
        blocks.append((total, size))
    flat = [total / size for total, size in blocks for _ in range(size)]
    top = high - (n - 1) * gap
    found = [0.0] * n
    for i, index in enumerate(order):
        found[index] = min(max(flat[i], low), top) + i * gap
    return found


def room_for(labels: Collection[str]) -> float:
    """Inches that the names right of a panel take."""
    return 0.65 + 0.058 * min(MOST, max(map(len, labels), default=0))


def panel_floor(values: Sequence[float]) -> float:
    """Where a panel of accuracies ends below: a collapsed row must not flatten all others.

    Args:
        values: Percent; at least one.

    Returns:
        The smallest value that lies no further below the best than six times the distance
        from the best to the (lower) median, or four points.
    """
    ordered = sorted(values)
    top, middle = ordered[-1], ordered[(len(ordered) - 1) // 2]
    edge = top - max(6.0 * (top - middle), 4.0)
    return min(v for v in ordered if v >= edge)


def fit_panel(axes: Axes, values: Sequence[float], above: int = 0, below: int = 0) -> float:
    """Sets the vertical limits to :func:`panel_floor` and the best, and leaves room for text.

    Args:
        axes: Panel of a figure that need not be laid out yet.
        values: What it shows.
        above, below: Lines of text at its upper and lower edge (``edge_lines``).

    Returns:
        The floor; what lies below it is to be named at the lower edge.
    """
    low, top = panel_floor(values), max(values)
    pad = max(0.08 * (top - low), 0.15)
    low_end, top_end = low - pad, top + pad
    height = before_layout(axes) * 72
    share = [min(0.35, (LINE * lines + 3 * bool(lines)) / height) for lines in (below, above)]
    scale = (top_end - low_end) / (1 - share[0] - share[1])
    axes.set_ylim(low_end - share[0] * scale, top_end + share[1] * scale)
    axes.set_yticks([y for y in axes.get_yticks() if low_end <= y <= top_end])
    axes.set_ylim(low_end - share[0] * scale, top_end + share[1] * scale)
    if below:  # lines to points below the panel end above the text
        axes.axhspan(low_end - share[0] * scale, low_end, color="white", lw=0, zorder=4)
    return low


def edge_lines(
    axes: Axes, x: float, lines: Sequence[tuple[str, str]], size: float, top: bool = False
) -> None:
    """Lines of (text, colour) above the lower edge of a panel, or below the upper one.

    Args:
        axes: The panel; ``fit_panel`` left the room.
        x: Their middle, in data units.
        lines: From the edge inwards.
        size: Points.
        top: Whether at the upper edge.
    """
    for place, (text, colour) in enumerate(lines):
        axes.annotate(
            text, (x, float(top)), xycoords=("data", "axes fraction"),
            xytext=(0, (-1 if top else 1) * (2 + LINE * place)), textcoords="offset points",
            ha="center", va="top" if top else "bottom", fontsize=size, color=colour, zorder=5,
        )  # fmt: skip


def whiskers(
    axes: Axes, x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str
) -> None:
    """Intervals as thin upright lines, which stay distinct where bands would overlap."""
    axes.vlines(x, low, high, color=colour, lw=0.8, alpha=0.45, zorder=2)


def before_layout(axes: Axes) -> float:
    """Inches that a panel will be high: title, caption, ticks and heads of panels taken off."""
    figure, spec = axes.get_figure(), axes.get_subplotspec()
    assert figure is not None
    assert spec is not None
    rows = spec.get_gridspec().nrows
    room = float(figure.get_figheight()) - 1.5  # type: ignore[union-attr]
    return max(0.5, room / rows - 0.25 * (rows > 1))


def _inches(axes: Axes) -> float:
    """Height of a panel that is laid out."""
    figure = axes.get_figure()
    assert figure is not None
    return float(axes.get_position().height * figure.get_figheight())  # type: ignore[union-attr]


def side_names(
    axes: Axes,
    ends: Mapping[str, tuple[float, float]],
    row_styles: Mapping[str, RowStyle],
    size: float = 7.5,
) -> None:
    """Names right of a panel with thin leaders to their points.

    A point below the panel is named with its value and an arrow down.

    Args:
        axes: Panel of a figure that is laid out, limits final.
        ends: Where each leader ends, in data units.
        row_styles: By label.
        size: Points.
    """
    height = _inches(axes) * 72
    low = axes.get_ylim()[0]
    labels = sorted(ends)
    to_share = axes.transData + axes.transAxes.inverted()
    shares = [float(to_share.transform((ends[x][0], max(ends[x][1], low)))[1]) for x in labels]
    places = spread(shares, 1.3 * size / height, 0.0, 1.0)
    last = max((x for x, _ in ends.values()), default=0.0)
    for label, place in zip(labels, places, strict=True):
        x, y = ends[label]
        if x < last and y >= low:  # leaders of one beginning keep their order, so none cross
            axes.plot([x, last], [y, y], color=row_styles[label].colour, lw=0.45, alpha=0.7,
                      ls=(0, (1, 3)), zorder=1)  # fmt: skip
            x = last
        name = label if len(label) <= MOST else f"{label[: MOST - 18]}…{label[-17:]}"
        text = axes.annotate(
            name if y >= low else f"{name}  {y:.1f} ▾", (x, max(y, low)), xytext=(1.05, place),
            textcoords="axes fraction", va="center", fontsize=size, annotation_clip=False,
            **row_styles[label].name,
            arrowprops={"arrowstyle": "-", "lw": 0.45, "color": row_styles[label].colour,
                        "alpha": 0.7, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)},
        )  # fmt: skip
        text.set_in_layout(False)
