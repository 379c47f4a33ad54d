"""Samples to an accuracy as a page of its own, in the style of the board's."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import target_findings
from prunebench.leaderboard.learning_curves.to_target import TargetTable, ToTarget
from prunebench.leaderboard.render.about import about
from prunebench.leaderboard.render.html.page import Section, render_page
from prunebench.leaderboard.render.html.page_table import (
    DOWN,
    NONE,
    PageCell,
    PageColumn,
    PageRow,
    PageTable,
)
from prunebench.leaderboard.render.html.tooltips import Fact, Tips
from prunebench.leaderboard.render.row_text import number
from prunebench.leaderboard.render.target_text import (
    cell_text,
    heading,
    percent,
    saved_text,
    scoring_text,
    target_lines,
)
from prunebench.leaderboard.stats import MedianInterval

TITLE = "Samples to an accuracy"


def render_target_html(board: Board, tables: Sequence[TargetTable]) -> str:
    """The page: a table for each (design, ratio, target), the figures behind a cell on pointing."""
    noises = sorted({n for own in tables for n in own.table.noises}, key=noise_order)
    tips = Tips()
    names = list(dict.fromkeys(own.table.dataset for own in tables))
    sections = [
        (name, [_section(own, target, f"{place}-{number}", noises, tips)
                for number, own in enumerate(tables) if own.table.dataset == name
                for target in own.targets])
        for place, name in enumerate(names)
    ]  # fmt: skip
    kinds = {one.kind for own in tables for one in own.found}
    said = target_findings(tables)
    title = f"{TITLE}: {about(board).text}"
    return render_page(board, sections, noises, tips, kinds, title, found=said)


def _section(
    own: TargetTable, target: float, place: str, noises: Sequence[str], tips: Tips
) -> Section:
    table, rows = own.table, own.of(target)
    columns = [PageColumn(noise, f"n{noises.index(noise)}") for noise in table.noises]
    columns.append(PageColumn("reached", first=DOWN, about="runs that reach the target"))
    charged = {label: scoring_text(found.values()) for label, found in rows.items()}
    scored = any(charged.values())
    columns += [PageColumn("saves with the scoring run", about="all of it charged")] * scored
    lines = []
    for label, found in rows.items():
        entries = [_cell(own, found.get(noise), tips) for noise in table.noises]
        reached = [sum(getattr(one, name) for one in found.values()) for name in ("reached", "n")]
        share = float(reached[0]) / reached[1] if reached[1] else None
        entries.append(PageCell(f"{reached[0]}/{reached[1]}", share))
        entries += [PageCell(charged[label] or "-")] * scored
        kind = next(iter(found.values())).kind
        flags = ("control",) if kind == "control" else ()
        lines.append(PageRow(label, kind, flags, tuple(entries), reference=kind == "full"))
    return Section(
        id=f"{re.sub(r'[^a-z0-9]+', '-', table.dataset.lower()).strip('-') or 'data'}-{place}"
        f"-{percent(target).replace('.', '-')}",
        title=heading(own, target),
        caption=f"Samples trained until {percent(target)} % of full training's final accuracy, "
        "median over seeds, and what that saves against full training",
        ratio=f"{table.ratio:g}",
        link=f"ratio {table.ratio:g}, {percent(target)} %",
        about=(),
        page_table=PageTable("method", tuple(columns), tuple(lines)),
        notes=tuple(target_lines(own)),
    )


def _cell(own: TargetTable, found: ToTarget | None, tips: Tips) -> PageCell:
    if found is None or not found.n:
        return PageCell(cell_text(found), tone="none") if found else NONE
    samples = found.spent or found.trained
    value = samples.median if samples and math.isfinite(samples.median) else None
    title = f"{found.label} · {found.noise} · ratio {own.table.ratio:g}"
    tip = tips.add(title, _facts(found))
    return PageCell(cell_text(found), value, tip=tip, tone="" if value is not None else "none")


def _facts(found: ToTarget) -> list[Fact]:
    goal = "" if found.accuracy is None else f"{number(100 * found.accuracy, 2)} %"
    charged = found.share_with_scoring
    return [
        ("accuracy to reach, mean", goal),
        ("reached by", f"{found.reached} of {found.n} runs"),
        ("epochs", spread_text(found.epochs, 0)),
        ("trained samples", spread_text(found.trained, 0)),
        ("with forward-only passes", spread_text(found.spent, 0)),
        ("saves", saved_text(found.share)),
        ("saves, scoring run counted", saved_text(charged) if charged != found.share else ""),
        ("seconds", spread_text(found.seconds, 1)),
        ("measured on", found.machine),
        ("without a curve", ", ".join(f"{count} {reason}" for reason, count in found.lacking)),
    ]


def spread_text(found: MedianInterval | None, digits: int) -> str:
    """A median with its interval; infinite values as ``not reached``."""
    if found is None:
        return ""
    if math.isinf(found.median):
        return "not reached"
    text = number(found.median, digits)
    if found.low is None or found.high is None:
        return text
    high = "not reached" if math.isinf(found.high) else number(found.high, digits)
    return f"{text} [{number(found.low, digits)}, {high}]"
