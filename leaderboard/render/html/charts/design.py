"""One design as its pictures see it: tables, looks of rows, and what is behind their points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from prunebench.leaderboard.board.model import Row, Summary, Table
from prunebench.leaderboard.findings import Finding
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.html.charts.looks import Look, looks
from prunebench.leaderboard.render.html.tooltips import TableFacts, Tips
from prunebench.leaderboard.render.short_names import shared_remark

#: What was found, and what it rests on.
Sentence = tuple[str, str]


@dataclass(frozen=True)
class Shade:
    """One cell of a heat map: its text, what it sorts by, class of its colour, tooltip."""

    text: str
    value: float | None
    tone: str
    tip: int | None


@dataclass(frozen=True)
class HeatMap:
    """A table with coloured cells; ``heads`` are (text, smaller text)."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Shade, ...]], ...]


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        key: Short name, for links.
        tab: What it is called.
        question: Its title.
        answer: What the tests of the board say to it.
        about: How it is read.
        panels: Its panels as SVG.
        heat: Its cells, where it is a heat map.
        zoom: Whether its panels can be zoomed.
    """

    key: str
    tab: str
    question: str
    answer: tuple[Sentence, ...]
    about: str
    panels: tuple[Markup, ...] = ()
    heat: HeatMap | None = None
    zoom: bool = True


@dataclass
class Design:
    """A summary with its tables.

    Attributes:
        summary: The design over its ratios.
        tables: Its tables by ratio.
        protocol: The protocol.
        tips: Receives the tooltips.
        found: Sentences of the board.
        id: Unique on the page.
        together: Names of the summaries over several designs that this one is part of.
    """

    summary: Summary
    tables: Sequence[Table]
    protocol: ProtocolFile
    tips: Tips
    found: Sequence[Finding]
    id: str
    together: tuple[str, ...] = ()

    @cached_property
    def looks(self) -> Mapping[str, Look]:
        """Look of every row."""
        return looks(self.summary)

    @cached_property
    def left_out(self) -> str:
        """What all remarks in brackets share, which names in pictures leave out."""
        return shared_remark(self.looks)

    @cached_property
    def words(self) -> str:
        """The headline metric in running text."""
        return words_of(self.protocol.metric)

    @cached_property
    def rows(self) -> dict[str, list[tuple[Table, Row]]]:
        """Tables and rows by label."""
        found: dict[str, list[tuple[Table, Row]]] = {label: [] for label in self.looks}
        for table in self.tables:
            for row in (*table.rows, *table.incomplete):
                found.setdefault(row.label, []).append((table, row))
        return found

    @cached_property
    def _facts(self) -> dict[float, TableFacts]:
        return {table.ratio: TableFacts(table, self.protocol) for table in self.tables}

    def cell_tip(self, table: Table, row: Row, place: int) -> int | None:
        """Tooltip of one cell, the one of the table."""
        return self.tips.cell(self._facts[table.ratio], row, place)

    def coloured(self, label: str) -> bool:
        """Whether a row is in colour at first."""
        return bool(self.looks[label].colour)
