"""The page's tables of subsets that one network chose and several train."""

from __future__ import annotations

import re

from prunebench.leaderboard.board.collect import FULL
from prunebench.leaderboard.inference.transfer import Transfer
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.html.page_table import (
    NONE,
    PageCell,
    PageColumn,
    PageRow,
    PageTable,
)
from prunebench.leaderboard.render.html.tooltips import Tips, comparison_facts
from prunebench.leaderboard.render.transfer_text import (
    cell_heads,
    cell_rows,
    lead_facts,
    lead_heads,
)
from prunebench.record import AND

_NUMBER = re.compile(r"[+-]?\d+\.\d+")


def cells_table(found: Transfer) -> PageTable:
    """Accuracies and differences by noise setting, ratio and network."""
    noise, *others = cell_heads(found)
    columns = (PageColumn(noise, text=True), *(PageColumn(head) for head in others))
    lines = [
        PageRow(name, FULL if name == FULL else "method", (),
                (_setting(texts[0]), *map(_number, texts[1:])))
        for name, texts in cell_rows(found)
    ]  # fmt: skip
    return PageTable("method", columns, tuple(lines))


def leads_table(found: Transfer, protocol: ProtocolFile, tips: Tips) -> PageTable | None:
    """Leads over random choice and their change; None without one."""
    heads = lead_heads(found)
    words = (heads[0], heads[-1] if found.home else "")
    columns = tuple(PageColumn(head, text=head in words) for head in heads)
    lines = []
    for one in found.carried:
        cells = [PageCell(one.network, one.network)]
        for text, comparison in lead_facts(found, one):
            if comparison is None:
                cells.append(NONE)
                continue
            name = f"{comparison.a} - {comparison.b}"
            tip = tips.add(name, comparison_facts(comparison, protocol))
            cells.append(PageCell(text, comparison.pooled.mean, tip=tip))
        verdict = one.verdict or "-"
        cells += [PageCell(verdict, verdict)] * found.home
        lines.append(PageRow(one.method, "method", (), tuple(cells)))
    return PageTable("method", columns, tuple(lines)) if lines else None


def _setting(name: str) -> PageCell:
    """Name of a setting, which takes several lines where it has several parts."""
    return PageCell(name, name, tone="prose" * (AND in name))


def _number(text: str) -> PageCell:
    """A text that sorts by the number that it begins with."""
    found = _NUMBER.match(text) or re.match(r"\d+", text)
    return PageCell(text, float(found[0])) if found else NONE
