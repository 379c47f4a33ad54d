"""The page's tables of rows with AlignPrune: random choice, and what the clean samples buy."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.inference.align_controls import AlignControls
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.align_text import (
    aligned_labels,
    compared,
    random_cells,
    random_heads,
    use_cells,
    use_heads,
)
from prunebench.leaderboard.render.html.page_table import (
    DOWN,
    NONE,
    PageCell,
    PageColumn,
    PageRow,
    PageTable,
)
from prunebench.leaderboard.render.html.tooltips import Tips, comparison_facts


def random_table(
    summary: Summary, controls: AlignControls, protocol: ProtocolFile, tips: Tips
) -> PageTable | None:
    """Rows with AlignPrune minus random choice; None where no row has one beside it."""
    noises = summary.noises
    lines = []
    for row in compared(controls):
        found = [(row.by_noise or {}).get(noise) for noise in noises]
        values = [row.ratio, row.realised, row.control_realised, *map(_mean, [*found, row.pooled])]
        facts = [None, None, None, *found, row.pooled]
        cells = _cells(random_cells(row, noises)[:-1], values, facts, protocol, tips)
        lines.append(PageRow(row.label, "method", (), (*cells, PageCell(row.ahead, row.ahead))))
    columns = _columns(random_heads(noises), words=1)
    return PageTable("row", columns, tuple(lines)) if lines else None


def clean_table(
    summary: Summary, controls: AlignControls, protocol: ProtocolFile, tips: Tips
) -> PageTable | None:
    """Rows that use the clean samples; None where those with AlignPrune are the only ones."""
    noises, align = summary.noises, aligned_labels(controls)
    lines = []
    for use in controls.clean_uses:
        means = [use.accuracy[noise].mean if noise in use.accuracy else None for noise in noises]
        found = [use.against.get(label) for label in align]
        values = [use.ratio, use.samples and use.samples[0], use.compute, *means,
                  *map(_mean, found)]  # fmt: skip
        facts = [None] * (3 + len(noises)) + found
        *texts, words = use_cells(use, controls, noises)
        cells = (*_cells(texts, values, facts, protocol, tips), PageCell(words, words))
        lines.append(PageRow(use.label, "method", (), cells))
    columns = _columns(use_heads(controls, noises), words=1)
    return PageTable("row", columns, tuple(lines)) if lines else None


def _columns(heads: Sequence[str], words: int) -> tuple[PageColumn, ...]:
    last = len(heads) - words
    return tuple(PageColumn(head, text=place >= last, first="ascending" if place >= last else DOWN)
                 for place, head in enumerate(heads))  # fmt: skip


def _cells(
    texts: Sequence[str],
    values: Sequence[float | None],
    facts: Sequence[Comparison | None],
    protocol: ProtocolFile,
    tips: Tips,
) -> list[PageCell]:
    made = []
    for text, value, found in zip(texts, values, facts, strict=True):
        if value is None:
            made.append(NONE)
            continue
        name = "" if found is None else f"{found.a} - {found.b}"
        tip = tips.add(name, comparison_facts(found, protocol)) if found is not None else None
        made.append(PageCell(text, float(value), tip=tip))
    return made


def _mean(found: Comparison | None) -> float | None:
    return None if found is None else found.pooled.mean
