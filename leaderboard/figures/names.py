"""Names beside lines instead of legends, moved apart where lines end close together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from prunebench.leaderboard.figures.looks import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def panel_floor(values: Sequence[float]) -> float:
    """Where a panel of accuracies ends below: a collapsed row must not flatten all others.

    Args:
        values: Percent; at least one.

    Returns:
        The smallest value that lies no further below the best than six times the distance
        from the best to the median, or four points.
    """
    ordered = sorted(values)
    top, middle = ordered[-1], ordered[len(ordered) // 2]
    edge = top - max(6.0 * (top - middle), 4.0)
    return min(v for v in ordered if v >= edge)


def fit_panel(axes: Axes, values: Sequence[float]) -> float:
    """Sets the vertical limits to :func:`panel_floor` and the best; returns the floor."""
    low, top = panel_floor(values), max(values)
    pad = max(0.08 * (top - low), 0.15)
    axes.set_ylim(low - pad, top + pad)
    return low


def side_names(
    axes: Axes,
    ends: Mapping[str, tuple[float, float]],
    looks: Mapping[str, Look],
    bold: Collection[str] = (),
    size: float = 7.5,
) -> None:
    """Names right of a panel with thin leaders to their points.

    A point below the panel is named with its value and an arrow down.

    Args:
        axes: Panel of a figure that is laid out, limits final.
        ends: Where each leader ends, in data units.
        looks: By label.
        bold: Labels in bold.
        size: Points.
    """
    figure = axes.get_figure()
    assert figure is not None
    height = axes.get_position().height * figure.get_figheight() * 72  # type: ignore[union-attr]
    low = axes.get_ylim()[0]
    labels = sorted(ends)
    to_share = axes.transData + axes.transAxes.inverted()
    shares = [float(to_share.transform((ends[x][0], max(ends[x][1], low)))[1]) for x in labels]
    places = spread(shares, 1.3 * size / height, 0.0, 1.0)
    for label, place in zip(labels, places, strict=True):
        x, y = ends[label]
        text = axes.annotate(
            label if y >= low else f"{label}  {y:.1f} ▾", (x, max(y, low)), xytext=(1.05, place),
            textcoords="axes fraction", va="center", fontsize=size, color=looks[label].text,
            fontweight="bold" if label in bold else "normal", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.45, "color": looks[label].colour, "alpha": 0.7,
                        "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)},
        )  # fmt: skip
        text.set_in_layout(False)
