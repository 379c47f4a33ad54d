"""Pictures of cells: accuracy against ratio or noise, and wrong labels among the kept samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from markupsafe import Markup

from prunebench.leaderboard.board.model import Row, Table, TableCell
from prunebench.leaderboard.render.html.charts.answers import answer, untested
from prunebench.leaderboard.render.html.charts.axis import Axis, linear, plain, view
from prunebench.leaderboard.render.html.charts.design import Design, Picture
from prunebench.leaderboard.render.html.charts.panel import Mark, Panel, draw
from prunebench.leaderboard.render.row_text import reference_words
from prunebench.record import AND

Lines = Mapping[str, Sequence[Mark]]
#: A mean and half the width of its interval.
Spread = tuple[float, float | None]
Value = Callable[[TableCell], Spread | None]

_BARS = "bars: 95 % t intervals over seeds, where there are three or more"


def by_ratio(design: Design) -> Picture | None:
    """Accuracy against the share of training saved, a panel each setting; None for one ratio."""
    ratios = sorted(table.ratio for table in design.tables)
    if len(ratios) < 2:
        return None
    room = (ratios[-1] - ratios[0]) * 0.06
    ticks = tuple((ratio, plain(ratio)) for ratio in ratios)
    x = Axis("ratio: share of training saved", ratios[0] - room, ratios[-1] + room, ticks=ticks)
    panels = []
    for noise in design.summary.noises:
        lines = {label: [mark for table, row in places for mark in _marks(
                     design, table, row, table.ratio, noise, _accuracy)]
                 for label, places in design.rows.items()}  # fmt: skip
        panels.append((noise, x, lines))
    return Picture(
        "ratio", "By ratio", f"How much {design.words} is left when less is trained?",
        answer(design, "no loss", "random choice"),
        f"Mean {design.words} over seeds in percent; {_BARS}.",
        _drawn(design, "ratio", panels, f"{design.words}, %"),
    )  # fmt: skip


def by_noise(design: Design) -> Picture | None:
    """Differences to the reference row by setting, a panel for each ratio; None for one setting or
    without that row."""
    if len(design.summary.noises) < 2:
        return None
    reference = reference_words(design.tables[0].reference)
    panels = _settings(design, design.summary.noises, _difference)
    if not any(lines for _, _, lines in panels):
        return None
    beside = any(AND in setting for setting in design.summary.noises)
    does = "do noise, imbalance and corruption" if beside else "does noise"
    return Picture(
        "noise",
        "By noise",
        f"What {does} do to the gap to {reference}?",
        answer(design, "noise", "no loss"),
        f"Mean paired difference of {design.words} to {reference} in points, which is the dotted "
        f"line; lines join the settings of a row and mean nothing between them; {_BARS}.",
        _drawn(design, "noise", panels, f"difference of {design.words}, points", level=0.0),
    )


def kept_noise(design: Design) -> Picture | None:
    """Wrong labels among the kept samples by setting; None where no run counts them."""
    noises = [noise for noise in design.summary.noises if _has_wrong(design, noise)]
    panels = _settings(design, noises, _kept) if noises else []
    if not any(lines for _, _, lines in panels):
        return None
    return Picture(
        "kept", "Noise kept", "How many of the kept samples have wrong labels?",
        untested("No test of the board is about this picture: it shows means and intervals."),
        "Wrong labels among the trained samples in percent, mean over seeds; whoever chooses at "
        f"random keeps the share that the data have; {_BARS}.",
        _drawn(design, "kept", panels, "wrong labels, %"),
    )  # fmt: skip


def _accuracy(cell: TableCell) -> Spread | None:
    return cell.accuracy.mean, cell.accuracy.half_width


def _difference(cell: TableCell) -> Spread | None:
    found = cell.difference
    return None if found is None else (found.mean, found.half_width)


def _kept(cell: TableCell) -> Spread | None:
    found = cell.kept_noise
    if found is None:
        return None
    return 100 * found.mean, None if found.half_width is None else 100 * found.half_width


def _has_wrong(design: Design, noise: str) -> bool:
    return any(
        cell.kept_noise is not None and cell.kept_noise.mean > 0
        for table in design.tables if noise in table.noises
        for row in (*table.rows, *table.incomplete)
        if (cell := row.cells[table.noises.index(noise)]) is not None
    )  # fmt: skip


def _settings(design: Design, noises: Sequence[str], value: Value) -> list[tuple[str, Axis, Lines]]:
    """A panel for each ratio, settings side by side."""
    ticks = tuple((float(place), noise) for place, noise in enumerate(noises))
    x = Axis("setting", -0.35, len(noises) - 0.65, ticks=ticks, turned=True)
    panels: list[tuple[str, Axis, Lines]] = []
    for table in design.tables:
        lines = {label: [mark for at, row in places if at is table
                         for place, noise in enumerate(noises)
                         for mark in _marks(design, at, row, float(place), noise, value)]
                 for label, places in design.rows.items()}  # fmt: skip
        panels.append((f"ratio {table.ratio:g}", x, {k: v for k, v in lines.items() if v}))
    return panels


def _marks(
    design: Design, table: Table, row: Row, x: float, noise: str, value: Value
) -> Iterable[Mark]:
    if noise not in table.noises:
        return
    column = table.noises.index(noise)
    cell = row.cells[column]
    found = None if cell is None else value(cell)
    if found is None:
        return
    mean, half = found
    low, high = (None, None) if half is None else (mean - half, mean + half)
    yield Mark(x, mean, low, high, tip=design.cell_tip(table, row, column))


def _drawn(
    design: Design,
    key: str,
    panels: Sequence[tuple[str, Axis, Lines]],
    y_name: str,
    level: float | None = None,
) -> tuple[Markup, ...]:
    found: list[Markup] = []
    for title, x, lines in panels:
        every = [mark.y for marks in lines.values() for mark in marks]
        if not every:
            continue
        shown = [mark.y for label, marks in lines.items() if design.coloured(label)
                 for mark in marks]  # fmt: skip
        known = view(shown, every)
        y = linear(y_name, known if level is None else (*known, level))
        panel = Panel(title, x, y, lines, level=level, dodge=True)
        found.append(draw(panel, design.looks, f"{design.id}-{key}-{len(found)}"))
    return tuple(found)
