"""A table of the page as data: columns, lines and entries."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.render.row_text import number, record_of
from prunebench.record import AND

#: A mean in points with the ends of its interval, where there is one.
Difference = tuple[float, float | None, float | None]


@dataclass(frozen=True)
class Bar:
    """A difference as a bar from zero, with its interval; places in percent of the picture.

    ``below`` and ``above`` say that it goes on beyond that end of the picture.
    """

    zero: float
    mean: float
    low: float | None
    high: float | None
    below: bool = False
    above: bool = False

    @property
    def places(self) -> dict[str, str]:
        """Numbers as the picture names them: ``zero``, ``left``, ``width``, ``low``, ``high``; and
        ``below`` and ``above``, empty where the bar ends inside."""
        left, right = min(self.zero, self.mean), max(self.zero, self.mean)
        found = {"zero": self.zero, "left": left, "width": right - left, "low": self.low,
                 "high": self.high}  # fmt: skip
        known = {name: number(value, 1) for name, value in found.items() if value is not None}
        return {**known, "below": "1" * self.below, "above": "1" * self.above}


@dataclass(frozen=True)
class PageCell:
    """One cell: ``lead text^raised spread signs bar``.

    ``value`` is what it sorts by, if anything; of the parts after the text None takes no room and
    an empty one keeps its room, so that the numbers of a column are aligned.
    """

    text: str
    value: float | str | None = None
    bold: bool = False
    lead: str = ""
    raised: str | None = None
    spread: str | None = None
    signs: str | None = None
    tone: str = ""
    tip: int | None = None
    bar: Bar | None = None

    @property
    def key(self) -> str:
        """``value`` for the attribute that sorting reads."""
        return f"{self.value:.10g}" if isinstance(self.value, float) else str(self.value or "")


@dataclass(frozen=True)
class PageColumn:
    """One column; ``group`` names what switches it, ``first`` the direction of the first sort, and
    ``more`` says that a first look does not need it."""

    label: str
    group: str = ""
    text: bool = False
    first: str = "ascending"
    note: str = ""
    about: str = ""
    tip: int | None = None
    more: bool = False

    @cached_property
    def style(self) -> str:
        """Classes of its cells; the head of a setting of several parts may take several lines."""
        parts = "parts" * (AND in self.label)  # first: a class that begins with n keeps one line
        return " ".join(filter(None, (parts, self.group, "more" * self.more, "words" * self.text)))


@dataclass(frozen=True)
class PageRow:
    """One row: its head with flags, and its cells; filters never hide the reference row alone, and
    ``method`` is what is counted where that is not the label."""

    label: str
    kind: str
    flags: tuple[str, ...]
    entries: tuple[PageCell, ...]
    tip: int | None = None
    reference: bool = False
    method: str = ""

    @property
    def parts(self) -> list[str]:
        """The label, cut where a line may break."""
        return re.findall(r"[^+_=,/]*[+_=,/]?", self.label)[:-1]


@dataclass(frozen=True)
class PageTable:
    """One table of the page; ``apart`` holds lines that are not ranked with the others."""

    head: str
    columns: tuple[PageColumn, ...]
    lines: tuple[PageRow, ...]
    apart: tuple[PageRow, ...] = ()


NONE = PageCell("-", tone="none")
DOWN = "descending"


def figure(value: float | None, digits: int) -> PageCell:
    """A number that sorts by itself."""
    return NONE if value is None else PageCell(number(value, digits), value)


def bars(differences: Iterable[Difference | None]) -> list[Bar | None]:
    """Differences on one scale, which holds zero and every interval but those of a few rows that
    lie far off: they would leave the others a few pixels."""
    found = list(differences)
    spans = [[end for end in one if end is not None] for one in found if one is not None]
    ends = [0.0, *(end for span in spans for end in span)]
    most = _reach([max(map(abs, span)) for span in spans])
    start, stop = max(min(ends), -most), min(max(ends), most)
    room = (stop - start) or 1.0

    def place(value: float) -> float:
        return 100 * (min(max(value, start), stop) - start) / room

    def bar(mean: float, low: float | None, high: float | None) -> Bar:
        left, right = (None if end is None else place(end) for end in (low, high))
        known = [end for end in (mean, low, high) if end is not None]
        return Bar(place(0.0), place(mean), left, right, min(known) < start, max(known) > stop)

    return [None if one is None else bar(*one) for one in found]


def _reach(sizes: list[float]) -> float:
    """Where a scale may end: without a limit, or at the size that nine of ten rows stay within,
    where the largest is more than twice as far and more than three rows are there."""
    if len(sizes) < 4:
        return math.inf
    most = sorted(sizes)[math.floor(0.9 * (len(sizes) - 1))]
    return most if 0 < 2 * most < max(sizes) else math.inf


def ends_of(found: Comparison | None) -> Difference | None:
    """A mean difference with its interval."""
    return None if found is None else (found.pooled.mean, found.pooled.low, found.pooled.high)


def wins(against: Comparison | None) -> list[PageCell]:
    """Wins, ties and losses, and the probability of improvement."""
    if against is None:
        return [NONE, NONE]
    return [record(against), figure(against.improvement, 2)]


def record(found: Comparison) -> PageCell:
    """Wins, ties and losses over cells; sorts by their balance."""
    return PageCell(record_of(found), float(found.wins - found.losses))
